"""A user of an htag 1 app: of this project, and of htagweb 1.0.0 and 0.60.3."""

from __future__ import annotations

import json
import re
import secrets
from urllib.parse import urlencode

from benchmarks.load.errors import BadAnswer
from benchmarks.load.http import HOST, get
from benchmarks.load.users.counter import NUMBER, Counter, find
from benchmarks.load.websocket import connect

_BODY = re.compile(r'<body[^>]* id="(\d+)"')
_CONFIG = re.compile(r'id="htagweb-config" type="application/json">(.*?)</script>')
_PATH = re.compile(r'"(_/[\w.:]+)"')
"""Where the page of htagweb 1.0.0 and before connects its WebSocket."""
_CALL = b'{"id":%d,"method":"%s","args":[%s],"kargs":{},"event":{"type":"click","x":10,"y":20}'


class HtagUser(Counter):
    """With what this project's page adds, where the page has it."""

    _cookies = ""
    _body = 0
    _config: dict[str, str] | None = None
    _path = ""
    _sent = 0
    _click = b""

    async def open(self) -> float:
        """GET the page."""
        await self.close()
        page = await get(self._port, "/", self._cookies)
        self._cookies = self._cookies or page.cookies
        self._number = int(find(NUMBER, page.body, "a number"))
        self._body = int(find(_BODY, page.body, "a body with an id"))
        config = _CONFIG.search(page.body)
        self._config = json.loads(config[1]) if config else None
        if self._config is None:
            self._path = "/" + find(_PATH, page.body, "the WebSocket's address")
        else:
            names = {name: self._config[name] for name in ("generation", "last")}
            query = urlencode({"page": secrets.token_urlsafe(16), **names})
            self._path = f"{self._config['url']}?{query}"
        self._sent = 0
        self._click = _CALL % (self._body, b"increment", b"")
        return page.wait

    async def connect(self) -> None:
        """Open the WebSocket; this project says when it is ready."""
        self._socket = await connect(HOST, self._port, self._path, cookies=self._cookies)
        while self._config is not None:
            message = await self._socket.receive()
            if b'"ready":true' in message:
                break
            if b'"err"' in message or b'"reload"' in message or b'"end"' in message:
                raise BadAnswer(f"expected a page that is ready, got {message!r}")

    def _own(self) -> bytes:
        if self._config is None:
            return b"}"
        self._sent += 1
        return b',"htagweb":{"n":%d}}' % self._sent

    def click_message(self) -> bytes:
        """Return the next click, encoded."""
        return self._click + self._own()

    async def push(self, count: int, pause_s: float) -> None:
        """Have the app push so many updates by itself."""
        arguments = b"%d,%.6f" % (count, pause_s)
        self.socket.send(_CALL % (self._body, b"push", arguments) + self._own())
        self._pushes = count
