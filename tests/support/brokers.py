"""The broker package over a real server: what its tests share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import msgspec
from htagweb_broker.broker import SupervisorBroker, WebBroker
from htagweb_broker.clock import SystemClock
from htagweb_broker.connection import Argument, Client, Endpoint
from htagweb_broker.inbox import Inbox
from htagweb_broker.inboxes import Deliver
from htagweb_broker.keys import InstanceId, Keys
from htagweb_broker.messages import Interact, Launch, Open, UpdatedByApp
from htagweb_broker.outbox import OutboxReader, OutboxWriter
from htagweb_broker.ownership import Claim, Claimed, Ownership
from htagweb_broker.presence import Beat, Presence
from htagweb_broker.replies import ReplyWriter
from htagweb_broker.sessions import Sessions
from htagweb_broker.spawns import Spawns

from tests.support.processes import BrokerServer

KINDS = ["valkey", "redis"]
SESSION = "0123456789abcdef" * 4
CART = InstanceId(SESSION, "shop.Cart")
NOBODY = Claimed("", "")
UPDATE = UpdatedByApp(msgspec.Raw(b"{}"), msgspec.Raw(b"{}"))
LAUNCH = Launch([], {}, False, 60.0, 0.0)
OPEN = Open("r1", "w1", LAUNCH)
BEAT = Beat("s", "host", 1, "1.0", capacity=10, load=0, draining=False)


def interact(generation: str, number: int = 1) -> Interact:
    """Return an interaction."""
    return Interact(generation, "page", number, msgspec.Raw(b"{}"))


@contextmanager
def running_server(kind: str, directory: Path, *options: str) -> Iterator[BrokerServer]:
    """Run a server as long as the block lasts."""
    directory.mkdir(exist_ok=True)
    server = BrokerServer(kind, directory, *options)
    server.start()
    try:
        yield server
    finally:
        server.stop()


class Bench:
    """Everything of the broker package over one server; ``close`` closes every connection."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.keys = Keys()
        self._clients: list[Client] = []
        self._brokers: list[WebBroker | SupervisorBroker] = []
        self.client = self.new_client()
        self.inbox = Inbox(self.client, self.keys)
        self.ownership = Ownership(self.client, self.keys)
        self.presence = Presence(self.client, self.keys)
        self.reader = OutboxReader(self.client, self.keys)
        self.replies = ReplyWriter(self.client, self.keys)
        self.sessions = Sessions(self.client, self.keys)
        self.spawns = Spawns(self.client, self.keys)

    def new_client(self) -> Client:
        """Return a client of its own connection."""
        self._clients.append(Client(Endpoint(self.url)))
        return self._clients[-1]

    def web(self, worker: str = "w1") -> WebBroker:
        """Return a web worker's side."""
        broker = WebBroker(self.url, "htagweb", worker, SystemClock(), 3600)
        self._brokers.append(broker)
        return broker

    def supervisor(self, deliver: Deliver = lambda instance, entries: None) -> SupervisorBroker:
        """Return the side of the supervisor that claims."""
        broker = SupervisorBroker(self.url, "htagweb", "s1", SystemClock(), deliver)
        self._brokers.append(broker)
        return broker

    def close(self) -> None:
        """Close all connections."""
        for each in [*self._clients, *self._brokers]:
            each.close()

    async def call(self, *command: Argument) -> Any:
        """Run a command."""
        return await self.client.call(*command)

    async def ttl_ms(self, key: str) -> int:
        """Return a key's time to live: -1 when it has none, -2 when there is no key."""
        left: int = await self.call("PTTL", key)
        return left

    def writer(self, generation: str, instance: InstanceId = CART) -> OutboxWriter:
        """Return a writer of a generation's actions."""
        return OutboxWriter(self.client, self.keys, instance, generation)

    async def claim(
        self, generation: str, owner: str = "s1", expected: Claimed = NOBODY, instance: InstanceId = CART
    ) -> Claim | Claimed:
        """Claim an instance."""
        facts = {"host": "h"}
        return await self.ownership.claim(
            instance, expected=expected, generation=generation, owner=owner, facts=facts
        )

    async def owned(self, generation: str = "1-aa", owner: str = "s1") -> OutboxWriter:
        """Claim the instance and return its writer."""
        await self.claim(generation, owner)
        return self.writer(generation)

    async def emit(self, writer: OutboxWriter, count: int = 1, taken: str = "") -> int:
        """Emit updates, return how many listened to the last."""
        for _ in range(count):
            listened = await writer.emit(writer.next_action(UPDATE), taken)
        return listened

    async def ids(self, key: str) -> list[str]:
        """Return the ids of a stream's entries."""
        return [entry_id.decode() for entry_id, _ in await self.call("XRANGE", key, "-", "+")]


@asynccontextmanager
async def background(*runs: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """Run what runs until cancelled, as long as the block lasts."""

    async def keep(run: Callable[[], Awaitable[None]]) -> None:
        await run()

    async with asyncio.TaskGroup() as tasks:
        started = [tasks.create_task(keep(run)) for run in runs]
        try:
            yield
        finally:
            for task in started:
                task.cancel()
