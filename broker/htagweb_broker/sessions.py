"""Session data: a hash per session, one field a key, and a version that changes with every write."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from htagweb_broker import limits
from htagweb_broker.connection import Client
from htagweb_broker.errors import MessageError
from htagweb_broker.keys import Keys
from htagweb_broker.scripts import Script

_write = Script("session_write")
_encode = msgspec.json.Encoder().encode
_decode_key = msgspec.json.Decoder(str).decode


@dataclass(frozen=True, slots=True)
class SessionData:
    """A session's values as JSON text, and the version they have; "" when there never were any."""

    values: dict[str, bytes]
    version: str


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
        raw, _ = await self._client.call_all(("HGETALL", key), ("PEXPIRE", key, self._ttl_ms))
        fields = dict(zip(raw[::2], raw[1::2], strict=True))
        version = fields.pop(b"version", b"").decode()
        return SessionData({_decode_key(name): value for name, value in fields.items()}, version)

    async def write(self, session: str, changes: Mapping[str, bytes | None]) -> tuple[str, str]:
        """Set (JSON text) and delete (None) values; return the version before and after.

        Keys that are not named stay as they are. MessageError when the write,
        or the session with it, is over its limit; then nothing is written.
        """
        size = sum(len(_encode(key)) + len(value or b"") for key, value in changes.items())
        if size > limits.SESSION_MAX_WRITE_BYTES:
            raise MessageError(
                f"session values of {size} bytes are over the limit of {limits.SESSION_MAX_WRITE_BYTES}"
            )
        sets = [text for key, value in changes.items() if value is not None for text in (_encode(key), value)]
        deletes = [_encode(key) for key, value in changes.items() if value is None]
        version = secrets.token_urlsafe(9)
        answer = await _write(
            self._client,
            (self._keys.session(session),),
            version,
            self._ttl_ms,
            limits.SESSION_MAX_FIELDS,
            limits.SESSION_MAX_BYTES,
            len(sets) // 2,
            *sets,
            *deletes,
        )
        if answer is None:
            most = f"{limits.SESSION_MAX_FIELDS} keys and {limits.SESSION_MAX_BYTES} bytes"
            raise MessageError(f"a session holds at most {most}")
        return answer[0].decode(), version

    async def apps(self, session: str) -> list[str]:
        """Return the apps that the session runs, sorted."""
        return sorted(app.decode() for app in await self._client.call("SMEMBERS", self._keys.apps(session)))

    async def delete(self, session: str) -> None:
        """Forget the session's data."""
        await self._client.call("DEL", self._keys.session(session))
