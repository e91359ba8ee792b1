"""Which supervisors live: heartbeats that expire, and what each may own."""

from __future__ import annotations

from dataclasses import dataclass

from htagweb_broker import limits
from htagweb_broker.connection import Client
from htagweb_broker.keys import InstanceId, Keys
from htagweb_broker.scripts import Script

_beat = Script("beat")


@dataclass(frozen=True, slots=True)
class Beat:
    """What a supervisor says of itself with each heartbeat."""

    name: str
    host: str
    pid: int
    version: str
    capacity: int
    """Most app processes it may own."""
    load: int
    """App processes it owns now."""
    draining: bool
    cpu: float = 0.0
    """Processes of its host that run or want to, for each processor that it may use: 1.0 is busy."""
    place: str = ""
    """Where its pid counts: host, boot and pid namespace; "" where that is not known."""
    started: int = 0
    """When its process started, in clock ticks since boot; 0 where that is not known."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What a supervisor hears with its heartbeat."""

    is_to_drain: bool
    """Whether an operator ordered it to drain."""
    was_dead: bool
    """Whether no earlier beat counted any more: its apps may have been taken over, or their records lost."""


@dataclass(frozen=True, slots=True)
class Supervisors:
    """All that are known: those with a heartbeat, and those without."""

    living: dict[str, Beat]
    dead: frozenset[str]

    @property
    def load(self) -> int:
        """How many app processes the living ones own together."""
        return sum(beat.load for beat in self.living.values())

    @property
    def has_room(self) -> bool:
        """Whether some living supervisor takes new apps now."""
        return any(beat.load < beat.capacity and not beat.draining for beat in self.living.values())


def _parse_beat(raw: list[bytes]) -> Beat:
    # Another version may say less: what it leaves out, it does not have.
    fields = {k.decode(): v.decode() for k, v in zip(raw[::2], raw[1::2], strict=True)}
    return Beat(
        name=fields.get("name", ""),
        host=fields.get("host", ""),
        pid=int(fields.get("pid", 0)),
        version=fields.get("version", ""),
        capacity=int(fields.get("capacity", 0)),
        load=int(fields.get("load", 0)),
        draining=fields.get("draining") == "1",
        cpu=float(fields.get("cpu", 0)),
        place=fields.get("place", ""),
        started=int(fields.get("started", 0)),
    )


class Presence:
    """Writes and reads heartbeats."""

    def __init__(self, client: Client, keys: Keys) -> None:
        self._client = client
        self._keys = keys

    async def beat(self, supervisor: str, beat: Beat, dead_after_s: float = limits.DEAD_AFTER_S) -> Heard:
        """Say that the supervisor lives for the next ``dead_after_s``; half of it is the longest wait."""
        keys = self._keys
        fields: dict[str, str | int] = {
            "name": beat.name,
            "host": beat.host,
            "pid": beat.pid,
            "version": beat.version,
            "capacity": beat.capacity,
            "load": beat.load,
            "draining": int(beat.draining),
            "cpu": f"{beat.cpu:.2f}",
            "place": beat.place,
            "started": beat.started,
        }
        ordered, lived = await _beat(
            self._client,
            (
                *(keys.beat(supervisor), keys.known_supervisors),
                *(keys.owned(supervisor), keys.drain(supervisor)),
            ),
            supervisor,
            int(dead_after_s * limits.SECOND_MS),
            limits.REGISTRY_TTL_MS,
            *(part for item in fields.items() for part in item),
            # A connection that has died without a word is to be noticed, and replaced, before the last
            # beat stops to count.
            timeout_s=dead_after_s / 2,
        )
        return Heard(is_to_drain=bool(ordered), was_dead=not lived)

    async def order_drain(self, supervisor: str) -> None:
        """Have the supervisor drain: it hears so with its next beat."""
        await self._client.call("SET", self._keys.drain(supervisor), 1, "PX", limits.DRAIN_TTL_MS)

    async def supervisors(self) -> Supervisors:
        """Return who lives and who is only remembered."""
        known = [name.decode() for name in await self._client.call("SMEMBERS", self._keys.known_supervisors)]
        beats = await self._client.call_all(*(("HGETALL", self._keys.beat(name)) for name in known))
        pairs = list(zip(known, beats, strict=True))
        return Supervisors(
            living={name: _parse_beat(raw) for name, raw in pairs if raw},
            dead=frozenset(name for name, raw in pairs if not raw),
        )

    async def lives(self, supervisor: str) -> bool:
        """Return whether the supervisor has a heartbeat."""
        return bool(await self._client.call("EXISTS", self._keys.beat(supervisor)))

    async def forget(self, supervisor: str) -> None:
        """Forget a supervisor that ended, or whose instances were all taken over."""
        keys = self._keys
        await self._client.call_all(
            ("DEL", keys.beat(supervisor), keys.owned(supervisor), keys.drain(supervisor)),
            ("SREM", keys.known_supervisors, supervisor),
        )

    # What it may own: written before the claim, so it can name too many instances, never too few

    async def note_owned(self, supervisor: str, *instances: InstanceId) -> None:
        """Note that the supervisor is about to claim the instances (at least one), or has them still."""
        key = self._keys.owned(supervisor)
        names = [instance.dump() for instance in instances]
        await self._client.call_all(("SADD", key, *names), ("PEXPIRE", key, limits.REGISTRY_TTL_MS))

    async def note_released(self, supervisor: str, instance: InstanceId) -> None:
        """Note that the supervisor no longer owns the instance."""
        await self._client.call("SREM", self._keys.owned(supervisor), instance.dump())

    async def owned(self, supervisor: str) -> list[InstanceId]:
        """Return the instances that a supervisor may own."""
        members = await self._client.call("SMEMBERS", self._keys.owned(supervisor))
        return [InstanceId.load(member.decode()) for member in members]
