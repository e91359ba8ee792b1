"""Which inboxes a supervisor reads, of the broker in memory: tests deliver by themselves."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from htagweb_broker import Entry, InstanceId
from htagweb_broker.inboxes import parse_order

if TYPE_CHECKING:
    from tests.support.fakes import FakeBroker


class FakeInboxes:
    """Takes notes; an inbox is as far as it was when it was added, or as tests say that they delivered it."""

    def __init__(self, broker: FakeBroker) -> None:
        self._broker = broker
        self._positions: dict[InstanceId, str] = {}

    def position(self, instance: InstanceId) -> str:
        return self._positions[instance]

    def advance(self, instance: InstanceId, position: str) -> None:
        self._positions[instance] = position

    async def waiting(self, instance: InstanceId, after: str) -> list[Entry]:
        self._broker.note("read_inbox", instance)
        entries = self._broker.entries.get(instance, [])
        return [entry for entry in entries if parse_order(entry.id) > parse_order(after)]

    async def run(self) -> None:
        await asyncio.get_running_loop().create_future()

    def add(self, instance: InstanceId, after: str) -> None:
        self._broker.done.append(("add_inbox", instance, after))
        self._positions[instance] = after

    def remove(self, instance: InstanceId) -> None:
        self._broker.done.append(("remove_inbox", instance))
        del self._positions[instance]

    def look(self, instance: InstanceId) -> None:
        self._broker.done.append(("look", instance))
