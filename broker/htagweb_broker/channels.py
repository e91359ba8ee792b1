"""Follows many channels over one connection. A channel is a hint that can be lost: the streams are the truth.

Each follower is told when it may have missed something (``GAP``), and then
reads the truth. redis-py's own PubSub subscribes again after a drop without a
word; here nobody follows without knowing of the gap.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import Enum
from typing import Any, Final

from htagweb_broker.absence import Absence
from htagweb_broker.clock import Clock
from htagweb_broker.connection import Connection, Endpoint
from htagweb_broker.errors import BrokerError, BrokerUnavailable

logger = logging.getLogger(__name__)

PING_S = 5.0
"""A silent connection is pinged this often; no answer until the next ping means it is dead."""
RETRY_S = 0.2
SUBSCRIBE_TIMEOUT_S = 5.0
MAX_QUEUED = 256
"""Messages that a slow follower may leave unread; past it they are dropped, and it is told of a gap."""


class _Gap(Enum):
    GAP = "gap"


GAP: Final = _Gap.GAP


class Follower:
    """One reader of one channel."""

    def __init__(self, channel: str) -> None:
        self.channel = channel
        self._queue: deque[bytes] = deque()
        self._gap = False
        self._arrived = asyncio.Event()
        self.interruptions = 0
        """How often the subscription was made anew: the server had been away."""

    def put(self, message: bytes) -> None:
        """Queue a message; at the limit the queue is dropped, and a gap reported in its place."""
        if len(self._queue) >= MAX_QUEUED:
            self.put_gap()
        elif not self._gap:
            self._queue.append(message)
            self._arrived.set()

    def put_gap(self) -> None:
        """Note that messages may be missing; what is queued is part of what the stream will tell."""
        self._queue.clear()
        self._gap = True
        self._arrived.set()

    def reset(self) -> None:
        """Forget all that was queued: whoever follows from here on reads the truth first."""
        self._queue.clear()
        self._gap = False
        self._arrived.clear()
        self.interruptions = 0

    async def get(self) -> bytes | _Gap:
        """Return the next message, or GAP when some may be missing before the next one."""
        await self._arrived.wait()
        if self._gap:
            self._gap = False
            self._arrived.clear()
            return GAP
        message = self._queue.popleft()
        if not self._queue:
            self._arrived.clear()
        return message


class Channels:
    """Subscriptions of one process, over one connection that is made again when it breaks."""

    def __init__(self, endpoint: Endpoint, clock: Clock) -> None:
        self._endpoint = endpoint
        self._clock = clock
        self._absence = Absence(logger, "subscriptions", clock)
        self._connection: Connection | None = None
        self._followers: dict[str, set[Follower]] = {}
        self._confirmations: dict[str, asyncio.Event] = {}
        self._heard = False

    # Following

    @asynccontextmanager
    async def follow(self, channel: str) -> AsyncIterator[Follower]:
        """Follow a channel; on entry the server has confirmed the subscription.

        BrokerUnavailable when it did not within 5 s.
        """
        follower = Follower(channel)
        async with self.listen(follower):
            yield follower

    @asynccontextmanager
    async def listen(self, follower: Follower) -> AsyncIterator[None]:
        """Have a follower told of what its channel brings; else as ``follow``."""
        channel = follower.channel
        first = channel not in self._followers
        self._followers.setdefault(channel, set()).add(follower)
        self._confirmations.setdefault(channel, asyncio.Event())
        try:
            if first and self._connection is not None:
                self._connection.write("SUBSCRIBE", channel)
            try:
                async with asyncio.timeout(SUBSCRIBE_TIMEOUT_S):
                    await self._confirmations[channel].wait()
            except TimeoutError as exc:
                raise BrokerUnavailable("a subscription was not confirmed in time") from exc
            follower.reset()
            yield
        finally:
            self._leave(follower)

    def _leave(self, follower: Follower) -> None:
        followers = self._followers[follower.channel]
        followers.discard(follower)
        if not followers:
            del self._followers[follower.channel]
            del self._confirmations[follower.channel]
            if self._connection is not None and self._connection.is_open:
                self._connection.write("UNSUBSCRIBE", follower.channel)

    # The connection

    async def run(self) -> None:
        """Keep the connection alive until cancelled; followers survive a loss and are told of a gap."""
        try:
            while True:
                try:
                    await self._serve_one_connection()
                except BrokerError as exc:
                    self._absence.begins(exc)
                    await self._clock.sleep(RETRY_S)
        finally:
            self._drop_connection("closed by its owner")

    async def _serve_one_connection(self) -> None:
        connection = Connection(await self._endpoint.handshake(), self._on_push)
        self._connection = connection
        self._absence.ends()
        try:
            if self._followers:
                connection.write("SUBSCRIBE", *self._followers)
            self._heard = True
            while self._heard:
                self._heard = False
                connection.write("PING")
                done, _ = await asyncio.wait([connection.closed], timeout=PING_S)
                if done:
                    raise BrokerUnavailable(connection.closed.result())
                await self._endpoint.confirm()
            raise BrokerUnavailable("the server did not answer a ping")
        finally:
            self._drop_connection("subscriptions interrupted")

    def _drop_connection(self, reason: str) -> None:
        if self._connection is not None:
            self._connection.abort(reason)
            self._connection = None
        for channel, event in self._confirmations.items():
            event.clear()
            for follower in self._followers[channel]:
                follower.put_gap()

    def _on_push(self, message: Any) -> None:
        self._heard = True
        if isinstance(message, Exception):
            logger.error("the server refuses a subscription: %s", message)
            return
        if not isinstance(message, list) or len(message) < 2:
            return  # the answer to a ping before the first subscription
        kind = message[0]
        channel = message[1].decode()
        if kind == b"message":
            for follower in self._followers.get(channel, ()):
                follower.put(message[2])
        elif kind == b"subscribe" and channel in self._followers:
            self._confirm(channel)

    def _confirm(self, channel: str) -> None:
        # After a reconnect the channel was silent for a while: its older followers look at the truth.
        self._confirmations[channel].set()
        for follower in self._followers[channel]:
            follower.interruptions += 1
            follower.put_gap()
