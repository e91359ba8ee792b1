"""What app and template processes print: cut into lines, and logged a few at a time."""

from __future__ import annotations

import asyncio
import fcntl
import os
import struct
import termios
from collections import deque
from collections.abc import Callable
from io import FileIO
from typing import cast

MAX_LINE_BYTES = 8192
LINES_AT_ONCE = 100
LINES_PAUSE_S = 0.02
"""5000 lines a second of one app are logged; past that the app waits in its ``print``."""


class Lines(asyncio.Protocol):
    """Cuts the output pipe's bytes into lines, and has all of them logged, a few at a time."""

    def __init__(self, pipe: FileIO, take: Callable[[str], None], rest: bytes = b"") -> None:
        """``rest`` is what was read before, and not logged."""
        self._pipe = pipe
        self._take = take
        self._rest = rest
        self._lines: deque[bytes] = deque()
        self._next: asyncio.Handle | None = None
        self._transport: asyncio.ReadTransport | None = None
        self._last_words = 0
        """Lines of a dead writer that are not logged yet; then ``_on_finished`` is called."""
        self._held = False
        self._on_finished: Callable[[], None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.ReadTransport, transport)
        self._cut(b"")
        self._next = asyncio.get_running_loop().call_soon(self._work_off)

    def data_received(self, data: bytes) -> None:
        self._cut(data)
        self._work_off()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_line()
        self._work_off()

    def hold(self) -> None:
        """Read nothing more until ``let_go``; what was read goes on to be logged."""
        self._held = True
        if (transport := self._pipe_transport) is not None and transport.is_reading():
            transport.pause_reading()

    def let_go(self) -> None:
        """Read on."""
        self._held = False
        self._go_on()

    @property
    def rest(self) -> bytes:
        """What was read and is not logged yet: lines, and what came of one that is not whole."""
        return b"".join(line + b"\n" for line in self._lines) + self._rest

    def finish(self, on_finished: Callable[[], None]) -> None:
        """Read what a dead writer left in the pipe; call ``on_finished`` when all of it is logged.

        Who has the pipe as well, and lives on, is not waited for.
        """
        if self._pipe_transport is not None:
            self._cut(_held_by(self._pipe.fileno()))
        self._end_line()
        self._last_words = len(self._lines)
        self._on_finished = on_finished
        self._work_off()

    @property
    def _pipe_transport(self) -> asyncio.ReadTransport | None:
        """The transport, as long as there may be something to read."""
        return self._transport if self._transport is not None and not self._transport.is_closing() else None

    def _cut(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._lines.extend(_pieces(line))
        *pieces, self._rest = _pieces(self._rest)
        self._lines.extend(pieces)

    def _end_line(self) -> None:
        if self._rest:
            self._lines.append(self._rest)
            self._rest = b""

    def _work_off(self) -> None:
        if self._next is not None:
            self._next.cancel()
            self._next = None
        count = min(LINES_AT_ONCE, len(self._lines))
        for _ in range(count):
            self._take(self._lines.popleft().decode(errors="replace"))
        self._last_words = max(self._last_words - count, 0)
        if self._on_finished is not None and not self._last_words:
            on_finished, self._on_finished = self._on_finished, None
            on_finished()
        self._go_on()

    def _go_on(self) -> None:
        """Let others run, then log the next lines; a living app waits in its ``print`` meanwhile."""
        transport = self._pipe_transport
        if not self._lines:
            if transport is not None and not transport.is_reading() and not self._held:
                transport.resume_reading()
            return
        if transport is not None and transport.is_reading():
            transport.pause_reading()
        loop = asyncio.get_running_loop()
        if transport is None or self._last_words:  # it is no more than was read, and someone waits for it
            self._next = loop.call_soon(self._work_off)
        else:
            self._next = loop.call_later(LINES_PAUSE_S, self._work_off)


def _pieces(line: bytes) -> list[bytes]:
    """Return the line in pieces of a size that the log takes."""
    return [line[start : start + MAX_LINE_BYTES] for start in range(0, len(line) or 1, MAX_LINE_BYTES)]


def _held_by(pipe: int) -> bytes:
    """Return what a pipe holds now, and no more: someone may go on writing into it."""
    (held,) = struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)))
    return os.read(pipe, held) if held else b""
