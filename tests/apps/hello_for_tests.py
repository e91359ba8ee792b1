"""The README's hello world, to the letter, but for the port that a test chooses."""

import os
from typing import Any

from htag import Tag


class App(Tag.div):  # type: ignore[misc]
    def init(self) -> None:
        self <= "hello world"
        self <= Tag.b(os.getpid(), _class="pid")
        self <= Tag.button("more", _onclick=self.bind.more(), _class="more")

    def more(self, *_: Any) -> None:
        self <= Tag.i("more")


from htagweb import Runner

Runner(App, "127.0.0.1", int(os.environ.get("PORT", "0"))).run()
