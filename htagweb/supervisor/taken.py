"""Which interactions were taken already, so that none runs twice (G2)."""

from __future__ import annotations

from collections import OrderedDict

from htagweb_broker import Interact

MAX_PAGES = 1024
"""Pages whose numbers are remembered; the longest unused one is forgotten first."""
MAX_SKIPPED = 128
"""Numbers of a page that may be taken later; more than it keeps unanswered at once."""


class TakenNumbers:
    """The last number taken of each page, and those that were left out before.

    A page numbers its interactions 1, 2, 3 … One that a web worker refused is left out
    for good; one that the broker lost is sent again, and taken then.
    """

    def __init__(self, max_pages: int = MAX_PAGES) -> None:
        self._pages: OrderedDict[str, list[int]] = OrderedDict()
        """The last number, then those left out."""
        self._max_pages = max_pages

    def dump(self) -> list[tuple[str, list[int]]]:
        """Return every page's numbers, the longest unused first."""
        return list(self._pages.items())

    def load(self, pages: list[tuple[str, list[int]]]) -> None:
        """Remember what another dumped."""
        self._pages.update(pages)

    def has(self, page: str, number: int) -> bool:
        """Return whether the page's interaction was taken."""
        last, *skipped = self._pages.get(page, [0])
        return number <= last and number not in skipped

    def is_new(self, message: Interact) -> bool:
        """Return whether the interaction is to be taken.

        Not so when it was, and not when the one that it follows was not: that one is sent
        again, with all that came after it.
        """
        follows = not message.after or self.has(message.page, message.after)
        return follows and not self.has(message.page, message.number)

    def take(self, message: Interact) -> None:
        """Remember it."""
        number = message.number
        last, *skipped = self._pages.get(message.page, [0])
        skipped = [each for each in skipped if each != number]
        skipped += range(max(last + 1, number - MAX_SKIPPED), number)
        self._pages[message.page] = [max(last, number), *skipped[-MAX_SKIPPED:]]
        self._pages.move_to_end(message.page)
        if len(self._pages) > self._max_pages:
            self._pages.popitem(last=False)
