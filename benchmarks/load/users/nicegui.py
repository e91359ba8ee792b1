"""A user of a NiceGUI page: socket.io over a WebSocket from the start, as its browsers have it."""

from __future__ import annotations

import ast
import html
import json
import re
import secrets
from typing import Any
from urllib.parse import urlencode

from benchmarks.load.errors import BadAnswer
from benchmarks.load.http import HOST, get
from benchmarks.load.users.counter import Counter, find
from benchmarks.load.websocket import WebSocket, connect

_ELEMENTS = re.compile(r"parseElements\(String\.raw`(.*?)`\)", re.DOTALL)
_QUERY = re.compile(r"query: (\{.*?\}),\n")
_OPEN, _PING, _PONG, _CONNECT, _CONNECTED, _EVENT = b"0", b"2", b"3", b"40", b"40{", b"42"


class _SocketIo(WebSocket):
    """Answers engine.io's pings, which are messages to a WebSocket, whenever they come."""

    def take_message(self, message: bytes, arrived: float) -> None:
        """Keep it for ``receive``, if it is anything else."""
        if message == _PING:
            self.send(_PONG)
        else:
            super().take_message(message, arrived)


class NiceGuiUser(Counter):
    """Clicks by the listener's id, which the page names."""

    shown = b'"text":"%d"'
    number = b'"number"'
    failure = b"44{"
    pushed = re.compile(rb'"text":"(\d+\.\d+|end)"')
    coalesces = True

    _query: dict[str, Any]
    _click = b""
    _push: dict[str, Any] | None = None

    async def open(self) -> float:
        """GET the page; each load of it is a new client with its own number."""
        await self.close()
        page = await get(self._port, "/")
        self._query = ast.literal_eval(find(_QUERY, page.body, "the query of its socket"))
        elements = json.loads(html.unescape(find(_ELEMENTS, page.body, "its elements")))
        events = {
            event["type"]: {"id": int(key), "listener_id": event["listener_id"]}
            for key, element in elements.items()
            for event in element.get("events", [])
        }
        client = {"client_id": self._query["client_id"]}
        self._click = _event({**events["click"], **client, "args": []})
        self._push = {**events["push"], **client} if "push" in events else None
        self._number = 0
        return page.wait

    async def connect(self) -> None:
        """Open the socket; the handshake with the page's client is part of it."""
        query = {
            **{name: str(value).lower() for name, value in self._query.items()},
            "document_id": secrets.token_hex(16),
            "tab_id": secrets.token_hex(16),
            "old_tab_id": "null",
            "EIO": "4",
            "transport": "websocket",
        }
        path = f"/_nicegui_ws/socket.io/?{urlencode(query)}"
        self._socket = await connect(HOST, self._port, path, kind=_SocketIo)
        await self._expect(_OPEN)
        self._socket.send(_CONNECT)
        await self._expect(_CONNECTED)

    async def _expect(self, start: bytes) -> None:
        message = await self.socket.receive()
        if not message.startswith(start):
            raise BadAnswer(f"expected a message that starts with {start!r}, got {message!r}")

    def click_message(self) -> bytes:
        """Return the next click, encoded."""
        return self._click

    async def push(self, count: int, pause_s: float) -> None:
        """Have the app push so many updates by itself."""
        if self._push is None:
            raise BadAnswer("expected an element with a listener for 'push' in the page")
        self.socket.send(_event({**self._push, "args": [str(count), str(pause_s)]}))
        self._pushes = count


def _event(event: dict[str, Any]) -> bytes:
    return _EVENT + json.dumps(["event", event], separators=(",", ":")).encode()
