"""A WebSocket client (RFC 6455) that costs the machine little: no extensions, no masking, no streams.

It shares two cores with what it measures, so it does only what a load needs.
Its masks are all zero, which the RFC allows a program that trusts its bytes:
the payload goes out as it is. A message is stamped when the system hands it
over, not when the task that waits for it runs.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import secrets
from collections import deque
from time import monotonic
from typing import cast

from benchmarks.load.errors import BadAnswer, Closed

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
_FINAL = 0x80
_MASKED = 0x80
_NO_MASK = bytes(4)
_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3
_HEAD_END = b"\r\n\r\n"
OPEN_S = 60.0
PATIENCE_S = 20.0
CLOSE_S = 5.0


def frame(opcode: int, payload: bytes) -> bytes:
    """Return a client's frame with all of a message."""
    length = len(payload)
    if length < 126:
        head = bytes((_FINAL | opcode, _MASKED | length))
    elif length < 65536:
        head = bytes((_FINAL | opcode, _MASKED | 126)) + length.to_bytes(2)
    else:
        head = bytes((_FINAL | opcode, _MASKED | 127)) + length.to_bytes(8)
    return head + _NO_MASK + payload


def find_payload(data: bytes, start: int) -> tuple[int, int] | None:
    """Return where the payload of a server's frame begins and ends; None while not all of it is there."""
    size = len(data)
    if size < start + 2:
        return None
    length, begin = data[start + 1], start + 2
    if length > 125:
        begin += 2 if length == 126 else 8
        if size < begin:
            return None
        length = int.from_bytes(data[start + 2 : begin])
    end = begin + length
    return (begin, end) if size >= end else None


def _give_up(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_exception(BadAnswer(f"expected a message, none came within {PATIENCE_S:g} s"))


class WebSocket(asyncio.Protocol):
    """One connection, read by one task at a time; made by ``connect``."""

    arrived = 0.0
    """When the message that ``receive`` returned last was there, by the monotonic clock."""

    def __init__(self, request: bytes, accept: str) -> None:
        self._request = request
        self._accept = accept
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()
        self._ready: asyncio.Future[None] = self._loop.create_future()
        """The handshake."""
        self._gone: asyncio.Future[None] = self._loop.create_future()
        self._rest = b""
        self._parts: list[bytes] = []
        """Of a message in several frames."""
        self._messages: deque[tuple[bytes, float]] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._why = "the connection was lost"
        self._leaving = False

    # For its user

    def send(self, payload: bytes, opcode: int = TEXT) -> None:
        """Send a message; Closed when the connection is."""
        if self._transport is None or self._gone.done():
            raise Closed(self._why)
        self._transport.write(frame(opcode, payload))

    async def receive(self) -> bytes:
        """Return the next message, text or binary, as bytes; Closed when there will be none.

        BadAnswer when it takes too long.
        """
        while not self._messages:
            if self._gone.done():
                raise Closed(self._why)
            self._waiter = waiter = self._loop.create_future()
            patience = self._loop.call_later(PATIENCE_S, _give_up, waiter)
            try:
                await waiter
            finally:
                patience.cancel()
        message, self.arrived = self._messages.popleft()
        return message

    async def opened(self) -> None:
        """Wait for the handshake; BadAnswer when it is refused."""
        async with asyncio.timeout(OPEN_S):
            await self._ready

    async def close(self) -> None:
        """Leave, politely for a while; again is harmless."""
        if self._transport is None or self._gone.done():
            return
        self._why, self._leaving = "it was closed by its own user", True
        self._transport.write(frame(CLOSE, (1000).to_bytes(2)))
        await asyncio.wait([self._gone], timeout=CLOSE_S)
        self._transport.abort()

    def take_message(self, message: bytes, arrived: float) -> None:
        """Keep a message for ``receive``."""
        self._messages.append((message, arrived))

    # For the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are not instances of it
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        now = monotonic()
        data, start = self._rest + data if self._rest else data, 0
        if not self._ready.done():
            start = self._take_handshake(data)
        while start >= 0 and (place := find_payload(data, start)) is not None:
            self._take_frame(data[start], data[place[0] : place[1]], now)
            start = place[1]
        self._rest = data[max(start, 0) :]
        if self._messages:
            self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._ready.done():
            self._ready.set_exception(BadAnswer(f"no handshake: {exc or 'the connection was closed'}"))
        if not self._gone.done():
            self._gone.set_result(None)
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _take_handshake(self, data: bytes) -> int:
        """Return where the frames begin; -1 before."""
        end = data.find(_HEAD_END)
        if end < 0:
            return -1
        head = data[:end].decode("latin-1")
        if head.startswith("HTTP/1.1 101 ") and self._accept in head:
            self._ready.set_result(None)
            return end + len(_HEAD_END)
        self._ready.set_exception(BadAnswer(f"expected a WebSocket, got {head!r}"))
        assert self._transport is not None
        self._transport.abort()
        return -1

    def _take_frame(self, first: int, payload: bytes, now: float) -> None:
        opcode = first & 0x0F
        if opcode >= CLOSE:
            self._take_control(opcode, payload)
        elif first & _FINAL and not self._parts:
            self.take_message(payload, now)
        else:
            self._parts.append(payload)
            if first & _FINAL:
                self.take_message(b"".join(self._parts), now)
                self._parts.clear()

    def _take_control(self, opcode: int, payload: bytes) -> None:
        assert self._transport is not None
        if opcode == PING:
            self._transport.write(frame(PONG, payload))
        elif opcode == CLOSE:
            if not self._leaving:
                reason = payload[2:].decode(errors="replace")
                self._why = f"the server closed with {int.from_bytes(payload[:2])} {reason!r}"
                self._transport.write(frame(CLOSE, payload[:2]))
            self._transport.close()


async def connect(
    host: str,
    port: int,
    path: str,
    *,
    cookies: str = "",
    subprotocol: str = "",
    kind: type[WebSocket] = WebSocket,
) -> WebSocket:
    """Return an open connection, as from a page of the same origin; OSError or BadAnswer."""
    key = base64.b64encode(secrets.token_bytes(16)).decode()
    accept = base64.b64encode(hashlib.sha1((key + _GUID).encode()).digest()).decode()
    lines = [
        f"GET {path} HTTP/1.1",
        f"Host: {host}:{port}",
        f"Origin: http://{host}:{port}",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {key}",
        *([f"Cookie: {cookies}"] if cookies else []),
        *([f"Sec-WebSocket-Protocol: {subprotocol}"] if subprotocol else []),
    ]
    request = "\r\n".join(lines).encode("latin-1") + _HEAD_END
    loop = asyncio.get_running_loop()
    _, socket = await loop.create_connection(lambda: kind(request, accept), host, port)
    try:
        await socket.opened()
    except BaseException:
        await socket.close()
        raise
    return socket
