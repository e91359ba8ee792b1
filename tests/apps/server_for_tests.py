"""The README's ``server.py``: an application for uvicorn and gunicorn."""

import os
from typing import Any

from htag import Tag

from htagweb import Runner


class App(Tag.div):  # type: ignore[misc]
    def init(self) -> None:
        self <= "hello world"
        self <= Tag.b(os.getpid(), _class="pid")
        self <= Tag.button("more", _onclick=self.bind.more(), _class="more")

    def more(self, *_: Any) -> None:
        self <= Tag.i("more")


app = Runner(App)
