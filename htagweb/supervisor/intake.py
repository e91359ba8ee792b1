"""Hands an instance what its inbox brings, in order; reads the session again where others wrote it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Protocol

from htagweb_broker import Entry, InboxMessage, MessageError, Open, SessionData, decode_inbox

from htagweb.supervisor.publisher import Publisher

Log = logging.LoggerAdapter[logging.Logger]


class Receiver(Protocol):
    """Who is handed the messages."""

    pending_opens: list[Open]
    """Requests that stay in the inbox, for the next generation, wherever that runs."""

    @property
    def is_ending(self) -> bool:
        """Whether no session is wanted any more."""
        ...

    def handle_message(self, message: InboxMessage) -> bool:
        """Take a message; return whether an action or a reply will take its entry out of the inbox."""
        ...

    def handle_session(self, data: SessionData, saves: int) -> None:
        """Take the session as it is now, with so many of the app's own saves in it."""
        ...


class Intake:
    """The inbox of one generation."""

    def __init__(self, receiver: Receiver, publisher: Publisher, log: Log) -> None:
        self._receiver = receiver
        self._publisher = publisher
        self._log = log
        self._held: list[Entry] | None = None

    @property
    def is_held(self) -> bool:
        """Whether entries wait for the session."""
        return self._held is not None

    def take(self, entries: Sequence[Entry]) -> None:
        """Take what the inbox brought; nothing at all: it is read from its beginning again."""
        if not entries:
            self._publisher.taken = ""  # entries that come now may have lower ids
            if self._held is not None:
                self._held = []  # what waits is in the inbox still, and comes again
        for position, entry in enumerate(entries):
            if self._held is not None:
                self._held.extend(entries[position:])
                return
            if entry.session_version != self._publisher.session_version and not self._receiver.is_ending:
                self._held = list(entries[position:])
                self._publisher.load_session(self._go_on)
                return
            self._take(entry)

    def _go_on(self, data: SessionData, saves: int) -> None:
        self._receiver.handle_session(data, saves)
        held, self._held = self._held or [], None
        if held:
            # Its version may be older than what was read; it is not asked for a second time.
            self._take(held[0])
            self.take(held[1:])

    def _take(self, entry: Entry) -> None:
        try:
            message: InboxMessage = decode_inbox(entry.body)
        except MessageError as exc:
            self._log.warning("dropped from the inbox: %s", exc)
            self._publisher.settle(entry.id)
        else:
            if not self._receiver.handle_message(message):
                self._publisher.settle(entry.id)
        if not self._receiver.pending_opens:
            self._publisher.taken = entry.id
