"""A parano page as a program: everything after the handshake is sealed, over a socket and by POST."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

import httpx
import websockets

from tests.support.page import PageClient
from tests.support.seal import PageSeal
from tests.support.waiting import until


class SealedPage(PageClient):
    """One tab. ``carried`` is all that went over its connections, in both directions."""

    def __init__(self, base: str, http: httpx.AsyncClient | None = None, curve: str = "X25519") -> None:
        super().__init__(base, http)
        self.curve = curve
        self.seal = PageSeal(curve)
        self.channel = ""
        self.carried = b""
        self._heard = 0

    @property
    def url(self) -> str:
        """Where its messages go."""
        return f"{self.base}{self.config['url']}"

    # WebSocket

    async def connect(self, base: str | None = None) -> None:
        """Connect with keys of its own, and wait until all that was missed is here."""
        self.base = base or self.base
        self.seal, self._heard = PageSeal(self.curve), 0
        query = f"page={self.page}&generation={self.config['generation']}&last={self.last}"
        url = f"ws{self.url[4:]}?{query}&curve={self.curve}&key={self.seal.key}"
        self.ready.clear()
        self._socket = await websockets.connect(url, additional_headers={"Cookie": self.cookie})
        first = json.loads(await self._socket.recv())
        self.seal.agree(first["htagweb"]["key"])
        self._reading = asyncio.create_task(self._read(self._socket))  # noqa: TID251 - ended in close()
        await until(lambda: self.ready.is_set() or self.ends or self.reloads, "the socket is ready")
        for text in list(self.waiting.values()):
            await self.send(text)

    async def _read(self, socket: websockets.ClientConnection) -> None:
        with contextlib.suppress(websockets.ConnectionClosed):
            async for frame in socket:
                assert isinstance(frame, bytes), "a message in clear text"
                self._heard += 1
                number, text = self.seal.open(frame)
                assert number == self._heard
                self.carried += frame
                self._take(json.loads(text))

    async def send(self, text: str) -> None:
        """Send a text sealed."""
        assert self._socket is not None
        frame = self.seal.seal(text)
        self.carried += frame
        await self._socket.send(frame)

    @property
    def close_code(self) -> int | None:
        """With what the server closed the socket."""
        return None if self._socket is None else self._socket.close_code

    # POST

    async def agree(self) -> None:
        """Make a sealed channel for POSTs."""
        self.seal = PageSeal(self.curve)
        body = {"htagweb": {"curve": self.curve, "key": self.seal.key}}
        response = await self.http.post(self.url, json=body)
        assert response.status_code == 200, response.text
        extra = response.json()["htagweb"]
        self.seal.agree(extra["key"])
        self.channel = extra["channel"]

    async def send_frame(self, frame: bytes) -> httpx.Response:
        """POST a frame."""
        headers = {"X-Htagweb-Channel": self.channel, "content-type": "application/octet-stream"}
        self.carried += frame
        return await self.http.post(self.url, content=frame, headers=headers)

    def interaction(self, method: str, *args: Any) -> str:
        """Return the text of the next interaction."""
        self.sent += 1
        extra = {
            "n": self.sent,
            "page": self.page,
            "generation": self.config["generation"],
            "last": self.last,
        }
        call = {"id": self.body(), "method": method, "args": list(args), "kargs": {}, "event": {}}
        return json.dumps({**call, "htagweb": extra})

    async def ask_by_post(self, method: str, *args: Any) -> list[dict[str, Any]]:
        """Interact; return the messages that came, all of which were taken."""
        response = await self.send_frame(self.seal.seal(self.interaction(method, *args)))
        assert response.status_code == 200, response.text
        self.carried += response.content
        number, text = self.seal.open(response.content)
        assert number == self.seal.number
        messages: list[dict[str, Any]] = json.loads(text)
        for message in messages:
            self._take(dict(message))
        return messages
