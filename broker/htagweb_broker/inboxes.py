"""Delivers what many inboxes bring, over one connection: each entry as it is appended.

The scripts that append to an inbox publish the entry on its owner's channel as well, with the id
of the entry before it. That is fast, and can be lost: an entry is delivered from there only when
the one before it was, else the stream is read. It is read, too, when an inbox is added, after
every gap, and now and then. Blocked reads over groups of streams cost the server more for each
click, and the more the more apps there are (``broker/README.md``).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from htagweb_broker.absence import Absence
from htagweb_broker.channels import Channels, Follower
from htagweb_broker.clock import Clock, wait_event
from htagweb_broker.connection import Argument, Client
from htagweb_broker.errors import BrokerError
from htagweb_broker.keys import InstanceId, Keys

logger = logging.getLogger(__name__)

READ_COUNT = 64
READ_AT_ONCE = 32
"""Inboxes that are read with one write: what others ask of the server in between waits no longer."""
RETRY_S = 0.2
LOOK_S = 5.0
"""Time between two looks whether all inboxes were delivered to their ends."""
BEGIN = "0-0"
"""Comes before every entry."""


class Entry(msgspec.Struct, frozen=True):
    """One inbox entry."""

    id: str
    body: bytes
    session_version: str
    """The session's version when the entry was appended; "" when it has no data."""


def parse_entry(raw: Any) -> Entry:
    """Return the entry of a stream's raw ``[id, [field, value, …]]``."""
    entry_id, pairs = raw
    fields = dict(zip(pairs[::2], pairs[1::2], strict=True))
    return Entry(entry_id.decode(), fields.get(b"m", b""), fields.get(b"v", b"").decode())


Order = tuple[int, int]
"""An entry's id, to compare."""


def parse_order(entry: str) -> Order:
    """Return an entry's id as numbers; ValueError when it is none."""
    milliseconds, _, count = entry.partition("-")
    return int(milliseconds), int(count)


def parse_published(message: bytes) -> tuple[str, Order, Order, Entry]:
    """Return instance, the id before the entry's, the entry's, the entry; ValueError when it is no such."""
    name, before, entry_id, version, body = message.split(b" ", 4)
    entry = Entry(entry_id.decode(), body, version.decode())
    return name.decode(), parse_order(before.decode() or BEGIN), parse_order(entry.id), entry


def entry_after(entry: str) -> str:
    """Return the lowest id above an entry's; "" for none."""
    milliseconds, _, count = entry.partition("-")
    return f"{milliseconds}-{int(count) + 1}" if entry else ""


Deliver = Callable[[InstanceId, list[Entry]], None]
"""Gets an instance's entries, in order. None at all: the inbox is read from its beginning again."""


@dataclass(slots=True)
class _Inbox:
    """How far an instance's inbox was delivered."""

    instance: InstanceId
    position: Order
    """Of the last entry that was delivered."""
    is_behind: bool = True
    """Whether its stream may hold what nothing published will bring."""

    def advance(self, position: Order) -> bool:
        """Go on to the entry; False when it was delivered before."""
        if position <= self.position:
            return False
        self.position = position
        return True

    def dump(self) -> str:
        """Return the last entry's id."""
        return "{}-{}".format(*self.position)


