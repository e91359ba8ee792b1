"""An instance's numbered actions: emit them, and read what was missed."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import msgspec

from htagweb_broker import limits
from htagweb_broker.connection import Caller, Client
from htagweb_broker.errors import FeedBroken, MessageError, NotOwner
from htagweb_broker.inboxes import entry_after
from htagweb_broker.keys import InstanceId, Keys
from htagweb_broker.messages import Action, Answered, decode_action, encode
from htagweb_broker.scripts import Script

_emit = Script("emit")
_settle = Script("settle")


class Emission(msgspec.Struct, frozen=True):
    """One numbered action of one generation."""

    number: int
    generation: str
    action: Action


def parse_published(data: bytes) -> Emission:
    """Return the emission of a channel message, ``number generation action``; MessageError if it is none."""
    try:
        number, generation, body = data.split(b" ", 2)
        return Emission(int(number), generation.decode(), decode_action(body))
    except ValueError as exc:
        raise MessageError(f"not a published action: {data[:60]!r}") from exc


def _parse_entry(raw: Any) -> Emission:
    entry_id, pairs = raw
    fields = dict(zip(pairs[::2], pairs[1::2], strict=True))
    return Emission(
        int(entry_id.partition(b"-")[0]), fields[b"g"].decode(), decode_action(fields.get(b"m", b""))
    )


class Numbered(msgspec.Struct, frozen=True):
    """An action that has its number, ready to be emitted."""

    number: int
    body: bytes
    oldest: int
    """The oldest number that is kept beside it."""


class OutboxWriter:
    """Emits the actions of one generation, one after the other."""

    def __init__(self, caller: Caller, keys: Keys, instance: InstanceId, generation: str) -> None:
        self._caller = caller
        self._web = keys.web
        self._keys = (
            keys.instance(instance),
            keys.outbox(instance),
            keys.inbox(instance),
            keys.actions(instance),
        )
        self._generation = generation
        self._sizes: deque[int] = deque()
        self._kept_bytes = 0
        self.number = 0
        """The number of the last action emitted, or tried."""

    def resume(self, number: int, sizes: Sequence[int]) -> None:
        """Go on after the action ``number``, where actions of these ``sizes`` (bytes) are kept."""
        self.number = number
        self._sizes.extend(sizes)
        self._kept_bytes = sum(sizes)

    @property
    def sizes(self) -> list[int]:
        """The bytes of each action that is kept, the oldest first."""
        return list(self._sizes)

    def next_action(self, action: Action) -> Numbered:
        """Give the action its number; MessageError, and no number, when it is too large.

        The number is then emitted with ``emit``, again and again until that works.
        """
        body = encode(action)
        self.number += 1
        self._sizes.append(len(body))
        self._kept_bytes += len(body)
        while len(self._sizes) > limits.OUTBOX_MAX_ENTRIES or (
            self._kept_bytes > limits.OUTBOX_KEEP_BYTES and len(self._sizes) > 1
        ):
            self._kept_bytes -= self._sizes.popleft()
        return Numbered(self.number, body, self.number - len(self._sizes) + 1)

    async def emit(
        self, action: Numbered, taken: str, waiting: tuple[str, str] | None = None, active_ms: int = 0
    ) -> int:
        """Append and publish; return how many web workers listened. Safe to repeat.

        ``taken`` is the last inbox entry that needs not be kept, "" for none;
        ``waiting`` a web worker and its request, to be told too; ``active_ms`` the time of
        the activity that it answers, 0 for none.
        NotOwner when the instance is another generation's, or was released.
        """
        worker, request = waiting or ("", "")
        receivers: int = await _emit(
            self._caller,
            self._keys,
            self._generation,
            action.number,
            action.body,
            action.oldest,
            entry_after(taken),
            limits.INSTANCE_TTL_MS,
            request,
            self._web(worker) if worker else "",
            active_ms or "",
        )
        if receivers < 0:
            raise NotOwner(f"generation {self._generation} no longer owns its instance")
        return receivers

    async def settle(self, entry: str) -> None:
        """Remove an inbox entry that leads to no action. Safe to repeat.

        NotOwner as for ``emit``: the entry may be for the generation that owns the instance now.
        """
        instance, _, inbox, _ = self._keys
        if await _settle(self._caller, (instance, inbox), self._generation, entry) < 0:
            raise NotOwner(f"generation {self._generation} no longer owns its instance")


class OutboxReader:
    """Reads what a follower missed."""

    def __init__(self, client: Client, keys: Keys) -> None:
        self._client = client
        self._keys = keys

    async def find_answer(self, instance: InstanceId, page: str, number: int) -> Emission | None:
        """Return the answer to an interaction, if it is still kept."""
        raw = await self._client.call("XRANGE", self._keys.outbox(instance), "-", "+")
        for emission in map(_parse_entry, raw):
            action = emission.action
            if isinstance(action, Answered) and (action.page, action.number) == (page, number):
                return emission
        return None

    async def read_after(self, instance: InstanceId, generation: str, number: int) -> list[Emission]:
        """Return the actions after ``number``, without a gap.

        FeedBroken when the generation is not the instance's any more, or the
        next action was trimmed.
        """
        # The record first: what it counts must be in the outbox by then.
        record, raw = await self._client.call_all(
            ("HMGET", self._keys.instance(instance), "generation", "out"),
            ("XRANGE", self._keys.outbox(instance), f"{number + 1}-0", "+"),
        )
        emissions = [_parse_entry(entry) for entry in raw]
        owners = {e.generation for e in emissions} | {(record[0] or b"").decode()}
        if owners != {generation}:
            raise FeedBroken(f"{instance} is no longer of generation {generation}")
        if [e.number for e in emissions] != list(range(number + 1, number + 1 + len(emissions))):
            raise FeedBroken(f"the actions after {number} of {instance} are no longer kept")
        # Behind what the follower has, or ahead of what is kept: the server has lost writes.
        out = int(record[1])
        if not number <= out <= number + len(emissions):
            raise FeedBroken(f"{instance} is at action {out}, action {number + 1} is not kept")
        return emissions
