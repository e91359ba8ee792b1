"""What the users of all wires do alike: click, wait for their number, measure what is pushed."""

from __future__ import annotations

import re
from time import monotonic

from benchmarks.load.errors import BadAnswer
from benchmarks.load.websocket import TEXT, WebSocket

END = b"end"
"""The last text of what is pushed, where updates are coalesced and cannot be counted."""


class Counter:
    """The connected page: the number it shows, and its WebSocket."""

    opcode = TEXT
    shown = b">%d<"
    """What tells in a message that it shows the number."""
    number = b"number"
    """What is in every message that shows a number: with another one than expected it is wrong."""
    failure = b'"err"'
    pushed = re.compile(rb"pushed[^>]*>([\d.]+|end)<")
    """The time in a pushed update; the app's monotonic clock is this one."""
    coalesces = False
    """Whether the app may send several updates as one; then it pushes ``end`` after the last."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._number = 0
        self._pushes = 0
        self._socket: WebSocket | None = None

    @property
    def socket(self) -> WebSocket:
        """The open WebSocket."""
        if self._socket is None:
            raise BadAnswer("the load clicks before it is connected")
        return self._socket

    def click_message(self) -> bytes:
        """Return the next click, encoded."""
        raise NotImplementedError

    async def click(self) -> float:
        """Click once, see that the next number comes; return the seconds that it took."""
        socket = self.socket
        self._number += 1
        shown, message = self.shown % self._number, self.click_message()
        began = monotonic()
        socket.send(message, self.opcode)
        while shown not in (answer := await socket.receive()):
            if self.failure in answer or self.number in answer:
                raise BadAnswer(f"expected the number {self._number}, got {answer[:600]!r}")
        return socket.arrived - began

    async def next_push(self) -> float | None:
        """Return how long the next update took from the app to here; None after the last."""
        socket = self.socket
        while self._pushes > 0:
            message = await socket.receive()
            if (found := self.pushed.search(message)) is not None:
                if found[1] == END:
                    self._pushes = 0
                    break
                self._pushes -= not self.coalesces
                return socket.arrived - float(found[1])
            if self.failure in message:
                raise BadAnswer(f"expected a pushed update, got {message[:600]!r}")
        return None

    async def close(self) -> None:
        """Leave; again is harmless."""
        if self._socket is not None:
            await self._socket.close()
            self._socket = None


def find(pattern: re.Pattern[str], text: str, what: str) -> str:
    """Return the pattern's group in a page; BadAnswer when it is not there."""
    found = pattern.search(text)
    if found is None:
        raise BadAnswer(f"expected {what} in the page, got {text[-2000:]!r}")
    return found[1]


NUMBER = re.compile(r'class="number"[^>]*>(\d+)<')
