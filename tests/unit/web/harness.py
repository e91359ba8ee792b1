"""A Runner over a fake broker: requests and sockets by direct ASGI calls, no server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from htagweb_broker import Beat, InstanceId, Open, PageReply, Record, Replied, Reply
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from htagweb.runner import Runner
from htagweb.web import opening, posts
from htagweb.web.cookies import COOKIE, Signer, digest_of
from tests.support.fakes import FakeBroker, FakeClock
from tests.support.waiting import until

LOOK_AGAIN_S = 2**-8
APP = "m.App"
SUPERVISOR = "s-1-aa"
GENERATION = "1-0123abcd"
PAGE = "page-0_A"


def beat(load: int = 0, draining: bool = False) -> Beat:
    return Beat("s", "h", 1, "v", capacity=2, load=load, draining=draining)


class Site:
    """A Runner that serves ``m.App``, a fake broker behind it, and one user's browser."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, obj: object = APP) -> None:
        monkeypatch.setenv("HTAGWEB_SECRET", "secret")
        monkeypatch.setattr(opening, "LOOK_AGAIN_S", LOOK_AGAIN_S)
        monkeypatch.setattr(opening, "ASK_AGAIN_S", 4 * LOOK_AGAIN_S)
        monkeypatch.setattr(posts, "LOOK_AGAIN_S", LOOK_AGAIN_S)
        self.monkeypatch = monkeypatch
        self.broker = FakeBroker()
        self.broker.living[SUPERVISOR] = beat()
        self.clock = FakeClock()
        self.runner = Runner(obj, redis_url="redis://nowhere", timeout_interaction=20)
        self.service = self.runner._service
        self.service.clock = self.clock
        self.service._broker = self.broker.web_side
        self.cookie = Signer("secret").issue()
        self.instance = InstanceId(digest_of(self.cookie), APP)
        transport = httpx.ASGITransport(self.runner, raise_app_exceptions=False)
        self.http = httpx.AsyncClient(transport=transport, base_url="http://site")

    @property
    def cookies(self) -> dict[str, str]:
        return {"cookie": f"{COOKIE}={self.cookie}"}

    def own(self, owner: str = SUPERVISOR, out: int = 3, reason: Any = None, *, parano: bool = False) -> None:
        """Have the user's instance owned."""
        self.broker.records[self.instance] = Record(GENERATION, owner, out, reason, parano)

    def endpoint(self, path: str, work: Callable[[Request], Awaitable[Response] | None]) -> None:
        """Add a route that does something with the request."""

        async def serve(request: Request) -> Response:
            response = work(request)
            return await response if response is not None else JSONResponse(dict(request.session))

        self.runner.add_route(path, serve)

    async def opened(self) -> Open:
        """Return the open message once it is in the inbox."""
        await until(lambda: self.broker.of("open"), "an open message")
        message: Open = self.broker.of("open")[-1][1]
        return message

    async def reply(self, reply: Reply | None = None, number: int = 5, hint: bool = True) -> None:
        """Answer the page's request."""
        message = await self.opened()
        given = reply or PageReply(GENERATION, "<head><body>the page")
        self.broker.given_replies[message.request] = Replied(given, number)
        if hint:
            self.broker.hints[message.request].set()

    async def get(self, path: str = "/", **headers: str) -> httpx.Response:
        """GET as the user."""
        return await self.http.get(path, headers={**self.cookies, **headers})

    async def get_answered(self, path: str = "/", reply: Reply | None = None) -> httpx.Response:
        """GET the page and have the app answer."""
        async with asyncio.TaskGroup() as tasks:
            getting = tasks.create_task(self.get(path))
            await self.reply(reply)
        return getting.result()

    async def post(self, body: Any, path: str = f"/_/{APP}", **headers: str) -> httpx.Response:
        """POST as the user."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await self.http.post(path, content=content, headers={**self.cookies, **headers})


class Post:
    """One POST, by direct ASGI calls: what was sent can be looked at before the response is complete."""

    def __init__(self, site: Site, body: bytes, **headers: str) -> None:
        given = {**site.cookies, "host": "site", **headers}
        self._site = site
        self._received: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._received.put_nowait({"type": "http.request", "body": body})
        self.sent: list[dict[str, Any]] = []
        self._scope = {
            "type": "http",
            "method": "POST",
            "path": f"/_/{APP}",
            "raw_path": f"/_/{APP}".encode(),
            "root_path": "",
            "scheme": "http",
            "query_string": b"",
            "headers": [(name.lower().encode(), value.encode()) for name, value in given.items()],
            "client": ("host", 1),
            "server": ("site", 80),
            "state": {},
        }

    def leave(self) -> None:
        """Close the connection, as a page does that is left."""
        self._received.put_nowait({"type": "http.disconnect"})

    async def _send(self, message: Any) -> None:
        self.sent.append(message)

    async def serve(self) -> None:
        """Serve the request; an error is the server's to deal with."""
        await self._site.runner(self._scope, self._received.get, self._send)

    async def started(self) -> dict[str, Any]:
        """Wait until status and headers were sent; return them."""
        await until(lambda: self.sent, "the response has started")
        return self.sent[0]

    @property
    def body(self) -> bytes:
        """What came of the body so far."""
        return b"".join(m["body"] for m in self.sent if m["type"] == "http.response.body")

    @property
    def is_complete(self) -> bool:
        """Whether the body was ended as such."""
        ends = [m for m in self.sent if m["type"] == "http.response.body" and not m.get("more_body")]
        return ends != []


