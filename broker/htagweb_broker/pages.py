"""The pages of a session that are connected: each has a place, of which there are only so many."""

from __future__ import annotations

from htagweb_broker import limits
from htagweb_broker.connection import Caller
from htagweb_broker.keys import Keys
from htagweb_broker.scripts import Script

_enter = Script("enter")


class Pages:
    """Gives places to pages and takes them back.

    A place is lost ``limits.PAGE_TTL_MS`` after it was last entered, so a web
    worker that dies keeps none: whoever holds a page enters again in time. Times
    are wall clocks: those of all web workers have to agree to some seconds.
    """

    def __init__(self, caller: Caller, keys: Keys) -> None:
        self._caller = caller
        self._keys = keys

    async def enter(self, session: str, page: str, now_ms: int, most: int) -> bool:
        """Take a place, or keep the one that the page has; False when others have all."""
        entered = await _enter(
            self._caller, (self._keys.pages(session),), page, now_ms, limits.PAGE_TTL_MS, most
        )
        return bool(entered)

    async def leave(self, session: str, page: str) -> None:
        """Give the page's place back."""
        await self._caller.call("ZREM", self._keys.pages(session), page)
