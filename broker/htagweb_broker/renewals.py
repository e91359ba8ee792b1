"""Gives a session a new id: what it holds moves there, and the old id is worth nothing any more.

Two steps. While a session is *closed*, what still runs for it may write, and
new requests wait. Then it *moves*, in one script: there is no moment in which
both ids hold the data, or none.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping

from htagweb_broker import limits
from htagweb_broker.connection import Caller
from htagweb_broker.errors import SessionMoved
from htagweb_broker.keys import Keys, partition
from htagweb_broker.scripts import Script
from htagweb_broker.sessions import Sessions, as_arguments

_move = Script("session_move")


class Renewals:
    """Closes and moves sessions."""

    def __init__(self, caller: Caller, keys: Keys, sessions: Sessions, ttl_s: int) -> None:
        self._caller = caller
        self._keys = keys
        self._sessions = sessions
        self._ttl_ms = ttl_s * 1000

    async def close(self, session: str) -> None:
        """Let new requests wait, for at most ``limits.CLOSED_TTL_MS``; SessionMoved when they do already."""
        key = self._keys.moved(session)
        if not await self._caller.call("SET", key, "", "NX", "PX", limits.CLOSED_TTL_MS):
            raise SessionMoved("the session is getting a new id already")

    async def move(self, session: str, new: str, changes: Mapping[str, bytes | None]) -> None:
        """Move the session to its new id, with changed values as ``Sessions.write`` takes them.

        Safe to repeat. Both ids are of one partition, ValueError otherwise. MessageError when the
        session would hold too much, SessionMoved when it moved to another id; then
        nothing has moved.
        """
        if partition(session) != partition(new):
            raise ValueError("expected two sessions of the same partition: no script reaches into two")
        await self._sessions.check_room(session, changes)
        keys = self._keys
        moved = await _move(
            self._caller,
            (keys.session(session), keys.session(new), keys.moved(session)),
            new,
            secrets.token_urlsafe(9),
            self._ttl_ms,
            limits.MOVED_TTL_MS,
            *as_arguments(changes),
        )
        if not moved:
            raise SessionMoved("the session has another new id")
