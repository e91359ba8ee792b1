"""The spawn stream: instances that nobody owns wait here for a supervisor with room."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from htagweb_broker import limits
from htagweb_broker.connection import COMMAND_TIMEOUT_S, Client
from htagweb_broker.errors import BrokerRefused, BrokerUnavailable
from htagweb_broker.keys import Keys
from htagweb_broker.messages import SpawnRequest, encode

GROUP = "supervisors"
ABANDONED_MS = 5_000
"""A request that its reader has not settled for so long is taken by another."""


@dataclass(frozen=True, slots=True)
class SpawnEntry:
    """A request and its id in the stream."""

    id: str
    body: bytes


def _parse(raw_entries: Any) -> list[SpawnEntry]:
    # A claimed entry that was trimmed meanwhile comes without fields.
    return [SpawnEntry(raw_id.decode(), p[1]) for raw_id, p in raw_entries if p]


def _is_group_lost(error: BrokerRefused) -> bool:
    """Return whether the server has lost its data; who waits for requests makes the group again."""
    return str(error).startswith("NOGROUP")


class Spawns:
    """Puts, takes and settles spawn requests; one consumer group of all supervisors."""

    def __init__(self, client: Client, keys: Keys) -> None:
        self._client = client
        self._key = keys.spawn

    async def put(self, request: SpawnRequest) -> None:
        """Ask for an owner. Past 10,000 requests the oldest are dropped: their workers ask again."""
        await self._client.call(
            "XADD", self._key, "MAXLEN", "~", limits.SPAWN_MAX_ENTRIES, "*", "m", encode(request)
        )

    async def create_group(self) -> None:
        """Create stream and group where they are missing."""
        try:
            await self._client.call("XGROUP", "CREATE", self._key, GROUP, "0", "MKSTREAM")
        except BrokerRefused as exc:
            if not str(exc).startswith("BUSYGROUP"):
                raise

    async def take(self, supervisor: str, count: int, block_s: float) -> list[SpawnEntry]:
        """Take up to ``count`` requests, settle each afterwards; wait ``block_s`` for one, 0: not at all.

        BrokerUnavailable when the server has lost its data; the stream is there again then.
        """
        # To the server, BLOCK 0 is a wait without end.
        waiting = ("BLOCK", int(block_s * 1000)) if block_s else ()
        try:
            answer = await self._client.call(
                *("XREADGROUP", "GROUP", GROUP, supervisor, "COUNT", count),
                *(*waiting, "STREAMS", self._key, ">"),
                timeout_s=block_s + COMMAND_TIMEOUT_S,
            )
        except BrokerRefused as exc:
            if not _is_group_lost(exc):
                raise
            await self.create_group()
            raise BrokerUnavailable("the server has lost its data") from exc
        return _parse(answer[0][1]) if answer else []

    async def take_abandoned(self, supervisor: str, count: int) -> list[SpawnEntry]:
        """Take requests that another supervisor read and did not settle; none where the server lost them."""
        try:
            answer = await self._client.call(
                "XAUTOCLAIM", self._key, GROUP, supervisor, ABANDONED_MS, "0", "COUNT", count
            )
        except BrokerRefused as exc:
            if not _is_group_lost(exc):
                raise
            return []
        return _parse(answer[1])

    async def settle(self, entry: SpawnEntry) -> None:
        """Remove a request: it was served, or is not wanted any more."""
        await self._client.call_all(
            ("XACK", self._key, GROUP, entry.id),
            ("XDEL", self._key, entry.id),
        )

    async def leave(self, supervisor: str) -> None:
        """Remove the supervisor from the group; what it took and did not settle waits for others again."""
        try:
            pending = await self._client.call(
                "XPENDING", self._key, GROUP, "-", "+", limits.SPAWN_MAX_ENTRIES, supervisor
            )
        except BrokerRefused as exc:
            if not _is_group_lost(exc):
                raise
            return
        for entry_id, *_ in pending:
            for _, fields in await self._client.call("XRANGE", self._key, entry_id, entry_id):
                await self._client.call("XADD", self._key, "*", *fields)
            await self._client.call_all(("XACK", self._key, GROUP, entry_id), ("XDEL", self._key, entry_id))
        await self._client.call("XGROUP", "DELCONSUMER", self._key, GROUP, supervisor)
