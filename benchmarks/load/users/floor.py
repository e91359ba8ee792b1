"""A user of the floor: the wire of ``benchmarks.floor``."""

from __future__ import annotations

from benchmarks.load.http import HOST, get
from benchmarks.load.users.counter import NUMBER, Counter, find
from benchmarks.load.websocket import connect

_CALL = b'{"id":140234567890123,"method":"%s","args":[%s],"kargs":{},"event":{"type":"click","x":10,"y":20}}'


class FloorUser(Counter):
    """The same messages as an htag page's, without the page's own data."""

    _cookies = ""
    _click = _CALL % (b"increment", b"")

    async def open(self) -> float:
        """GET the page."""
        await self.close()
        page = await get(self._port, "/", self._cookies)
        self._number = int(find(NUMBER, page.body, "a number"))
        self._cookies = page.cookies or self._cookies
        return page.wait

    async def connect(self) -> None:
        """Open the WebSocket; it takes clicks at once."""
        self._socket = await connect(HOST, self._port, "/_ws", cookies=self._cookies)

    def click_message(self) -> bytes:
        """Return the next click, encoded."""
        return self._click

    async def push(self, count: int, pause_s: float) -> None:
        """Have the app push so many updates by itself."""
        self.socket.send(_CALL % (b"push", b"%d,%.6f" % (count, pause_s)))
        self._pushes = count
