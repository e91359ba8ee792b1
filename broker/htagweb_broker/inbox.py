"""The web side of an instance's inbox: open a page, submit what a page sends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast

from htagweb_broker import limits
from htagweb_broker.connection import Caller
from htagweb_broker.keys import InstanceId, Keys
from htagweb_broker.messages import Connect, Interact, Open, encode
from htagweb_broker.scripts import Script

Submitted = Literal["ok", "unknown", "stale", "ended", "busy"]
"""What became of a message: appended; no such instance; another generation; no process; inbox full."""

_open = Script("open")
_submit = Script("submit")


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

    def _of(self, instance: InstanceId) -> tuple[str, str, str]:
        keys = self._keys
        return keys.instance(instance), keys.inbox(instance), keys.session(instance.session)

    async def open(self, instance: InstanceId, message: Open) -> Opened | None:
        """Append an open message; None when the inbox is full."""
        answer = await _open(
            self._caller,
            self._of(instance),
            encode(message),
            limits.INBOX_MAX_ENTRIES,
            limits.INBOX_TTL_MS,
            self._session_ttl_ms,
        )
        if answer[0] == b"busy":
            return None
        return Opened(answer[1].decode(), answer[2].decode())

    async def submit(self, instance: InstanceId, message: Interact | Connect, max_bytes: int) -> Submitted:
        """Append what a page sends, if its generation still lives; MessageError when it is too large."""
        answer: bytes = await _submit(
            self._caller,
            self._of(instance),
            message.generation,
            encode(message, max_bytes),
            limits.INBOX_MAX_ENTRIES,
            limits.INBOX_TTL_MS,
            self._session_ttl_ms,
            limits.INBOX_MAX_BYTES,
        )
        return cast(Submitted, answer.decode())
