"""A placement over fakes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from htagweb_broker import Beat, Entry, InstanceId, Open, SpawnEntry, SpawnRequest
from htagweb_broker.messages import encode

from htagweb.host import frames
from htagweb.supervisor import instance as instance_module
from htagweb.supervisor.instance import OwnedInstance
from htagweb.supervisor.placement import Placement
from htagweb.supervisor.services import Services
from htagweb.supervisor.standing import Standing
from tests.support.fakes import FakeBroker, FakeClock, FakeProcess, FakeTemplates, turns
from tests.unit.supervisor.harness import INSTANCE, opening

ME = "me-1-aa"
CAPACITY = 3
SECOND = InstanceId("ab" * 16, "m.App")


class Site:
    """A placement over fakes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.broker = FakeBroker()
        self.clock = FakeClock()
        self.templates = FakeTemplates()
        self.processes: list[FakeProcess] = []
        self.dead: set[str] = set()
        services = Services(self.broker.supervisor_side, self.templates.real, self.clock, 4, 60.0, ME, "h")
        side = self.broker.supervisor_side
        self.standing = Standing(side.presence, ME, self._describe, self._beat)
        self.placement = Placement(services, CAPACITY, self._is_dead, self.standing, 1.0)
        self.running: asyncio.Task[None] | None = None
        self._requests = 0
        self._entries = 0
        monkeypatch.setattr(instance_module, "AppProcess", self._make_process)

    def _describe(self) -> Beat:
        return Beat("me", "h", 1, "v", CAPACITY, self.placement.load, draining=False)

    async def _beat(self) -> None:
        await self.broker.supervisor_side.presence.beat(ME, self._describe())

    async def _is_dead(self, supervisor: str) -> bool:
        return supervisor in self.dead

    def _make_process(self, *args: Any) -> FakeProcess:
        self.processes.append(FakeProcess(*args))
        return self.processes[-1]

    def wait_in_inbox(self, instance: InstanceId, *messages: Open) -> list[Entry]:
        """Have messages wait in an inbox."""
        entries = []
        for message in messages:
            self._entries += 1
            entries.append(Entry(f"{self._entries}-0", encode(message), ""))
        self.broker.entries.setdefault(instance, []).extend(entries)
        return entries

    def bring(self, instance: InstanceId, message: Open) -> None:
        """Append to the inbox and deliver."""
        self.deliver(instance, self.wait_in_inbox(instance, message))

    def deliver(self, instance: InstanceId, entries: list[Entry]) -> None:
        """Deliver entries of the inbox, as whoever reads it does."""
        self.broker.inboxes.advance(instance, entries[-1].id)
        self.placement.deliver(instance, entries)

    async def ask(self, instance: InstanceId = INSTANCE, expected: str = "", body: bytes = b"") -> None:
        """Put a spawn request and let it be served."""
        self._requests += 1
        given = body or encode(SpawnRequest(instance.dump(), expected))
        self.broker.spawn_requests.put_nowait(SpawnEntry(f"s{self._requests}", given))
        await turns()

    async def open(self, instance: InstanceId = INSTANCE) -> OwnedInstance:
        """Have a page opened and answered."""
        self.wait_in_inbox(instance, opening())
        await self.ask(instance)
        owned = self.placement.instances[instance]
        owned.handle_frame(frames.Page("r1", "<html>"))
        self.broker.entries.clear()
        await turns()
        return owned

    @property
    def settled(self) -> list[str]:
        return [entry for (entry,) in self.broker.of("settle")]