class Inboxes:
    """The inboxes of the instances that a supervisor owns."""

    def __init__(
        self, channels: Channels, client: Client, keys: Keys, *, channel: str, deliver: Deliver, clock: Clock
    ) -> None:
        """``channels`` is run by this one's ``run``; ``client`` reads the streams."""
        self._channels = channels
        self._client = client
        self._keys = keys
        self._channel = channel
        self._deliver = deliver
        self._clock = clock
        self._absence = Absence(logger, "inboxes", clock)
        self._inboxes: dict[str, _Inbox] = {}
        self._wanted = asyncio.Event()

    def position(self, instance: InstanceId) -> str:
        """Return the id of the last entry that was delivered; KeyError for an instance that is not read."""
        return self._inboxes[instance.dump()].dump()

    def add(self, instance: InstanceId, after: str) -> None:
        """Deliver the instance's entries from after the given id on."""
        self._inboxes[instance.dump()] = _Inbox(instance, parse_order(after))
        self._wanted.set()

    def remove(self, instance: InstanceId) -> None:
        """Deliver no more of the instance."""
        self._inboxes.pop(instance.dump(), None)

    def look(self, instance: InstanceId) -> None:
        """Read the instance's inbox soon: something was appended to it while no record named its owner."""
        if (inbox := self._inboxes.get(instance.dump())) is not None:
            self._want(inbox)

    async def waiting(self, instance: InstanceId, after: str) -> list[Entry]:
        """Return what is in an inbox after the entry of the given id; it is delivered to nobody by that."""
        answer = await self._client.call("XRANGE", self._keys.inbox(instance), f"({after}", "+")
        return [parse_entry(raw) for raw in answer]

    async def run(self) -> None:
        """Deliver until cancelled. A lost connection is opened again; nothing is skipped by that.

        What was delivered and is in the inbox still is then delivered again.
        """
        absence = Absence(logger, "what is published of inboxes", self._clock)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._channels.run())
            tasks.create_task(self._keep_reading())
            while True:
                try:
                    async with self._channels.listen(_Published(self._channel, self)):
                        absence.ends()
                        await asyncio.Event().wait()
                except BrokerError as exc:  # not subscribed yet; until then all is read now and then
                    absence.begins(exc)

    # What is published

    def handle_published(self, message: bytes) -> None:
        """Deliver an entry that was appended just now, unless one before it is to be read first."""
        try:
            name, before, position, entry = parse_published(message)
        except ValueError:
            return logger.error("expected 'instance before entry version message' on %s", self._channel)
        inbox = self._inboxes.get(name)
        if inbox is None:
            return None  # it is read when it is added
        if before > inbox.position:
            return self._want(inbox)
        if inbox.advance(position):
            self._deliver(inbox.instance, [entry])
        return None

    def handle_gap(self) -> None:
        """Read all inboxes: something published may have been lost."""
        for inbox in self._inboxes.values():
            inbox.is_behind = True
        self._wanted.set()

    def handle_interruption(self) -> None:
        """Read all inboxes from their beginnings: the server had been away.

        It may have lost its last writes, and give ids that are lower than those that were read.
        """
        for inbox in list(self._inboxes.values()):
            self.add(inbox.instance, BEGIN)  # another one: what was asked for before counts no more
            self._deliver(inbox.instance, [])

    def _want(self, inbox: _Inbox) -> None:
        inbox.is_behind = True
        self._wanted.set()

    # What is in the streams

    async def _keep_reading(self) -> None:
        looked = self._clock.now()
        while True:
            is_wanted = await wait_event(self._wanted, LOOK_S)
            if not is_wanted or self._clock.now() >= looked + LOOK_S:
                looked = self._clock.now()
                self.handle_gap()
            self._wanted.clear()
            try:
                await self._read([inbox for inbox in self._inboxes.values() if inbox.is_behind])
                self._absence.ends()
                continue
            except BrokerError as exc:
                self._absence.begins(exc)
            except Exception:
                logger.exception("an unexpected error, inboxes are read again")
            self.handle_interruption()
            await self._clock.sleep(RETRY_S)

    async def _read(self, inboxes: Sequence[_Inbox]) -> None:
        for start in range(0, len(inboxes), READ_AT_ONCE):
            some = inboxes[start : start + READ_AT_ONCE]
            for inbox in some:
                inbox.is_behind = False  # what is found to be missing from here on is read once more
            answers = await self._client.call_all(*map(self._command, some))
            for inbox, answer in zip(some, answers, strict=True):
                # Else it was removed, or begun anew, while it was read.
                if self._inboxes.get(inbox.instance.dump()) is inbox:
                    self._take(inbox, map(parse_entry, answer))
                    if len(answer) == READ_COUNT:
                        self._want(inbox)

    def _command(self, inbox: _Inbox) -> tuple[Argument, ...]:
        return "XRANGE", self._keys.inbox(inbox.instance), f"({inbox.dump()}", "+", "COUNT", READ_COUNT

    def _take(self, inbox: _Inbox, entries: Iterable[Entry]) -> None:
        # Some may have been published, and delivered, while they were read.
        if new := [entry for entry in entries if inbox.advance(parse_order(entry.id))]:
            self._deliver(inbox.instance, new)


class _Published(Follower):
    """The channel's end: hands over at once what comes."""

    def __init__(self, channel: str, inboxes: Inboxes) -> None:
        super().__init__(channel)
        self._inboxes = inboxes
        self._heard = 1
        """Of the interruptions; the first is the beginning itself."""

    def put(self, message: bytes) -> None:
        self._inboxes.handle_published(message)

    def put_gap(self) -> None:
        if self.interruptions > self._heard:
            self._heard = self.interruptions
            self._inboxes.handle_interruption()
        else:
            self._inboxes.handle_gap()

    def reset(self) -> None:
        """Nothing is queued, and every gap was told."""
