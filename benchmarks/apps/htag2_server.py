"""The page as an app of htag 2, in the web server's process: ``python htag2_server.py PORT``."""

from __future__ import annotations

import asyncio
import sys
from time import monotonic
from typing import Any

from htag import Tag
from htag.server import WebApp


class App(Tag.App):  # type: ignore[misc]
    """As ``counter.App``."""

    def init(self) -> None:
        """Build the page."""
        self.number = 0
        self.shown = Tag.b("0", _class="number")
        self.pushed = Tag.b("", _class="pushed", _onpush=self.push)
        self += Tag.h1("A counter")
        self += Tag.button("+1", _onclick=self.increment)
        self += self.shown
        self += self.pushed

    def increment(self, event: Any) -> None:
        """Count one click."""
        self.number += 1
        self.shown.text = str(self.number)

    def push(self, event: Any) -> None:
        """Begin to show the time, so many times; updates that are close to each other may become one."""
        count, pause_s = event.value["count"], event.value["pause_s"]
        self.pushing = asyncio.ensure_future(self._push(count, pause_s))

    async def _push(self, count: int, pause_s: float) -> None:
        for _ in range(count):
            self.pushed.text = repr(monotonic())
            self.update(throttle=0)  # else there are at most 20 a second
            await asyncio.sleep(pause_s)
        self.pushed.text = "end"
        self.update(throttle=0)


if __name__ == "__main__":
    WebApp(App, debug=False).run(
        host="127.0.0.1", port=int(sys.argv[1]), open_browser=False, exit_on_disconnect=False
    )
