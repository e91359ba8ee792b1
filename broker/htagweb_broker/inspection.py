"""What an operator sees and does: apps, sessions and supervisors; ending apps, forgetting sessions, draining.

It reads what is there for everybody, asks through the inbox as pages do, and
owns nothing. Nothing that it reads lives longer for it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec

from htagweb_broker import limits
from htagweb_broker.clock import Clock, SystemClock
from htagweb_broker.connection import Argument, Client
from htagweb_broker.inbox import Inbox
from htagweb_broker.keys import InstanceId, Keys
from htagweb_broker.messages import MAX_INBOX_BYTES, End, EndReason
from htagweb_broker.ownership import Ownership
from htagweb_broker.presence import Presence, Supervisors
from htagweb_broker.sentinel import endpoint_of
from htagweb_broker.sessions import Sessions

LOOK_S = 0.05
"""Between two looks whether an app has ended."""
END_TIMEOUT_S = 5.0
"""Longest wait for an app to end: its supervisor kills one that has not within 2 s."""
AT_ONCE = 1000
"""Keys that are asked for in one write."""

_FACTS = ("generation", "owner", "host", "pid", "started_ms", "active_ms")
_decode_key = msgspec.json.Decoder(str).decode
_decode = msgspec.json.Decoder().decode


@dataclass(frozen=True, slots=True)
class RunningApp:
    """One instance that a living supervisor owns, as its record describes it."""

    instance: InstanceId
    generation: str
    supervisor: str
    """The incarnation that owns it."""
    host: str
    pid: int
    """0 before its process was forked."""
    started_ms: int
    """When it was claimed, in milliseconds since 1970."""
    active_ms: int
    """When a page was last rendered or an interaction answered."""


@dataclass(frozen=True, slots=True)
class StoredSession:
    """A session's data from outside: how much, not what."""

    session: str
    keys: int
    ttl_s: float
    """How long it lives when nobody uses it."""
    apps: int
    """Apps that run for it."""


