"""The wires between hosts: TCP proxies that delay, trickle, stall and reset what they carry."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import deque
from collections.abc import AsyncIterator, Sequence
from typing import cast

CONNECT_S = 3.0
"""After so long without an answer the next host is tried, as reverse proxies do."""
TRICKLE_BYTES = 64
TRICKLE_S = 0.01
MOST_QUEUED_BYTES = 1024 * 1024

Address = tuple[str, int]


class Link:
    """One host's wire, and what is wrong with it; as long as nothing is, bytes pass at once."""

    def __init__(self, name: str, target: Address) -> None:
        self.name = name
        self.target = target
        self.delay_s = 0.0
        """Each way."""
        self.trickles = False
        self.stalls = False
        """Connections are taken, nothing passes, nobody is told."""
        self.ends: set[End] = set()

    @property
    def is_clear(self) -> bool:
        """Whether bytes pass at once."""
        return not (self.delay_s or self.trickles or self.stalls)

    def heal(self) -> None:
        """Let everything pass again, first what waits."""
        self.delay_s, self.trickles, self.stalls = 0.0, False, False
        for end in list(self.ends):
            end.pump()

    def reset(self) -> None:
        """Reset all connections."""
        for end in list(self.ends):
            end.abort()


class End(asyncio.Protocol):
    """One end of a connection through a link; what is read here is written at ``other``."""

    def __init__(self, loop: asyncio.AbstractEventLoop, link: Link | None = None) -> None:
        self.link = link
        self.other: End | None = None
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._waiting: deque[tuple[float, bytes]] = deque()
        self._waiting_bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._early: list[bytes] = []
        self._ends = False
        self.is_closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast(asyncio.Transport, transport)

    def join(self, link: Link, other: End) -> None:
        """Become an end of a link's connection, and pass on what came before."""
        self.link, self.other = link, other
        link.ends.add(self)
        for data in self._early:
            other.take(data)
        self._early.clear()

    def data_received(self, data: bytes) -> None:
        """Pass it on."""
        if self.other is not None:
            self.other.take(data)
        else:
            self._early.append(data)

    def eof_received(self) -> bool:
        """Pass it on, behind what waits."""
        if self.other is not None:
            self.other.finish()
        return self.other is not None

    def connection_lost(self, exc: Exception | None) -> None:
        """The end of one is the end of both."""
        self.is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self.link is not None:
            self.link.ends.discard(self)
        if self.other is not None:
            self.other.abort() if exc is not None else self.other.finish()

    def pause_writing(self) -> None:
        """Have the other side wait."""
        self._hold(True)

    def resume_writing(self) -> None:
        """Go on."""
        if self._waiting_bytes < MOST_QUEUED_BYTES:
            self._hold(False)

    def _hold(self, hold: bool) -> None:
        source = self.other._transport if self.other is not None else None
        if source is not None and not source.is_closing() and source.is_reading() == hold:
            source.pause_reading() if hold else source.resume_reading()

    def take(self, data: bytes) -> None:
        """Write this, as the link is."""
        link = self.link
        if link is not None and link.is_clear and not self._waiting and self._transport is not None:
            self._transport.write(data)
            return
        delay_s = link.delay_s if link is not None else 0.0
        self._waiting.append((self._loop.time() + delay_s, data))
        self._waiting_bytes += len(data)
        if self._waiting_bytes > MOST_QUEUED_BYTES:
            self._hold(True)
        self.pump()

    def pump(self) -> None:
        """Write what is due."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiting and self._transport is not None and self.link is not None:
            if self.link.stalls:
                return
            due, data = self._waiting[0]
            if due > self._loop.time() and self.link.delay_s:
                self._timer = self._loop.call_at(due, self.pump)
                return
            part = data[:TRICKLE_BYTES] if self.link.trickles else data
            self._transport.write(part)
            self._waiting_bytes -= len(part)
            if len(part) < len(data):
                self._waiting[0] = (due, data[len(part) :])
            else:
                self._waiting.popleft()
            if self.link.trickles and self._waiting:
                self._timer = self._loop.call_later(TRICKLE_S, self.pump)
                return
        if self._waiting_bytes < MOST_QUEUED_BYTES:
            self._hold(False)
        stalled = self.link is not None and self.link.stalls
        if self._ends and not self._waiting and not stalled and self._transport is not None:
            self._transport.close()

    def finish(self) -> None:
        """Close when all is written."""
        self._ends = True
        self.pump()

    def abort(self) -> None:
        """Reset it."""
        self._ends = True
        if self._transport is not None:
            self._transport.abort()


class Door:
    """A listening port before one or several links: a connection takes any that accepts it."""

    def __init__(self, tasks: asyncio.TaskGroup, links: Sequence[Link], rng: random.Random) -> None:
        self._tasks = tasks
        self._links = links
        self._rng = rng
        self._ends: set[End] = set()
        self.port = 0

    def accept(self) -> End:
        """Take a connection; what it says waits until a host has it."""
        end = End(asyncio.get_running_loop())
        task = self._tasks.create_task(self._connect(end))
        self._ends.add(end)
        task.add_done_callback(lambda _: self._ends.discard(end))
        return end

    async def _connect(self, outer: End) -> None:
        loop = asyncio.get_running_loop()
        for link in self._rng.sample(self._links, len(self._links)):
            try:
                async with asyncio.timeout(CONNECT_S):
                    _, inner = await loop.create_connection(lambda: End(loop), *link.target)
            except OSError:
                continue
            inner.join(link, outer)
            outer.join(link, inner)
            if outer.is_closed:
                inner.abort()
            return
        outer.abort()


@contextlib.asynccontextmanager
async def door(
    tasks: asyncio.TaskGroup, address: str, links: Sequence[Link], rng: random.Random
) -> AsyncIterator[Door]:
    """Listen on a free port of an address."""
    made = Door(tasks, links, rng)
    server = await asyncio.get_running_loop().create_server(made.accept, address, 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
