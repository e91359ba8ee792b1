"""The app of all that host htag 1: a number and a button."""

from __future__ import annotations

import asyncio
from time import monotonic

from htag import Tag


class App(Tag.body):  # type: ignore[misc]
    """A page of usual size, of which a click changes one line."""

    def init(self) -> None:
        """Build the page."""
        self.number = 0
        self.shown = Tag.b(self.number, _class="number")
        self.pushed = Tag.b("", _class="pushed")
        self.add(Tag.h1("A counter"))
        self.add(Tag.button("+1", _onclick=self.bind.increment()))
        self.add(self.shown)
        self.add(self.pushed)

    def increment(self) -> None:
        """Count one click."""
        self.number += 1
        self.shown.clear(self.number)

    async def push(self, count: int, pause_s: float) -> None:
        """Begin to show the time, so many times; each time is an update of its own."""
        self.pushing = asyncio.ensure_future(self._push(count, pause_s))

    async def _push(self, count: int, pause_s: float) -> None:
        for _ in range(count):
            self.pushed.clear(repr(monotonic()))
            await self.pushed.update()
            await asyncio.sleep(pause_s)
