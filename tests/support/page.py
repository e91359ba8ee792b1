"""A page as a program: opens, connects, clicks, applies actions in order, comes back after a loss."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import secrets
import ssl
from typing import Any

import httpx
import websockets

from tests.support.waiting import until

_TLS = ssl.create_default_context()
"""One for all: httpx reads the certificates for each client otherwise, and a crowd has hundreds."""


class PageClient:
    """One tab of one user. It keeps G3's account: ``gaps`` must stay empty."""

    def __init__(self, base: str, http: httpx.AsyncClient | None = None) -> None:
        self.base = base
        self.http = http or httpx.AsyncClient(timeout=60, verify=_TLS)
        self.page = secrets.token_urlsafe(16)
        self.html = ""
        self.config: dict[str, Any] = {}
        self.last = 0
        self.sent = 0
        self.waiting: dict[int, str] = {}
        self.texts: dict[int, str] = {}
        self.answers: dict[int, dict[str, Any]] = {}
        self.actions: list[dict[str, Any]] = []
        self.gaps: list[tuple[int, int]] = []
        self.ends: list[dict[str, Any]] = []
        self.notices: list[dict[str, Any]] = []
        self.reloads = 0
        self.ready = asyncio.Event()
        self.errors: list[str] = []
        self._socket: websockets.ClientConnection | None = None
        self._reading: asyncio.Task[None] | None = None

    # HTTP

    async def open(self, path: str = "/", expect: int = 200) -> httpx.Response:
        """GET the page."""
        response = await self.http.get(self.base + path)
        assert response.status_code == expect, f"{response.status_code}: {response.text[:400]}"
        if expect == 200:
            self.html = response.text
            found = re.search(r'id="htagweb-config" type="application/json">(.*?)</script>', self.html)
            assert found, "the page has no configuration"
            self.config = json.loads(found[1])
            self.last = self.config["last"]
        return response

    def tag(self, css_class: str) -> int:
        """Return the id of the first tag with the class."""
        for tag in re.findall(r"<\w[^>]*>", self.html):
            if re.search(rf'class="{css_class}"', tag):
                return int(re.search(r' id="(\d+)"', tag)[1])  # type: ignore[index]
        raise AssertionError(f"no tag with class {css_class!r}")

    def body(self) -> int:
        """Return the id of the app itself."""
        found = re.search(r'<body[^>]* id="(\d+)"', self.html)
        assert found, "no body"
        return int(found[1])

    @property
    def cookie(self) -> str:
        """The session cookie, as a header's value."""
        return "; ".join(f"{name}={value}" for name, value in self.http.cookies.items())

    async def post(self, method: str, *args: Any, **extra: Any) -> httpx.Response:
        """Interact by POST, as htagweb 1.0's clients do."""
        message = {"id": self.body(), "method": method, "args": list(args), "kargs": {}, "event": {}, **extra}
        return await self.http.post(self.base + self.config["url"], json=message)

    # WebSocket

    async def connect(self, base: str | None = None) -> None:
        """Connect and wait until all that was missed is here."""
        if base:
            self.base = base
        query = f"page={self.page}&generation={self.config['generation']}&last={self.last}"
        url = f"ws{self.base[4:]}{self.config['url']}?{query}"
        self.ready.clear()
        self._socket = await websockets.connect(url, additional_headers={"Cookie": self.cookie})
        self._reading = asyncio.create_task(self._read(self._socket))  # noqa: TID251 - ended in close()
        await until(lambda: self.ready.is_set() or self.ends or self.reloads, "the socket is ready")
        for text in list(self.waiting.values()):
            await self._socket.send(text)

    async def _read(self, socket: websockets.ClientConnection) -> None:
        with contextlib.suppress(websockets.ConnectionClosed):
            async for text in socket:
                is_again = self.ready.is_set() and json.loads(text).get("htagweb", {}).get("ready")
                self._take(json.loads(text))
                for waiting in list(self.waiting.values()) if is_again else ():
                    await socket.send(waiting)

    def _take(self, message: dict[str, Any]) -> None:
        extra = message.pop("htagweb", {})
        number = extra.get("n")
        if number is not None:
            if number <= self.last:
                return
            if number != self.last + 1:
                self.gaps.append((self.last, number))
            self.last = number
        if extra.get("ready"):
            self.ready.set()
        if extra.get("reload"):
            self.reloads += 1
        if "end" in extra:
            self.ends.append(extra["end"])
        if "waiting" in extra:
            self.notices.append(extra)
        if extra.get("page") == self.page and "answers" in extra:
            self.waiting.pop(extra["answers"], None)
            self.answers[extra["answers"]] = message
        if message.get("err"):
            self.errors.append(message["err"])
        if message:
            self.actions.append(message)

    @property
    def is_connected(self) -> bool:
        """Whether the socket is open."""
        return self._reading is not None and not self._reading.done()

    async def send(self, text: str) -> None:
        """Send any text."""
        assert self._socket is not None
        await self._socket.send(text)

    async def click(self, method: str, *args: Any, tag: int | None = None) -> int:
        """Send an interaction; return its number."""
        self.sent += 1
        message = {"id": tag or self.body(), "method": method, "args": list(args), "kargs": {}, "event": {}}
        text = json.dumps({**message, "htagweb": {"n": self.sent}})
        self.waiting[self.sent] = self.texts[self.sent] = text
        with contextlib.suppress(websockets.ConnectionClosed):
            await self.send(text)
        return self.sent

    async def answer(self, number: int, timeout_s: float = 15.0) -> dict[str, Any]:
        """Wait for the answer to an interaction."""

        async def has_come() -> bool:
            # As a browser does: back again when the socket was lost.
            if not self.is_connected and not self.ends and number not in self.answers:
                with contextlib.suppress(OSError, websockets.WebSocketException):
                    await self.connect()
            return number in self.answers

        await until(has_come, f"answer to interaction {number}", timeout_s)
        return self.answers[number]

    async def ask(self, method: str, *args: Any, tag: int | None = None) -> dict[str, Any]:
        """Click and wait for the answer."""
        return await self.answer(await self.click(method, *args, tag=tag))

    async def disconnect(self) -> None:
        """Close the socket."""
        if self._socket is not None:
            await self._socket.close()
        if self._reading is not None:
            await self._reading

    async def close(self) -> None:
        """Leave nothing open."""
        await self.disconnect()
        await self.http.aclose()
