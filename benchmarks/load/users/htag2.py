"""A user of an htag 2 app, hosted by htag 2's own WebApp."""

from __future__ import annotations

import html
import re

from benchmarks.load.http import HOST, get
from benchmarks.load.users.counter import NUMBER, Counter, find
from benchmarks.load.websocket import connect

_BUTTON = re.compile(r"htag_event\('([^']+)', 'click', event\)")
_PUSHER = re.compile(r"htag_event\('([^']+)', 'push', event\)")
_CLICK = b'{"id":"%s","event":"click","data":{"callback_id":"c%d","value":"","pageX":10,"pageY":20}}'
_PUSH = b'{"id":"%s","event":"push","data":{"callback_id":"p","count":%d,"pause_s":%.6f}}'


class Htag2User(Counter):
    """Clicks by the tag's id; a promise's id comes back with each answer."""

    failure = b'"action": "error"'
    coalesces = True

    _cookies = ""
    _button = b""
    _pusher = b""

    async def open(self) -> float:
        """GET the page."""
        await self.close()
        page = await get(self._port, "/", self._cookies)
        body = html.unescape(page.body)
        self._cookies = page.cookies
        self._number = int(find(NUMBER, body, "a number"))
        self._button = find(_BUTTON, body, "a button").encode()
        pusher = _PUSHER.search(body)
        self._pusher = pusher[1].encode() if pusher else b""
        return page.wait

    async def connect(self) -> None:
        """Open the WebSocket; the first message is the whole body once more."""
        self._socket = await connect(HOST, self._port, "/ws", cookies=self._cookies)
        await self._socket.receive()

    def click_message(self) -> bytes:
        """Return the next click, encoded."""
        return _CLICK % (self._button, self._number)

    async def push(self, count: int, pause_s: float) -> None:
        """Have the app push so many updates by itself."""
        self.socket.send(_PUSH % (self._pusher, count, pause_s))
        self._pushes = count
