"""The web worker: an ASGI application of two addresses, ``/`` and the WebSocket ``/_ws``."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from typing import Any

from benchmarks.floor.pipeline import Connection

INBOX_ENTRIES = 256

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Web:
    """Everything of one web worker."""

    def __init__(self, path: str) -> None:
        """``path``: the broker's unix socket."""
        self._path = path
        self._broker: Connection
        self._subscriber: Connection
        self._subscribed: dict[bytes, asyncio.Future[None]] = {}
        self._pages: dict[bytes, asyncio.Future[bytes]] = {}
        """Who waits for a page, by user."""
        self._arrivals: dict[bytes, asyncio.Queue[bytes]] = {}
        """What came for each socket, by channel."""

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve one request, one socket, or the server's life."""
        if scope["type"] == "http":
            await self._serve_page(_user_of(scope), send)
        elif scope["type"] == "websocket":
            await self._serve_socket(_user_of(scope), receive, send)
        else:
            await receive()
            self._broker = await Connection.open(self._path)
            self._subscriber = await Connection.open(self._path, self._handle_published)
            await self._subscribe(b"floor:web")
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})

    async def _subscribe(self, channel: bytes) -> None:
        subscribed = self._subscribed[channel] = asyncio.get_running_loop().create_future()
        self._subscriber.send("SUBSCRIBE", channel)
        await subscribed

    def _handle_published(self, published: list[Any]) -> None:
        kind, channel, message = published
        if kind == b"subscribe":
            self._subscribed.pop(channel).set_result(None)
        elif channel == b"floor:web":
            user, _, page = message.partition(b" ")
            self._pages.pop(user).set_result(page)
        elif kind == b"message" and channel in self._arrivals:
            self._arrivals[channel].put_nowait(message)

    async def _serve_page(self, known: bytes, send: Send) -> None:
        user = known or secrets.token_hex(16).encode()
        page = self._pages[user] = asyncio.get_running_loop().create_future()
        if known:
            self._submit(user, '{"method":"open"}')
        else:
            self._broker.send("XADD", "floor:spawn", "MAXLEN", "~", INBOX_ENTRIES, "*", "m", user)
        body = await page
        headers = [
            (b"content-type", b"text/html; charset=utf-8"),
            (b"content-length", str(len(body)).encode()),
        ]
        if not known:
            headers.append((b"set-cookie", b"user=" + user + b"; path=/"))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _submit(self, user: bytes, text: str) -> None:
        self._broker.send("XADD", b"floor:in:" + user, "MAXLEN", "~", INBOX_ENTRIES, "*", "m", text)

    async def _serve_socket(self, user: bytes, receive: Receive, send: Send) -> None:
        channel = b"floor:" + user
        await receive()
        arrivals = self._arrivals[channel] = asyncio.Queue()
        await self._subscribe(channel)
        await send({"type": "websocket.accept"})
        async with asyncio.TaskGroup() as tasks:
            forwarding = tasks.create_task(_forward(arrivals, send))
            while (message := await receive())["type"] == "websocket.receive":
                self._submit(user, message["text"])
            forwarding.cancel()
        if self._arrivals[channel] is arrivals:
            del self._arrivals[channel]
            self._subscriber.send("UNSUBSCRIBE", channel)


async def _forward(arrivals: asyncio.Queue[bytes], send: Send) -> None:
    while True:
        await send({"type": "websocket.send", "text": (await arrivals.get()).decode()})


def _user_of(scope: Message) -> bytes:
    cookies: bytes = dict(scope["headers"]).get(b"cookie", b"")
    return cookies.partition(b"user=")[2].partition(b";")[0]
