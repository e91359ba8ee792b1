"""A connection to the broker: commands leave as they come, answers are matched in order."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, cast

import hiredis

Take = Callable[[Any], None]


class Connection(asyncio.Protocol):
    """One connection over the broker's unix socket; an error ends the process."""

    def __init__(self, on_message: Take | None = None) -> None:
        """With ``on_message`` it is a subscriber's: all that comes goes there."""
        self._on_message = on_message
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader()
        self._outgoing: list[bytes] = []
        self._waiting: deque[Take | None] = deque()
        self._transport: asyncio.Transport

    @classmethod
    async def open(cls, path: str, on_message: Take | None = None) -> Connection:
        """Connect."""
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_unix_connection(lambda: cls(on_message), path)
        return connection

    def send(self, *command: str | bytes | int, then: Take | None = None) -> None:
        """Send a command, in one write with all others of this turn of the loop; ``then`` gets its answer."""
        if not self._outgoing:
            self._loop.call_soon(self._flush)
        self._outgoing.append(hiredis.pack_command(command))  # type: ignore[arg-type]
        if self._on_message is None:
            self._waiting.append(then)

    def _flush(self) -> None:
        self._transport.write(b"".join(self._outgoing))
        self._outgoing.clear()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Hand each answer to whoever waits for it."""
        self._reader.feed(data)
        while (answer := self._reader.gets()) is not False:
            if isinstance(answer, hiredis.ReplyError):
                raise SystemExit(f"expected the broker to carry out a command, it says: {answer}")
            take = self._on_message or self._waiting.popleft()
            if take is not None:
                take(answer)
