"""Connections to the broker: commands pipelined, answers matched in order, errors translated.

redis-py makes the connection (URL, TLS, AUTH, SELECT); after its handshake the
transport is driven by a small protocol here: one write per turn of the event
loop, no task per connection, no retry. redis-py's own command layer costs about
100 µs a command and repeats commands whose answer got lost; interactions must
not be repeated behind our back.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import hiredis
from redis.asyncio.connection import AbstractConnection, ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, RedisError, ResponseError

from htagweb_broker.errors import BrokerError, BrokerRefused, BrokerUnavailable, ScriptUnknown

Argument = str | bytes | int

COMMAND_TIMEOUT_S = 5.0
CONNECT_TIMEOUT_S = 5.0
RECONNECT_PAUSE_S = 0.1
"""After a failed connect, calls within this time fail at once instead of trying again."""
MAX_WAITING = 10_000
"""Commands without an answer on one connection; past it calls fail at once."""


class Caller(Protocol):
    """Runs a command and returns its answer, as RESP2 gives it (bytes, int, list, None)."""

    async def call(self, *command: Argument, timeout_s: float = COMMAND_TIMEOUT_S) -> Any:
        """Run one command; BrokerUnavailable or BrokerRefused when there is no answer."""
        ...


_NOT_THE_PRIMARY = ("READONLY ", "MASTERDOWN ", "LOADING ", "UNBLOCKED ", "NOREPLICAS ")
"""How a server's answer begins that is not the primary (any more, or yet), or that is cut off from its
replicas: the next connection may find one that is."""


def _translated(error: BaseException) -> BrokerError:
    text = str(error)
    if text.startswith(_NOT_THE_PRIMARY):
        return BrokerUnavailable(text)
    return ScriptUnknown(text) if text.startswith("NOSCRIPT") else BrokerRefused(text)


@contextmanager
def heeding_cancellation() -> Iterator[None]:
    """End cancelled if the task was cancelled within the block.

    redis-py 8 swallows that while it connects, or raises another error in its place; who
    cancelled would wait for ever.
    """
    task = asyncio.current_task()
    assert task is not None
    cancelled = task.cancelling()
    try:
        yield
    finally:
        if task.cancelling() > cancelled:
            raise asyncio.CancelledError


@contextmanager
def _closed_unless_done(raw: AbstractConnection) -> Iterator[None]:
    """Close a connection whose handshake fails or is cancelled within the block."""
    try:
        with heeding_cancellation():
            yield
    except BaseException:
        if raw._writer is not None:
            raw._writer.transport.abort()
            raw._reader = raw._writer = None
        raise


NO_CONNECTION = (RedisError, OSError, TimeoutError, RuntimeError)
"""What redis-py raises when it cannot connect. RuntimeError is uvloop's: the connection was reset, and more
written to it."""


class Endpoint:
    """Where the broker is, and how connections to it are made."""

    def __init__(self, url: str) -> None:
        """Parse the URL; ValueError says what is wrong with it. Nothing is connected."""
        # protocol=2: one result shape for every command; retries off: see the module's docstring.
        # Every timeout here is for the handshake alone, later ones are this module's own.
        self._pool = ConnectionPool.from_url(
            url,
            protocol=2,
            retry=Retry(NoBackoff(), 0),
            socket_timeout=CONNECT_TIMEOUT_S,
            socket_connect_timeout=CONNECT_TIMEOUT_S,
        )

    async def handshake(self) -> AbstractConnection:
        """Return a new connection that is logged in; BrokerUnavailable or BrokerRefused."""
        raw: AbstractConnection = self._pool.make_connection()  # type: ignore[no-untyped-call]
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S * 2):
                with _closed_unless_done(raw):
                    await self._connect(raw)
        except (AuthenticationError, ResponseError) as exc:
            raise BrokerRefused(str(exc)) from exc
        except NO_CONNECTION as exc:
            raise BrokerUnavailable(str(exc) or type(exc).__name__) from exc
        return raw

    async def _connect(self, raw: AbstractConnection) -> None:
        await raw.connect()  # type: ignore[no-untyped-call]

    async def confirm(self) -> None:
        """Look whether the open connections lead to the right server still; close those that do not.

        Never raises for an absence. One address leads nowhere else.
        """


class Connection(asyncio.Protocol):
    """One open connection. It fails as a whole: after an error or a late answer it is closed."""

    def __init__(self, raw: AbstractConnection, on_push: Callable[[Any], None] | None = None) -> None:
        """Take over a connection after its handshake.

        With ``on_push`` the connection is a subscriber's: every message from
        the server goes there, and ``send`` returns futures that stay open.
        """
        self._loop = asyncio.get_running_loop()
        self._parser = hiredis.Reader()
        self._waiting: deque[tuple[asyncio.Future[Any], float]] = deque()
        self._outgoing: list[bytes] = []
        self._on_push = on_push
        self._watch: asyncio.TimerHandle | None = None
        self._raw = raw
        self.closed = self._loop.create_future()
        """Done when the connection is gone."""
        writer = raw._writer
        if writer is None or writer.transport.is_closing():  # its end was told to redis-py, not to us
            raise BrokerUnavailable("the connection closed during its handshake")
        self._transport: asyncio.WriteTransport = writer.transport
        self._transport.set_protocol(self)

    @property
    def is_open(self) -> bool:
        """Whether commands can still be sent."""
        return not self.closed.done()

    def write(self, *command: Argument) -> None:
        """Send a command without waiting for an answer: for a subscriber's connection only."""
        # uvloop makes a system call of every write to a transport.
        if not self._outgoing:
            self._loop.call_soon(self._flush)
        self._outgoing.append(hiredis.pack_command(command))  # type: ignore[arg-type]

    def send(self, command: tuple[Argument, ...], timeout_s: float) -> asyncio.Future[Any]:
        """Send a command; the future holds its answer. Cancelling it drops the answer, not the command."""
        if not self.is_open:
            raise BrokerUnavailable("the connection is closed")
        self.check_room(1)
        self.write(*command)
        future: asyncio.Future[Any] = self._loop.create_future()
        deadline = self._loop.time() + timeout_s
        self._waiting.append((future, deadline))
        if self._watch is None or deadline < self._watch.when():
            self._look_at(deadline)
        return future

    def _look_at(self, deadline: float) -> None:
        if self._watch is not None:
            self._watch.cancel()
        self._watch = self._loop.call_at(deadline, self._check_deadline)

    def check_room(self, count: int) -> None:
        """BrokerUnavailable when so many commands more would be too many."""
        if len(self._waiting) + count > MAX_WAITING:
            raise BrokerUnavailable(f"{MAX_WAITING} commands wait for an answer already")

    def _flush(self) -> None:
        # It may be closing already, and not have told: then uvloop's raises.
        if self._outgoing and self.is_open and not self._transport.is_closing():
            self._transport.write(b"".join(self._outgoing))
        self._outgoing.clear()

    def _check_deadline(self) -> None:
        # A server that is frozen or cut off keeps its TCP connection: only an own deadline notices.
        self._watch = None
        if not self._waiting:
            return
        deadline = min(deadline for _, deadline in self._waiting)
        if deadline <= self._loop.time():
            self.abort("the server did not answer in time")
        else:
            self._look_at(deadline)

    def data_received(self, data: bytes) -> None:
        """Match what arrived to whoever waits (called by the event loop)."""
        self._parser.feed(data)
        try:
            while (answer := self._parser.gets()) is not False:
                self._deliver(answer)
        except hiredis.ProtocolError as exc:
            self.abort(f"the server sent what is not RESP: {exc}")

    def _deliver(self, answer: Any) -> None:
        if self._on_push is not None:
            self._on_push(answer)
            return
        if not self._waiting:
            self.abort("the server sent an answer that nobody asked for")
            return
        future, _ = self._waiting.popleft()
        if future.done():
            return
        if isinstance(answer, hiredis.ReplyError):
            error = _translated(answer)
            future.set_exception(error)
            if isinstance(error, BrokerUnavailable):
                self.abort(str(error))
        else:
            future.set_result(answer)

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail everything that still waits (called by the event loop)."""
        self._finish(str(exc) if exc else "the server closed the connection")

    def abort(self, reason: str) -> None:
        """Close now; what waits fails with BrokerUnavailable and the reason."""
        self._transport.abort()
        self._finish(reason)

    def _finish(self, reason: str) -> None:
        if self.closed.done():
            return
        self.closed.set_result(reason)
        if self._watch is not None:
            self._watch.cancel()
        # redis-py must not warn about, or close, a transport that is no longer its own.
        self._raw._reader = self._raw._writer = None
        while self._waiting:
            future, _ = self._waiting.popleft()
            if not future.done():
                future.set_exception(BrokerUnavailable(reason))


class Client:
    """Commands over one connection that is opened when first needed, and again after it broke."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._connection: Connection | None = None
        self._opening = asyncio.Lock()
        self._failed_until = 0.0
        self._last_error = ""
        self.connections = 0
        """How many were opened. What was answered over an earlier one may be lost: its server may have
        come back without the last moment's writes, or another have taken its place."""

    async def call(self, *command: Argument, timeout_s: float = COMMAND_TIMEOUT_S) -> Any:
        """Run one command and return its answer.

        BrokerUnavailable when there is no connection, it broke, or no answer
        came in ``timeout_s`` (the command may have run); BrokerRefused with the
        server's own words.
        """
        connection = self._connection
        if connection is None or not connection.is_open:
            connection = await self._open()
        return await connection.send(command, timeout_s)

    async def call_all(self, *commands: tuple[Argument, ...]) -> list[Any]:
        """Run commands in one write and return their answers; the first error is raised."""
        connection = self._connection
        if connection is None or not connection.is_open:
            connection = await self._open()
        connection.check_room(len(commands))
        futures = [connection.send(command, COMMAND_TIMEOUT_S) for command in commands]
        answers = await asyncio.gather(*futures, return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        return answers

    async def _open(self) -> Connection:
        async with self._opening:
            if self._connection is not None and self._connection.is_open:
                return self._connection
            loop = asyncio.get_running_loop()
            if loop.time() < self._failed_until:
                raise BrokerUnavailable(self._last_error)
            try:
                self._connection = Connection(await self._endpoint.handshake())
                self.connections += 1
            except BrokerUnavailable as exc:
                self._failed_until = loop.time() + RECONNECT_PAUSE_S
                self._last_error = str(exc)
                raise
            return self._connection

    def close(self) -> None:
        """Close the connection, if there is one; a later call opens a new one."""
        if self._connection is not None:
            self._connection.abort("closed by its owner")
            self._connection = None
