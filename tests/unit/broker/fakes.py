"""What stands in for the broker's outside in unit tests: a transport, a connection, a server in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

import fakeredis
import hiredis
from htagweb_broker.connection import COMMAND_TIMEOUT_S, Argument, Client, Connection, Endpoint
from htagweb_broker.errors import BrokerRefused, BrokerUnavailable, ScriptUnknown
from htagweb_broker.keys import InstanceId
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ResponseError

SESSION = "0123456789abcdef" * 4
CART = InstanceId(SESSION, "shop.Cart")


async def turns(count: int = 10) -> None:
    """Give the event loop some turns."""
    for _ in range(count):
        ready: asyncio.Future[None] = asyncio.Future()
        asyncio.get_running_loop().call_soon(ready.set_result, None)
        await ready


class FakeTransport:
    """Keeps what was written; the test answers by ``Connection.data_received``."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.aborted = False

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Take the protocol, as transports do."""

    def is_closing(self) -> bool:
        """Tell whether it is on its way to be closed."""
        return self.aborted

    def write(self, data: bytes) -> None:
        """Keep a write; as uvloop does, refuse it once it is closed."""
        if self.aborted:
            raise RuntimeError("the handler is closed")
        self.writes.append(data)

    def abort(self) -> None:
        """Note that it was closed."""
        self.aborted = True

    def commands(self) -> list[list[bytes]]:
        """Return the commands that were written."""
        reader = hiredis.Reader()
        reader.feed(b"".join(self.writes))
        found: list[list[bytes]] = []
        while (command := reader.gets()) is not False:
            found.append(cast("list[bytes]", command))
        return found


class _Writer:
    def __init__(self, transport: FakeTransport) -> None:
        self.transport = transport


class FakeRaw:
    """A redis-py connection after its handshake."""

    def __init__(self, transport: FakeTransport | None) -> None:
        self._reader = None
        self._writer = None if transport is None else _Writer(transport)


def fake_raw(transport: FakeTransport | None) -> AbstractConnection:
    """Return a connection over the transport, as redis-py hands it over; None: it closed already."""
    return cast(AbstractConnection, FakeRaw(transport))


def fake_connection(on_push: Callable[[Any], None] | None = None) -> tuple[Connection, FakeTransport]:
    """Return a connection and the transport below it."""
    transport = FakeTransport()
    return Connection(fake_raw(transport), on_push), transport


class FakeEndpoint(Endpoint):
    """Makes connections over fake transports, or refuses to."""

    def __init__(self) -> None:
        self.transports: list[FakeTransport] = []
        self.handshakes = 0
        self.refusal: BrokerUnavailable | None = None

    async def handshake(self) -> AbstractConnection:
        """Return a connection over a new transport."""
        self.handshakes += 1
        if self.refusal is not None:
            raise self.refusal
        self.transports.append(FakeTransport())
        return fake_raw(self.transports[-1])


class FakeClock:
    """Time that passes when something sleeps: at once, but not without a turn of the event loop."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def now(self) -> float:
        """Return the seconds slept so far."""
        return sum(self.slept)

    def epoch_ms(self) -> int:
        """Return the milliseconds slept so far."""
        return int(self.now() * 1000)

    async def sleep(self, delay_s: float) -> None:
        """Note the sleep and go on."""
        self.slept.append(delay_s)
        await turns(1)


class FakeServerClient(Client):
    """A client of a server in memory that runs the scripts; answers are raw, as RESP2 gives them."""

    def __init__(self) -> None:
        self._server = fakeredis.FakeAsyncRedis(protocol=2)
        self.log: list[tuple[Argument, ...]] = []

    async def call(self, *command: Argument, timeout_s: float = COMMAND_TIMEOUT_S) -> Any:
        """Run one command."""
        self.log.append(command)
        connection = await self._server.connection_pool.get_connection()  # type: ignore[no-untyped-call]
        try:
            await connection.send_command(*command)
            return await connection.read_response()
        except ResponseError as exc:
            # redis-py cuts the code off where it knows the error.
            unknown = "matching script" in str(exc)
            raise (ScriptUnknown if unknown else BrokerRefused)(str(exc)) from exc
        finally:
            await self._server.connection_pool.release(connection)

    async def call_all(self, *commands: tuple[Argument, ...]) -> list[Any]:
        """Run commands one after the other."""
        return [await self.call(*command) for command in commands]

    async def aclose(self) -> None:
        """Close the server."""
        await self._server.aclose()
