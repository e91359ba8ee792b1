"""Session data: a hash per session, one field a key, and a version that changes with every write."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from htagweb_broker import limits
from htagweb_broker.connection import Argument, Client
from htagweb_broker.errors import MessageError, NotOwner, SessionMoved
from htagweb_broker.keys import InstanceId, Keys
from htagweb_broker.scripts import Script

_write = Script("session_write")
_encode = msgspec.json.Encoder().encode
_decode_key = msgspec.json.Decoder(str).decode


@dataclass(frozen=True, slots=True)
class SessionData:
    """A session's values as JSON text, and the version they have; "" when there never were any."""

    values: dict[str, bytes]
    version: str
    is_moving: bool = False
    """It is getting a new id, or has got it a moment ago."""


@dataclass(frozen=True, slots=True)
class AppWrite:
    """A write of an app: of which generation, and its how manieth."""

    instance: InstanceId
    generation: str
    number: int


def as_arguments(changes: Mapping[str, bytes | None]) -> list[Argument]:
    """Return changes as scripts take them: how many to set, field, value, …, then fields to delete."""
    sets = [text for key, value in changes.items() if value is not None for text in (_encode(key), value)]
    return [len(sets) // 2, *sets, *(_encode(key) for key, value in changes.items() if value is None)]


def _size(values: Mapping[str, bytes | None]) -> int:
    return sum(len(_encode(key)) + len(value or b"") for key, value in values.items())


def _check_write(changes: Mapping[str, bytes | None]) -> None:
    size, limit = _size(changes), limits.SESSION_MAX_WRITE_BYTES
    if size > limit:
        raise MessageError(f"session values of {size} bytes are over the limit of {limit}")


def _too_much() -> MessageError:
    most = f"{limits.SESSION_MAX_FIELDS} keys and {limits.SESSION_MAX_BYTES} bytes"
    return MessageError(f"a session holds at most {most}")


class Sessions:
    """Reads and writes session data.

    Every write gets the session a new version. The inbox's scripts note the
    version with each message, so a supervisor knows without asking whether an
    app's copy is the latest.
    """

    def __init__(self, client: Client, keys: Keys, ttl_s: int = limits.SESSION_TTL_S) -> None:
        self._client = client
        self._keys = keys
        self._ttl_ms = ttl_s * 1000

    async def read(self, session: str) -> SessionData:
        """Return the session's data; its life starts anew."""
        key = self._keys.session(session)
        raw, _, is_moving = await self._client.call_all(
            ("HGETALL", key), ("PEXPIRE", key, self._ttl_ms), ("EXISTS", self._keys.moved(session))
        )
        fields = dict(zip(raw[::2], raw[1::2], strict=True))
        version = fields.pop(b"version", b"").decode()
        values = {_decode_key(name): value for name, value in fields.items()}
        return SessionData(values, version, is_moving == 1)

    async def is_moving(self, session: str) -> bool:
        """Return whether the session is getting a new id, or has got it a moment ago."""
        return bool(await self._client.call("EXISTS", self._keys.moved(session)))

    async def write(
        self, session: str, changes: Mapping[str, bytes | None], app: AppWrite | None = None
    ) -> tuple[str, str]:
        """Set (JSON text) and delete (None) values; return the version before and after.

        Keys that are not named stay as they are. ``app`` is who writes, None for a web
        worker; if this write of its or a later one was taken already, nothing is
        written, and both versions are "". MessageError when the write,
        or the session with it, is over its limit, SessionMoved when the session
        has a new id by now, NotOwner when the instance is another generation's or
        was released; then nothing is written.
        """
        _check_write(changes)
        version = secrets.token_urlsafe(9)
        answer = await _write(
            self._client,
            (
                *(self._keys.session(session), self._keys.moved(session)),
                *((self._keys.instance(app.instance),) if app else ()),
            ),
            app.generation if app else "",
            app.number if app else "",
            version,
            self._ttl_ms,
            limits.SESSION_MAX_FIELDS,
            limits.SESSION_MAX_BYTES,
            *as_arguments(changes),
        )
        if answer == b"moved":
            raise SessionMoved("the session has a new id: nothing is kept under the old one")
        if app and answer == b"fenced":
            raise NotOwner(f"generation {app.generation} no longer owns its instance")
        if answer == b"repeated":
            return "", ""
        if answer is None:
            raise _too_much()
        return answer[0].decode(), version

    async def apps(self, session: str) -> list[str]:
        """Return the apps that the session runs, sorted."""
        return sorted(app.decode() for app in await self._client.call("SMEMBERS", self._keys.apps(session)))

    async def check_room(self, session: str, changes: Mapping[str, bytes | None]) -> None:
        """MessageError when the session cannot take the changes as it is now."""
        _check_write(changes)
        values = {**(await self.read(session)).values, **changes}
        kept = {key: value for key, value in values.items() if value is not None}
        if len(kept) > limits.SESSION_MAX_FIELDS or _size(kept) > limits.SESSION_MAX_BYTES:
            raise _too_much()

    async def delete(self, session: str) -> None:
        """Forget the session's data."""
        await self._client.call("DEL", self._keys.session(session))
