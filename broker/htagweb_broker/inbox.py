"""The web side of an instance's inbox: open a page, submit what a page sends."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, cast

from htagweb_broker import limits
from htagweb_broker.connection import Caller
from htagweb_broker.keys import InstanceId, Keys
from htagweb_broker.messages import Connect, End, Interact, Open, encode
from htagweb_broker.scripts import Script

Submitted = Literal["ok", "unknown", "stale", "ended", "busy"]
"""What became of a message: appended; no such instance; another generation; no process; inbox full."""

NAMED_INSTANCES = 4096
"""Instances whose keys' names are remembered: three hexadecimal conversions less for each click."""

_open = Script("open")
_submit = Script("submit")


Refused = Literal["busy", "full"]
"""Why a page was not asked for: its inbox is full; the session runs as many other apps as it may."""


@dataclass(frozen=True, slots=True)
class Opened:
    """Who owned the instance when the open message was appended; "" where nobody did."""

    generation: str
    owner: str


class Inbox:
    """Appends to inboxes; every append is one script, bounded, with a TTL."""

    def __init__(self, caller: Caller, keys: Keys, session_ttl_s: int = limits.SESSION_TTL_S) -> None:
        self._caller = caller
        self._keys = keys
        self._session_ttl_ms = session_ttl_s * 1000
        self._owners = keys.inboxes("")
        self._of = lru_cache(NAMED_INSTANCES)(self._keys_of)

    def _keys_of(self, instance: InstanceId) -> tuple[str, ...]:
        keys = self._keys
        return keys.instance(instance), keys.inbox(instance), keys.session(instance.session)

    async def open(
        self, instance: InstanceId, message: Open, most_apps: int = limits.SESSION_MAX_APPS
    ) -> Opened | Refused:
        """Append an open message, unless the inbox is full or the session runs ``most_apps`` others.

        Apps count from their claim on: pages asked for in the same moment may go past the limit.
        """
        answer = await _open(
            self._caller,
            (*self._of(instance), self._keys.apps(instance.session)),
            encode(message),
            limits.INBOX_MAX_ENTRIES,
            limits.INBOX_TTL_MS,
            self._session_ttl_ms,
            instance.app,
            most_apps,
            self._owners,
            instance.dump(),
        )
        if answer[0] != b"ok":
            return cast(Refused, answer[0].decode())
        return Opened(answer[1].decode(), answer[2].decode())

    async def submit(
        self, instance: InstanceId, message: Interact | Connect | End, max_bytes: int
    ) -> Submitted:
        """Append what a page or an operator wants, if its generation still lives.

        MessageError when it is too large.
        """
        answer: bytes = await _submit(
            self._caller,
            self._of(instance),
            message.generation,
            encode(message, max_bytes),
            limits.INBOX_MAX_ENTRIES,
            limits.INBOX_TTL_MS,
            self._session_ttl_ms,
            limits.INBOX_MAX_BYTES,
            self._owners,
            instance.dump(),
        )
        return cast(Submitted, answer.decode())
