"""One user of a counter: opens the page, connects its WebSocket, clicks. The same code for both."""

from __future__ import annotations

import asyncio
import json
import re
import secrets
from time import monotonic

from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Origin

HOST = "127.0.0.1"
SOCKET_PATH = "/_/counter.App"
_BODY = re.compile(r'<body[^>]* id="(\d+)"')
_CONFIG = re.compile(r'id="htagweb-config" type="application/json">(.*?)</script>')
_LENGTH = re.compile(r"^content-length: (\d+)", re.MULTILINE | re.IGNORECASE)
_COOKIE = re.compile(r"^set-cookie: ([^;\r\n]+)", re.MULTILINE | re.IGNORECASE)


class BadAnswer(Exception):
    """Raised when a contestant answers with something else than the counter."""


class User:
    """A browser with one tab. Every measured call returns its seconds."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._cookie = ""
        self._body = 0
        self._config: dict[str, object] | None = None
        self._page = secrets.token_urlsafe(16)
        self._sent = 0
        self._socket: ClientConnection | None = None

    async def open(self) -> float:
        """GET the page over a connection of its own; OSError while nobody listens."""
        started = monotonic()
        head, body = await self._get("/")
        took = monotonic() - started
        if not head.startswith("HTTP/1.1 200 ") or "increment" not in body:
            raise BadAnswer(f"expected the counter's page, got {head[:80]!r} {body[:400]!r}")
        if not self._cookie:
            self._cookie = "; ".join(_COOKIE.findall(head))
        if (found := _BODY.search(body)) is None:
            raise BadAnswer("expected a body with an id")
        self._body = int(found[1])
        if config := _CONFIG.search(body):
            self._config = json.loads(config[1])
        return took

    async def _get(self, path: str) -> tuple[str, str]:
        reader, writer = await asyncio.open_connection(HOST, self._port)
        try:
            cookie = f"Cookie: {self._cookie}\r\n" if self._cookie else ""
            writer.write(f"GET {path} HTTP/1.1\r\nHost: {HOST}:{self._port}\r\n{cookie}\r\n".encode())
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            if (length := _LENGTH.search(head)) is None:
                raise BadAnswer(f"expected a content-length, got {head!r}")
            return head, (await reader.readexactly(int(length[1]))).decode()
        finally:
            writer.close()

    async def connect(self) -> None:
        """Open the WebSocket that the page would open."""
        query = ""
        if self._config is not None:
            query = f"?page={self._page}&generation={self._config['generation']}&last={self._config['last']}"
        self._socket = await connect(
            f"ws://{HOST}:{self._port}{SOCKET_PATH}{query}",
            additional_headers={"Cookie": self._cookie},
            origin=Origin(f"http://{HOST}:{self._port}"),
            ping_interval=None,
            open_timeout=60,
            proxy=None,
        )

    async def click(self) -> float:
        """Click once, and wait for the answer that shows the next number."""
        assert self._socket is not None, "connect() comes first"
        self._sent += 1
        call: dict[str, object] = {
            "id": self._body,
            "method": "increment",
            "args": [],
            "kargs": {},
            "event": {},
        }
        if self._config is not None:  # what this project's page adds
            call["htagweb"] = {"n": self._sent}
        text = json.dumps(call)
        started = monotonic()
        await self._socket.send(text)
        answer = ""
        while '"update"' not in answer:
            answer = str(await self._socket.recv())
            if '"err"' in answer:
                raise BadAnswer(f"a click failed: {answer[:400]}")
        took = monotonic() - started
        if f">{self._sent}<" not in answer:
            raise BadAnswer(f"expected the number {self._sent}, got {answer[:400]}")
        return took

    async def close(self) -> None:
        """Leave."""
        if self._socket is not None:
            await self._socket.close()
