"""A page's WebSocket as a line for texts, in clear or sealed: who uses it sees no difference."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from typing import Any

from htagweb_broker import Clock
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from htagweb.web.sealing import OVERHEAD_BYTES, Conversation, SealError, TrafficKeys

logger = logging.getLogger(__name__)

NORMAL = 1000
SEND_TIMEOUT_S = 60.0
"""A browser that takes nothing for so long is disconnected; it catches up when it comes back."""
LOOK_S = 10.0
"""Time between two looks at that: a timer for each text took a tenth of a web worker's part of a click."""
CLOSE_TIMEOUT_S = 5.0
"""How long a close may wait for a browser that takes nothing."""


class TooLarge(Exception):
    """Raised when a page sends a message over the limit."""


class Line:
    """Carries texts as they are."""

    is_sealed = False

    def __init__(self, websocket: WebSocket, limit_bytes: int, clock: Clock) -> None:
        """The socket is accepted already; the limit is that of a text of the page."""
        self._websocket = websocket
        self._limit_bytes = limit_bytes
        self._clock = clock
        self._sending = 0
        self._moved = 0.0
        """When the browser was last seen to take something."""

    async def receive(self) -> str:
        """Return the page's next text: "" for a binary message, which is none of the wire.

        TooLarge, or WebSocketDisconnect when the page left.
        """
        text = (await self._received()).get("text") or ""
        # A character has at least a byte: the longest ones are not encoded to be counted.
        if len(text) > self._limit_bytes or len(text.encode()) > self._limit_bytes:
            raise TooLarge
        return text

    async def send(self, text: str) -> None:
        """Send a text; several tasks may."""
        await self._taken(self._websocket.send_text(text))

    async def _taken(self, sending: Awaitable[None]) -> None:
        if not self._sending:
            self._moved = self._clock.now()
        self._sending += 1
        try:
            await sending
        finally:
            self._sending -= 1
            self._moved = self._clock.now()

    async def watch(self) -> None:
        """TimeoutError when the browser has taken nothing of what is sent for a minute, or a little more."""
        while True:
            await self._clock.sleep(LOOK_S)
            if self._sending and self._clock.now() >= self._moved + SEND_TIMEOUT_S:
                raise TimeoutError("its browser takes nothing")

    async def close(self, code: int, last_words: str | None = None) -> None:
        """Send the last words, and close; nothing happens where either side has closed already."""
        if self._websocket.application_state is not WebSocketState.CONNECTED:
            return
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                if last_words is not None:
                    await self.send(last_words)
                await self._websocket.close(code)
        except TimeoutError:
            logger.debug("a socket is left to the server: its browser does not take that it is closed")
        except (WebSocketDisconnect, RuntimeError) as exc:
            logger.debug("a page was gone before its socket was closed: %s", exc)

    async def _received(self) -> dict[str, Any]:
        message = await self._websocket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", NORMAL))
        return dict(message)


class SealedLine(Line):
    """Carries texts in sealed frames; clear text is refused."""

    is_sealed = True

    def __init__(self, websocket: WebSocket, keys: TrafficKeys, limit_bytes: int, clock: Clock) -> None:
        """The keys are this socket's alone."""
        super().__init__(websocket, limit_bytes, clock)
        self._conversation = Conversation(keys)
        self._in_order = asyncio.Lock()

    async def receive(self) -> str:
        """Return the page's next text; SealError for what is not its next frame, besides."""
        frame = (await self._received()).get("bytes")
        if frame is None:
            raise SealError("expected a sealed frame, got clear text")
        if len(frame) > self._limit_bytes + OVERHEAD_BYTES:
            raise TooLarge
        return self._conversation.open(frame)

    async def send(self, text: str) -> None:
        """Seal a text and send it; several tasks may."""
        async with self._in_order:  # frames go out in the order of their numbers
            await self._taken(self._websocket.send_bytes(self._conversation.seal(text)))
