"""The places of a session's connected pages: each socket holds one, of which there are only so many."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from htagweb_broker import BrokerError, Clock, Pages, limits

logger = logging.getLogger(__name__)

KEEP_S = 30.0
MOST_SOCKETS = 8
"""Of one page, here: a bad network's dead ones are noticed late. More would be a way around the limit."""

assert KEEP_S * 1000 * 2 < limits.PAGE_TTL_MS, "one failed renewal must not lose a place"


class Places:
    """What this web worker holds for its pages."""

    def __init__(self, pages: Pages, clock: Clock, most: int) -> None:
        """``most`` are the pages of one session, over all web workers."""
        self._pages = pages
        self._clock = clock
        self._most = most
        self._held: Counter[tuple[str, str]] = Counter()

    @asynccontextmanager
    async def hold(self, session: str, page: str) -> AsyncIterator[bool]:
        """Hold a place within the block; give False when the session's are all taken. BrokerError."""
        held = session, page
        self._held[held] += 1
        try:
            yield self._held[held] <= MOST_SOCKETS and await self._enter(session, page)
        finally:
            self._held[held] -= 1
            if not self._held[held]:
                del self._held[held]
                await self._leave(session, page)

    async def keep(self) -> None:
        """Renew what is held until cancelled; BrokerError when the broker is away."""
        while True:
            await self._clock.sleep(KEEP_S)
            for session, page in list(self._held):
                await self._enter(session, page)

    # A page that has gone on to another worker loses its place by this; that one's renewal brings it back.
    async def _leave(self, session: str, page: str) -> None:
        try:
            await self._pages.leave(session, page)
        except BrokerError as exc:
            logger.debug("a page's place was not given back, it expires: %s", exc)

    async def _enter(self, session: str, page: str) -> bool:
        return await self._pages.enter(session, page, self._clock.epoch_ms(), self._most)
