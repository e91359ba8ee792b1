"""Counts new sessions by address, so that one address cannot have sessions and processes without end."""

from __future__ import annotations

from htagweb_broker import limits
from htagweb_broker.connection import Caller
from htagweb_broker.keys import Keys
from htagweb_broker.scripts import Script

_arrive = Script("arrive")


class Arrivals:
    """Counters that live a second."""

    def __init__(self, caller: Caller, keys: Keys) -> None:
        self._caller = caller
        self._keys = keys

    async def count(self, address: str) -> int:
        """Count one more new session; return how many came within this second.

        ``address`` is a digest: nobody can be looked up by what the broker holds.
        """
        count: int = await _arrive(self._caller, (self._keys.arrivals(address),), limits.ARRIVALS_TTL_MS)
        return count