class Inspector:
    """Reads the whole installation. Create it in the event loop that uses it."""

    def __init__(self, client: Client, keys: Keys, clock: Clock) -> None:
        self._client = client
        self._keys = keys
        self._clock = clock
        self._ownership = Ownership(client, keys)
        self._presence = Presence(client, keys)
        self._sessions = Sessions(client, keys)

    @classmethod
    def at(cls, url: str, namespace: str) -> Inspector:
        """Return one for a broker's address; ValueError when it or the namespace is none."""
        return cls(Client(endpoint_of(url)), Keys(namespace), SystemClock())

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    # What is there

    async def supervisors(self) -> Supervisors:
        """Return who lives and who is only remembered."""
        return await self._presence.supervisors()

    async def instances(self) -> list[RunningApp]:
        """Return the apps that living supervisors own, in the order of session and app."""
        living = (await self._presence.supervisors()).living
        may_own = await self._ask(("SMEMBERS", self._keys.owned(name)) for name in living)
        named = {InstanceId.load(raw.decode()) for members in may_own for raw in members}
        # Their sets may name too many: an ended one, and one that another supervisor has by now.
        return [app for app in await self._describe(sorted(named)) if app.supervisor in living]

    async def describe(self, instance: InstanceId) -> RunningApp | None:
        """Return what its record says, None when nobody owns the instance."""
        return next(iter(await self._describe([instance])), None)

    async def apps_of(self, session: str) -> list[RunningApp]:
        """Return the apps of one session that living supervisors own."""
        living = (await self._presence.supervisors()).living
        apps = [InstanceId(session, app) for app in await self._sessions.apps(session)]
        return [app for app in await self._describe(apps) if app.supervisor in living]

    async def _describe(self, instances: list[InstanceId]) -> list[RunningApp]:
        answers = await self._ask(("HMGET", self._keys.instance(each), *_FACTS) for each in instances)
        described = (_parse_app(each, raw) for each, raw in zip(instances, answers, strict=True))
        return [app for app in described if app is not None]

    async def sessions(self) -> list[StoredSession]:
        """Return all sessions that have data or living apps, sorted; it walks over every key (SCAN)."""
        apps = Counter(app.instance.session for app in await self.instances())
        keys = self._keys
        stored = await self._scan(keys.any_session())
        found = sorted({keys.session_of(key) for key in stored} | set(apps))
        fields = await self._ask(("HLEN", keys.session(session)) for session in found)
        has_version = await self._ask(("HEXISTS", keys.session(session), "version") for session in found)
        ttl_ms = await self._ask(("PTTL", keys.session(session)) for session in found)
        return [
            StoredSession(session, count - extra, max(ttl, 0) / 1000, apps[session])
            for session, count, extra, ttl in zip(found, fields, has_version, ttl_ms, strict=True)
        ]

    async def _ask(self, commands: Iterable[tuple[Argument, ...]]) -> list[Any]:
        """Run commands, so many in one write that others' commands still have room."""
        waiting, answers = list(commands), []
        for start in range(0, len(waiting), AT_ONCE):
            answers += await self._client.call_all(*waiting[start : start + AT_ONCE])
        return answers

    async def _scan(self, pattern: str) -> set[str]:
        cursor, found = b"0", set[str]()
        while True:
            cursor, batch = await self._client.call("SCAN", cursor, "MATCH", pattern, "COUNT", AT_ONCE)
            found |= {key.decode() for key in batch}
            if cursor == b"0":
                return found

    async def values(self, session: str) -> dict[str, Any]:
        """Return a session's values, {} when it has none."""
        raw = await self._client.call("HGETALL", self._keys.session(session))
        fields = dict(zip(raw[::2], raw[1::2], strict=True))
        fields.pop(b"version", None)
        return {_decode_key(name): _decode(value) for name, value in fields.items()}

    # What an operator does

    async def end(self, app: RunningApp, reason: EndReason = "killed") -> bool:
        """End the app and wait until it has ended; False when it has not within ``END_TIMEOUT_S``."""
        message = End(app.generation, reason)
        # Appending to an inbox counts as a use of the session. This is none: it lives on as long as before.
        ttl_ms = await self._client.call("PTTL", self._keys.session(app.instance.session))
        # Below 0 there is no data yet: what the app saves at its end is new, and gets a life of its own.
        inbox = Inbox(self._client, self._keys, ttl_ms // 1000 if ttl_ms >= 1000 else limits.SESSION_TTL_S)
        deadline = self._clock.now() + END_TIMEOUT_S
        asked = False
        while self._clock.now() < deadline:
            if not asked:
                answer = await inbox.submit(app.instance, message, MAX_INBOX_BYTES)
                if answer in ("unknown", "stale", "ended"):
                    return True
                asked = answer == "ok"  # a full inbox: again, its supervisor takes from it
            elif await self._has_ended(app):
                return True
            await self._clock.sleep(LOOK_S)
        return await self._has_ended(app)

    async def end_all(self, apps: Iterable[RunningApp], reason: EndReason = "killed") -> list[RunningApp]:
        """End apps at the same time; return those that have not ended within ``END_TIMEOUT_S``."""
        try:
            async with asyncio.TaskGroup() as tasks:
                ending = [(app, tasks.create_task(self.end(app, reason))) for app in apps]
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from group  # of several, the broker's first is as good as any
        return [app for app, task in ending if not task.result()]

    async def _has_ended(self, app: RunningApp) -> bool:
        record = await self._ownership.read(app.instance)
        return record is None or not record.owner or record.generation != app.generation

    async def forget(self, session: str) -> None:
        """Forget a session's data; end its apps before, or they write on."""
        await self._sessions.delete(session)

    async def order_drain(self, supervisor: str) -> None:
        """Have a supervisor's incarnation drain; it begins with its next beat."""
        await self._presence.order_drain(supervisor)


def _parse_app(instance: InstanceId, raw: list[bytes | None]) -> RunningApp | None:
    # Another version may note less: what it leaves out is nothing, or the time of the start.
    generation, owner, host, pid, started_ms, active_ms = ((value or b"").decode() for value in raw)
    if not (generation and owner):
        return None
    started = int(started_ms or 0)
    return RunningApp(
        instance, generation, owner, host, int(pid or 0), started, int(active_ms or 0) or started
    )
