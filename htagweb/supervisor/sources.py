"""Looks after the source files of apps that are being developed: what is saved takes effect by itself."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Generic, Protocol, TypeVar

from htagweb_broker import Clock

from htagweb.host.sources import Signature, signature

logger = logging.getLogger(__name__)
T = TypeVar("T")

LOOK_S = 0.5
MAX_FILES = 1000
"""Files of one app that are looked at: those that its import read first, then those beside them."""


class Files(Protocol):
    """What is asked of a file system. A file that cannot be had has no signature, a directory no files."""

    def signature(self, path: str) -> Signature | None:
        """Return what is compared of a file, None when there is none."""
        ...

    def sources(self, directory: str) -> Iterable[str]:
        """Give the paths of a directory's Python files."""
        ...


class Disk:
    """The file system."""

    def signature(self, path: str) -> Signature | None:
        """Return what is compared of a file, None when there is none."""
        try:
            return signature(os.stat(path))
        except OSError:
            return None

    def sources(self, directory: str) -> Iterator[str]:
        """Give the paths of a directory's Python files, not of those that editors hide there."""
        try:
            names = os.listdir(directory)
        except OSError:
            return
        for name in sorted(names):
            if name.endswith(".py") and not name.startswith("."):
                yield os.path.join(directory, name)


class Watch:
    """The source files of one template, until they change.

    Those that its import read, and those beside them: a handler may have
    imported one since.
    """

    def __init__(self, imported: Mapping[str, Signature], files: Files | None = None) -> None:
        """``imported`` are the files as the import read them; those beside them are known as they are now."""
        self._imported = imported
        self._files = files or Disk()
        self._known: dict[str, Signature] = dict(imported)
        self._directories = sorted({os.path.dirname(path) for path in imported})
        self._changed: dict[str, Signature | None] = {}
        self._gone: set[str] = set()
        self._learn(self._look_at_all())

    def look(self) -> list[str]:
        """Return the files that have changed; none while they still do, from one look to the next.

        Editors replace a file by steps, and tools write several.
        """
        now = self._look_at_all()
        changed = {path: found for path, found in now.items() if self._differs(path, found)}
        is_settled, self._changed = changed == self._changed, changed
        if changed:
            return sorted(changed) if is_settled else []
        self._learn(now)
        return []

    def _look_at_all(self) -> dict[str, Signature | None]:
        paths = dict.fromkeys(self._known)
        for directory in self._directories:
            paths |= dict.fromkeys(self._files.sources(directory))
        return {path: self._files.signature(path) for path in list(paths)[:MAX_FILES]}

    def _differs(self, path: str, found: Signature | None) -> bool:
        if path in self._imported:
            return found != self._imported[path]
        # Not imported, or by a handler: a new one says nothing, one that is gone may come back.
        return found is not None and found != self._known.get(path, found)

    def _learn(self, now: Mapping[str, Signature | None]) -> None:
        """Know the files beside the imported ones, and no longer those that stay away: tools leave some."""
        gone = {path for path, found in now.items() if found is None}
        for path in gone & self._gone:
            self._known.pop(path, None)
        self._gone = gone
        self._known |= {path: found for path, found in now.items() if found is not None}


class SourceWatcher(Generic[T]):
    """Watches the templates of apps that are being developed."""

    def __init__(
        self, watched: Callable[[], Iterable[tuple[T, Watch]]], on_change: Callable[[T], None], clock: Clock
    ) -> None:
        """``on_change`` is called when a template's sources have changed; it has to discard the template."""
        self._watched = watched
        self._on_change = on_change
        self._clock = clock

    async def run(self) -> None:
        """Look at the files again and again; an error is logged, and the next look is taken."""
        while True:
            await self._clock.sleep(LOOK_S)
            try:
                for template, watch in list(self._watched()):
                    if changed := watch.look():
                        logger.info(
                            "source files have changed, their apps start anew: %s", ", ".join(changed)
                        )
                        self._on_change(template)
            except Exception:
                logger.exception("an unexpected error, source files are looked at again")
