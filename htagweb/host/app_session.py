"""The session as an app process holds it: what its frames carry, and what cannot be saved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from htagweb.host.telling import one_line
from htagweb.session import SessionDict, to_json

_UNSAVABLE = (TypeError, ValueError, RecursionError)
"""What ``to_json`` raises for a value: not JSON, text that UTF-8 cannot hold, a list in itself."""


MAX_KEYS = 1000
"""What the broker takes (``SESSION_MAX_FIELDS``): a test compares them."""
_json = msgspec.json.Encoder().encode


class Taken(NamedTuple):
    """What one frame carries of the session, and one message for each key that could not be saved."""

    changed: dict[str, msgspec.Raw]
    deleted: list[str]
    problems: list[str]


class AppSession(SessionDict):
    """The app's session.

    What cannot be saved goes back to its last saved value and is told once: it would fail every
    later frame otherwise. What was sent stays newer than data that was read before it arrived.
    """

    def __init__(self, values: Mapping[str, bytes | msgspec.Raw]) -> None:
        super().__init__(values)
        self._saves = 0
        self._sent: dict[str, tuple[int, bytes | None]] = {}
        """The last change sent of each key, with its save's number, until data has it in."""

    def take(self, max_bytes: int) -> Taken:
        """Return the changes since the last time, at most ``max_bytes`` of them, for one frame to carry."""
        before = dict(self._saved)
        problems: list[str] = []
        try:
            changes = self.take_changes()
        except _UNSAVABLE:
            problems = self._restore_unsavable()
            changes = self.take_changes()
        if not changes:
            return Taken({}, [], problems)
        # New keys past the limit first: without them what is left may be small enough.
        for key in [key for key in changes if key not in before][: max(0, len(self) - MAX_KEYS)]:
            problems.append(f"session[{key!r}] is one key too many, a session holds {MAX_KEYS}")
            del changes[key]
            self._restore(key, None)
        sizes = {key: len(_json(key)) + len(text) for key, text in changes.items() if text is not None}
        while sum(sizes.values()) > max_bytes:
            key = max(sizes, key=sizes.__getitem__)
            problems.append(f"session[{key!r}] of {sizes.pop(key)} bytes is over the limit of {max_bytes}")
            del changes[key]
            self._restore(key, before.get(key))
        if changes:  # something is left of them
            self._saves += 1
            self._sent.update({key: (self._saves, text) for key, text in changes.items()})
        changed = {key: msgspec.Raw(text) for key, text in changes.items() if text is not None}
        return Taken(changed, [key for key, text in changes.items() if text is None], problems)

    def merge_read(self, values: Mapping[str, msgspec.Raw], saves: int) -> None:
        """Take the broker's state as it was after ``saves`` of our own saves; what we sent later is newer."""
        self._sent = {key: sent for key, sent in self._sent.items() if sent[0] > saves}
        newest: dict[str, bytes | msgspec.Raw] = dict(values)
        for key, (_, text) in self._sent.items():
            if text is None:
                newest.pop(key, None)
            else:
                newest[key] = text
        self.merge(newest)

    def _restore_unsavable(self) -> list[str]:
        problems = []
        for key in list(self):
            try:
                to_json(key, self[key])
            except _UNSAVABLE as exc:
                named = str(exc) if repr(key) in str(exc) else f"session[{key!r}] cannot be saved: {exc}"
                problems.append(one_line(named))
                self._restore(key, self._saved.get(key))
        return problems

    def _restore(self, key: str, saved: bytes | None) -> None:
        if saved is None:
            del self[key]
            self._saved.pop(key, None)
        else:
            self[key] = msgspec.json.decode(saved)
            self._saved[key] = saved
