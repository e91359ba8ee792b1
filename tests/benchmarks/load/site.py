"""A server without a process or a socket, at the other end of the load's connections.

It is made of the ``websockets`` library: another implementation judges what the load sends, and makes what
it gets.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence

import pytest
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import OPEN
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

MESSAGES = (Opcode.TEXT, Opcode.BINARY)


def _take_first(protocol: ServerProtocol, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    return next(iter(offered), None)


class Peer(asyncio.Transport):
    """The server's end of one connection, and the client's transport."""

    def __init__(self, client: asyncio.BaseProtocol, site: Site) -> None:
        super().__init__()
        assert isinstance(client, asyncio.Protocol)
        self.client = client
        self._site = site
        self._loop = asyncio.get_running_loop()
        self.protocol = ServerProtocol(select_subprotocol=_take_first, max_size=None)
        self.frames: list[Frame] = []
        """All that came, control frames too."""
        self.written: list[bytes] = []
        self._is_lost = False
        self.was_closed = False
        """Whether the client closed it, be it after the server did."""

    @property
    def heard_code(self) -> int | None:
        """The code with which the client closed."""
        close = self.protocol.close_rcvd
        return close.code if close else None

    def say(self, *messages: bytes) -> None:
        """Send messages, each as one frame."""
        for message in messages:
            if self._site.is_binary:
                self.protocol.send_binary(message)
            else:
                self.protocol.send_text(message)
        self.flush()

    def flush(self) -> None:
        """Have the client get what the protocol wants to send."""
        for data in self.protocol.data_to_send():
            self.feed(data) if data else self._lose()

    def feed(self, *reads: bytes) -> None:
        """Have the client read exactly this, one after the other."""
        for data in reads:
            self._loop.call_soon(self.client.data_received, data)

    def _lose(self) -> None:
        if not self._is_lost:
            self._is_lost = True
            self._loop.call_soon(self.client.connection_lost, None)

    # What a transport does

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Take what the client sends."""
        self.written.append(bytes(data))
        self.protocol.receive_data(bytes(data))
        for event in self.protocol.events_received():
            if isinstance(event, Request):
                self._site.handle_request(self, event)
            elif isinstance(event, Frame):
                self.frames.append(event)
                if event.opcode in MESSAGES:
                    self.say(*self._site.reply(bytes(event.data)))
        self.flush()

    def close(self) -> None:
        """The client has nothing more to say."""
        self.was_closed = True
        self._lose()

    def abort(self) -> None:
        """The client is gone."""
        self.was_closed = True
        self._lose()

    def is_closing(self) -> bool:
        """Return whether either side has closed."""
        return self._is_lost


class Site:
    """What a server does: one document, and an answer to each message. Others inherit from it."""

    is_binary = False
    cookie = ""
    """What is set; empty for none."""
    sets_cookie_again = False
    """Whether also for somebody who has it."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.peers: list[Peer] = []
        self.heard: list[bytes] = []
        self.instead: deque[Iterable[bytes]] = deque()
        """What is said to the next messages in place of the right answers."""

    @property
    def document(self) -> str:
        """What is served."""
        return ""

    @property
    def greeting(self) -> tuple[bytes, ...]:
        """What is said when a WebSocket opens."""
        return ()

    @property
    def peer(self) -> Peer:
        """The connection that was opened last."""
        return self.peers[-1]

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Be whom this event loop connects to, whatever the address."""
        loop = asyncio.get_running_loop()
        monkeypatch.setattr(loop, "create_connection", self._create_connection)

    async def _create_connection(
        self, factory: Callable[[], asyncio.BaseProtocol], host: str, port: int
    ) -> tuple[Peer, asyncio.BaseProtocol]:
        client = factory()
        peer = Peer(client, self)
        self.peers.append(peer)
        client.connection_made(peer)
        return peer, client

    def handle_request(self, peer: Peer, request: Request) -> None:
        """Serve the document, or open a WebSocket."""
        self.requests.append(request)
        if "Upgrade" in request.headers:
            peer.protocol.send_response(peer.protocol.accept(request))
            peer.flush()
            peer.say(*self.greeting)
        else:
            peer.feed(*self.serve())

    def serve(self) -> list[bytes]:
        """Return the document as the client reads it."""
        body = self.document.encode()
        lines = ["HTTP/1.1 200 OK", f"content-length: {len(body)}"]
        if self.cookie and (self.sets_cookie_again or "Cookie" not in self.requests[-1].headers):
            lines.append(f"set-cookie: {self.cookie}; path=/; samesite=lax")
        return ["\r\n".join(lines).encode() + b"\r\n\r\n" + body]

    def reply(self, message: bytes) -> Iterable[bytes]:
        """Return what is said to a message."""
        self.heard.append(message)
        return self.instead.popleft() if self.instead else self.answer(message)

    def answer(self, message: bytes) -> Iterable[bytes]:
        """Return the right answer to a message."""
        return ()


def frame_of(message: bytes, opcode: Opcode = Opcode.TEXT, *, is_last: bool = True) -> bytes:
    """Return a server's frame."""
    return Frame(opcode, message, is_last).serialize(mask=False)


def heard_in(data: bytes) -> Frame:
    """Return the one frame that a server finds in what a client sent."""
    protocol = ServerProtocol(state=OPEN, max_size=None)
    protocol.receive_data(data)
    (event,) = protocol.events_received()
    assert isinstance(event, Frame)
    return event
