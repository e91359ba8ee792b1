"""The keys of sealed channels, by which pages send without a WebSocket, and the numbers taken on each.

A channel belongs to a session and lives an hour after its last use. Its keys
come in wrapped: what they are is not this package's to know. A session has a
fixed count of places, so that handshakes without end fill no server: a new
channel takes a place at random, and whoever had it makes another handshake.
"""

from __future__ import annotations

import re
import secrets
from typing import Literal

from htagweb_broker import limits
from htagweb_broker.connection import Caller
from htagweb_broker.keys import Keys
from htagweb_broker.scripts import Script

Taken = Literal["taken", "used", "unknown"]
"""What became of a number: it is the caller's alone; it or a higher one was taken before; no such channel."""

MOST_NUMBER = 2**53
"""Scripts count in floating point: exact up to here."""

_keep = Script("seal_keep")
_take = Script("seal_take")
_CHANNEL = re.compile(r"([0-9]{1,4})-[A-Za-z0-9_-]{22}", re.ASCII)


class Seals:
    """Keeps and hands out what sealed channels need."""

    def __init__(self, caller: Caller, keys: Keys) -> None:
        self._caller = caller
        self._keys = keys

    @staticmethod
    def new_channel() -> str:
        """Return the name of a new channel: its place, and a random part."""
        return f"{secrets.randbelow(limits.SEALS_PER_SESSION)}-{secrets.token_urlsafe(16)}"

    def _key(self, session: str, channel: str) -> str | None:
        found = _CHANNEL.fullmatch(channel)
        if found is None or int(found[1]) >= limits.SEALS_PER_SESSION:
            return None
        return self._keys.seal(session, int(found[1]))

    async def keep(self, session: str, channel: str, wrapped: bytes) -> None:
        """Keep a channel's wrapped keys; ValueError when ``new_channel`` did not name it, or it is kept."""
        key = self._key(session, channel)
        if key is None or not await _keep(self._caller, (key,), channel, wrapped, limits.SEAL_TTL_MS):
            raise ValueError("expected the name of a new channel")

    async def read(self, session: str, channel: str) -> bytes | None:
        """Return the wrapped keys, None when the session has no such channel (any more)."""
        key = self._key(session, channel)
        if key is None:
            return None
        name, wrapped = await self._caller.call("HMGET", key, "channel", "keys")
        return wrapped if name == channel.encode() else None

    async def take(self, session: str, channel: str, number: int) -> Taken:
        """Take a number from 1 to 2**53; the channel's hour begins anew.

        BrokerUnavailable leaves open whether it was taken: then nobody may use it.
        """
        key = self._key(session, channel)
        if key is None:
            return "unknown"
        if not 1 <= number <= MOST_NUMBER:
            return "used"
        taken: int = await _take(self._caller, (key,), channel, number, limits.SEAL_TTL_MS)
        return "taken" if taken == 1 else "used" if taken == 0 else "unknown"