class Socket:
    """One WebSocket, by direct ASGI calls."""

    def __init__(self, site: Site, query: str = "", **headers: str) -> None:
        given = {**site.cookies, "host": "site", **headers}
        self._site = site
        self._received: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.sent: list[dict[str, Any]] = []
        self.takes = asyncio.Event()
        """Cleared: the browser takes nothing more."""
        self.takes.set()
        self._scope = {
            "type": "websocket",
            "path": f"/_/{APP}",
            "raw_path": f"/_/{APP}".encode(),
            "root_path": "",
            "scheme": "ws",
            "query_string": query.encode(),
            "headers": [(name.encode(), value.encode()) for name, value in given.items()],
            "subprotocols": [],
            "extensions": {"websocket.http.response": {}},
            "client": ("host", 1),
            "server": ("site", 80),
            "state": {},
        }
        self.put({"type": "websocket.connect"})

    def put(self, message: dict[str, Any]) -> None:
        self._received.put_nowait(message)

    def say(self, message: Any) -> None:
        """Send as the page does."""
        text = message if isinstance(message, str) else json.dumps(message)
        self.put({"type": "websocket.receive", "text": text})

    def leave(self) -> None:
        self.put({"type": "websocket.disconnect", "code": 1001})

    async def _send(self, message: Any) -> None:
        if message["type"] == "websocket.send":
            await self.takes.wait()
        self.sent.append(message)

    async def serve(self) -> None:
        """Serve the socket until it is closed."""
        await self._site.runner(self._scope, self._received.get, self._send)

    @property
    def messages(self) -> list[Any]:
        """What the page was sent."""
        return [json.loads(m["text"]) for m in self.sent if m.get("text") is not None]

    @property
    def frames(self) -> list[bytes]:
        """What the page was sent in binary messages."""
        return [m["bytes"] for m in self.sent if m.get("bytes") is not None]

    @property
    def extras(self) -> list[Any]:
        """Our own data in what the page was sent."""
        return [message.get("htagweb", {}) for message in self.messages]

    @property
    def status(self) -> int | None:
        """The status of a refusal."""
        return next((m["status"] for m in self.sent if m["type"] == "websocket.http.response.start"), None)

    @property
    def code(self) -> int | None:
        """The code with which we closed it."""
        return next((m["code"] for m in self.sent if m["type"] == "websocket.close"), None)

    async def hears(self, what: Callable[[Any], Any]) -> Any:
        """Wait for one of our own messages that is as described; return it."""
        return await until(lambda: next((e for e in self.extras if what(e)), None), "the message")
