"""The session's dict: JSON values only, and it knows what was changed.

The web worker and the app process both hold one. What is in it came from the
broker as JSON text; a change is whatever has other JSON text now, so a nested
``session["cart"].append(...)`` counts too.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, SupportsIndex

import msgspec

_encode = msgspec.json.Encoder(order="deterministic").encode
_decode = msgspec.json.Decoder().decode
_PLAIN = (str, int, float, bool, type(None))
MAX_DEPTH = 100
"""Lists and dicts in one another; far below what any JSON decoder takes."""


def to_json(key: object, value: object) -> bytes:
    """Return the value's JSON text; TypeError names the key when JSON cannot hold it."""
    if type(key) is not str:
        raise TypeError(f"session keys are str, not {type(key).__name__}: {key!r}")
    _check(key, value, 0)
    try:
        _encode(key)
        return _encode(value)
    except UnicodeEncodeError as exc:
        raise TypeError(f"session[{key!r}] holds text that UTF-8 cannot: a lone surrogate") from exc


def _check(key: str, value: object, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise TypeError(f"session[{key!r}] holds itself, or more than {MAX_DEPTH} levels of lists and dicts")
    if isinstance(value, list | tuple):
        for item in value:
            _check(key, item, depth + 1)
    elif isinstance(value, dict):
        for name, item in value.items():
            if not isinstance(name, str):
                raise TypeError(f"session[{key!r}] holds a dict with the key {name!r}: JSON wants str keys")
            _check(key, item, depth + 1)
    elif type(value) not in _PLAIN:  # a subclass of one would come back as the plain type
        raise TypeError(
            f"session[{key!r}] holds a {type(value).__name__}, which JSON cannot: "
            "use str, int, float, bool, None, list or dict"
        )
    elif isinstance(value, float) and not math.isfinite(value):
        raise TypeError(f"session[{key!r}] holds {value}, which JSON cannot: use None")


class SessionDict(dict[str, Any]):
    """A dict of JSON values that can tell what was changed since it was loaded or taken."""

    def __init__(self, values: Mapping[str, bytes | msgspec.Raw] | None = None) -> None:
        super().__init__()
        self._saved: dict[str, bytes] = {}
        self.merge(values or {})

    # What the broker says

    def merge(self, values: Mapping[str, bytes | msgspec.Raw]) -> None:
        """Take the broker's state; a key that was changed here and not taken yet stays as it is."""
        mine = self._changed_keys()
        fresh = {key: bytes(value) for key, value in values.items()}
        for key in [k for k in self if k not in fresh and k not in mine]:
            super().__delitem__(key)
        for key, text in fresh.items():
            if key not in mine and self._saved.get(key) != text:
                super().__setitem__(key, _decode(text))
        self._saved = fresh

    def take_changes(self) -> dict[str, bytes | None]:
        """Return JSON text by changed key (None: deleted) and count it as saved from now on.

        TypeError names the key of a nested value that JSON cannot hold.
        """
        changes: dict[str, bytes | None] = {}
        for key, value in self.items():
            text = to_json(key, value)
            if self._saved.get(key) != text:
                changes[key] = text
        for key in self._saved:
            if key not in self:
                changes[key] = None
        for key, change in changes.items():
            if change is None:
                del self._saved[key]
            else:
                self._saved[key] = change
        return changes

    def _changed_keys(self) -> set[str]:
        return {
            key
            for key in self._saved.keys() | self.keys()
            if key not in self or self._saved.get(key) != _try_encode(self[key])
        }

    # Every way to set a value checks it where it is set

    def __setitem__(self, key: str, value: Any) -> None:
        to_json(key, value)
        super().__setitem__(key, value)

    def setdefault(self, key: str, default: Any = None, /) -> Any:
        """As dict's; TypeError when JSON cannot hold the value."""
        if key not in self:
            self[key] = default
        return self[key]

    def update(self, *args: Any, **kargs: Any) -> None:
        """As dict's; TypeError when JSON cannot hold a value, and then nothing is set."""
        new: dict[str, Any] = dict(*args, **kargs)
        for key, value in new.items():
            to_json(key, value)
        super().update(new)

    def __ior__(self, other: Mapping[str, Any] | Iterable[tuple[str, Any]]) -> SessionDict:  # type: ignore[override,misc]
        self.update(other)
        return self

    def copy(self) -> dict[str, Any]:
        """Return a plain dict."""
        return dict(self)

    def __reduce_ex__(self, protocol: SupportsIndex) -> Any:
        return dict, (dict(self),)


def _try_encode(value: object) -> bytes:
    """Return the value's JSON text; b"", which is no JSON text, when there is none."""
    try:
        return to_json("", value)
    except TypeError:
        return b""
