"""Which interactions were taken already, so that none runs twice (G2)."""

from __future__ import annotations

from collections import OrderedDict

from htagweb_broker import Interact

MAX_PAGES = 1024
"""Pages whose last number is remembered; the longest unused one is forgotten first."""


class TakenNumbers:
    """The last number taken of each page. A page numbers its interactions 1, 2, 3 …"""

    def __init__(self, max_pages: int = MAX_PAGES) -> None:
        self._last: OrderedDict[str, int] = OrderedDict()
        self._max_pages = max_pages

    def is_new(self, message: Interact) -> bool:
        """Return whether the interaction was not taken yet."""
        return message.number > self._last.get(message.page, 0)

    def take(self, message: Interact) -> None:
        """Remember it."""
        self._last[message.page] = message.number
        self._last.move_to_end(message.page)
        if len(self._last) > self._max_pages:
            self._last.popitem(last=False)
