"""Answers to a web worker's open requests: a key each that expires, and a hint on the worker's channel."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from htagweb_broker import limits
from htagweb_broker.channels import GAP, Channels
from htagweb_broker.connection import Caller
from htagweb_broker.errors import MessageError, NotOwner
from htagweb_broker.inboxes import entry_after
from htagweb_broker.keys import InstanceId, Keys
from htagweb_broker.messages import Reply, decode_reply, encode
from htagweb_broker.scripts import Script

_reply = Script("reply")


@dataclass(frozen=True, slots=True)
class Replied:
    """A reply, and the number of the last action that was emitted before it was made."""

    reply: Reply
    number: int


class ReplyWriter:
    """The supervisor's side."""

    def __init__(self, caller: Caller, keys: Keys) -> None:
        self._caller = caller
        self._keys = keys

    async def reply(
        self,
        instance: InstanceId,
        generation: str,
        *,
        request: str,
        worker: str,
        reply: Reply,
        taken: str,
        now_ms: int,
    ) -> None:
        """Answer a request; safe to repeat. NotOwner when the instance is another generation's."""
        keys = self._keys
        done: int = await _reply(
            self._caller,
            (
                keys.instance(instance),
                keys.reply(instance.session, request),
                keys.inbox(instance),
            ),
            generation,
            encode(reply),
            request,
            limits.REPLY_TTL_MS,
            entry_after(taken),
            keys.web(worker),
            now_ms,
        )
        if done < 0:
            raise NotOwner(f"{instance} is no longer of generation {generation}")


class ReplyReader:
    """The web worker's side: one channel for all its requests."""

    def __init__(self, caller: Caller, keys: Keys, channels: Channels, worker: str) -> None:
        self.worker = worker
        self._caller = caller
        self._keys = keys
        self._channels = channels
        self._hints: dict[str, set[asyncio.Event]] = {}

    async def run(self) -> None:
        """Listen to the worker's channel until cancelled."""
        async with self._channels.follow(self._keys.web(self.worker)) as follower:
            while True:
                message = await follower.get()
                # After a gap any reply may be there: everybody looks.
                hinted = list(self._hints) if message is GAP else [message.decode()]
                for request in hinted:
                    for event in self._hints.get(request, ()):
                        event.set()

    @contextmanager
    def expect(self, request: str) -> Iterator[asyncio.Event]:
        """Give an event that is set when it is worth reading the reply."""
        event = asyncio.Event()
        events = self._hints.setdefault(request, set())
        events.add(event)
        try:
            yield event
        finally:
            events.discard(event)
            if not events:
                del self._hints[request]

    async def read(self, session: str, request: str) -> Replied | None:
        """Return the reply, or None when it is not there yet."""
        raw: bytes | None = await self._caller.call("GET", self._keys.reply(session, request))
        if raw is None:
            return None
        number, space, body = raw.partition(b" ")
        if not space or not number.isdigit():
            raise MessageError(f"not a reply: {raw[:60]!r}")
        return Replied(decode_reply(body), int(number))
