"""Heartbeats and spawn requests of the broker in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from htagweb_broker import Beat, Heard, InstanceId, SpawnEntry, SpawnRequest, Supervisors
from htagweb_broker.messages import encode

if TYPE_CHECKING:
    from tests.support.fakes import FakeBroker


class FakePresence:
    """Heartbeats, and what each may own."""

    def __init__(self, broker: FakeBroker) -> None:
        self._broker = broker

    async def supervisors(self) -> Supervisors:
        self._broker.note("supervisors")
        return Supervisors(dict(self._broker.living), self._broker.dead)

    async def beat(self, supervisor: str, beat: Beat, dead_after_s: float = 4.0) -> Heard:
        self._broker.note("beat", supervisor, beat)
        was_dead, self._broker.forgot_beat = self._broker.forgot_beat, False
        return Heard(self._broker.is_drain_ordered, was_dead)

    async def note_owned(self, supervisor: str, *instances: InstanceId) -> None:
        self._broker.note("note_owned", supervisor, *instances)
        self._broker.owned.setdefault(supervisor, set()).update(instances)

    async def note_released(self, supervisor: str, instance: InstanceId) -> None:
        self._broker.note("note_released", supervisor, instance)
        self._broker.owned.get(supervisor, set()).discard(instance)

    async def owned(self, supervisor: str) -> list[InstanceId]:
        return sorted(self._broker.owned.get(supervisor, set()))

    async def forget(self, supervisor: str) -> None:
        self._broker.note("forget", supervisor)
        self._broker.owned.pop(supervisor, None)


class FakeSpawns:
    """The spawn stream."""

    def __init__(self, broker: FakeBroker) -> None:
        self._broker = broker

    async def put(self, request: SpawnRequest) -> None:
        self._broker.note("spawn", request)
        entry = SpawnEntry(f"p{len(self._broker.of('spawn'))}", encode(request))
        self._broker.spawn_requests.put_nowait(entry)

    async def take(self, supervisor: str, count: int, block_s: float) -> list[SpawnEntry]:
        self._broker.note("take", count)
        queue = self._broker.spawn_requests
        if not block_s:
            return [queue.get_nowait() for _ in range(min(queue.qsize(), count))]
        return [await queue.get()]

    async def take_abandoned(self, supervisor: str, count: int) -> list[SpawnEntry]:
        self._broker.note("take_abandoned", count)
        queue = self._broker.spawn_requests
        return [queue.get_nowait() for _ in range(min(queue.qsize(), count))]

    async def create_group(self) -> None:
        self._broker.note("create_group")

    async def leave(self, supervisor: str) -> None:
        self._broker.note("leave", supervisor)

    async def settle(self, entry: SpawnEntry) -> None:
        self._broker.note("settle", entry.id)
