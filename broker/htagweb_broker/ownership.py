"""Who owns an instance: claim, renew, release, take over. Each is a compare-and-set (G1)."""

from __future__ import annotations

from dataclasses import dataclass

from htagweb_broker import limits
from htagweb_broker.connection import Caller
from htagweb_broker.errors import NotOwner
from htagweb_broker.inboxes import Entry, entry_after, parse_entry
from htagweb_broker.keys import InstanceId, Keys
from htagweb_broker.messages import Ended, EndReason, encode
from htagweb_broker.scripts import Script

_claim = Script("claim")
_renew = Script("renew")
_release = Script("release")
_restore = Script("restore")
_take_over = Script("take_over")


@dataclass(frozen=True, slots=True)
class Record:
    """An instance's ownership record."""

    generation: str
    owner: str
    """The supervisor's incarnation, "" when the app process has ended."""
    out: int
    """The number of the last action."""
    reason: str | None
    """Why it ended, an ``EndReason`` or one of a later version; None while it is owned."""
    parano: bool = False
    """Its pages speak sealed: nothing in clear text is taken."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim that was won, and what waited in the inbox."""

    entries: list[Entry]


@dataclass(frozen=True, slots=True)
class Claimed:
    """Under which generation an instance is, and whose it is ("" where nobody owns it)."""

    generation: str
    owner: str


class Ownership:
    """Compare-and-set on the ownership records."""

    def __init__(self, caller: Caller, keys: Keys) -> None:
        self._caller = caller
        self._keys = keys

    async def read(self, instance: InstanceId) -> Record | None:
        """Return the record, or None when nobody ever opened the instance (or it expired)."""
        answer = await self._caller.call(
            "HMGET", self._keys.instance(instance), "generation", "owner", "out", "reason", "parano"
        )
        generation, owner, out, reason, parano = (value or b"" for value in answer)
        if not generation:
            return None
        why = reason.decode() or None
        return Record(generation.decode(), owner.decode(), int(out or 0), why, parano == b"1")

    async def claim(
        self, instance: InstanceId, *, expected: Claimed, generation: str, owner: str, facts: dict[str, str]
    ) -> Claim | Claimed:
        """Own the instance under a new generation, if its record still is the expected one.

        ``facts`` (at least one) are noted in the record, for people and tools.
        """
        keys = self._keys
        described = [text for item in facts.items() for text in item]
        answer = await _claim(
            self._caller,
            (
                *(keys.instance(instance), keys.outbox(instance), keys.inbox(instance)),
                keys.apps(instance.session),
            ),
            expected.generation,
            expected.owner,
            generation,
            owner,
            limits.INSTANCE_TTL_MS,
            instance.app,
            *described,
        )
        if answer[0] == 1:
            return Claim([parse_entry(raw) for raw in answer[1]])
        return Claimed(answer[1].decode(), answer[2].decode())

    async def renew(self, instance: InstanceId, generation: str, facts: dict[str, str] | None = None) -> None:
        """Keep an owned instance from expiring and note facts; NotOwner when it is another's."""
        keys = self._keys
        described = [text for item in (facts or {}).items() for text in item]
        kept = await _renew(
            self._caller,
            (keys.instance(instance), keys.outbox(instance), keys.apps(instance.session)),
            generation,
            limits.INSTANCE_TTL_MS,
            *described,
        )
        if not kept:
            raise NotOwner(f"{instance} is no longer of generation {generation}")

    async def restore(self, instance: InstanceId, claim: Claimed, out: int, facts: dict[str, str]) -> bool:
        """Write the record of an owned instance again, if the server lost it, or only has an earlier one.

        ``out`` is the number of its last action. Returns False when another has the instance by now.
        """
        keys = self._keys
        described = [text for item in facts.items() for text in item]
        restored: int = await _restore(
            self._caller,
            (keys.instance(instance), keys.outbox(instance), keys.apps(instance.session)),
            *(claim.generation, claim.owner, out, limits.INSTANCE_TTL_MS, instance.app),
            *described,
        )
        return restored == 1

    async def release(
        self, instance: InstanceId, generation: str, number: int, reason: EndReason, taken: str
    ) -> int:
        """Emit the end as action ``number`` and give the instance up; safe to repeat.

        Returns how many messages wait in the inbox for a next generation.
        NotOwner when it is another's already.
        """
        keys = self._keys
        waiting: int = await _release(
            self._caller,
            (
                *(keys.instance(instance), keys.outbox(instance), keys.inbox(instance)),
                *(keys.actions(instance), keys.apps(instance.session)),
            ),
            generation,
            number,
            encode(Ended(reason)),
            reason,
            entry_after(taken),
            limits.HOUR_MS,
            instance.app,
        )
        if waiting < 0:
            raise NotOwner(f"{instance} is no longer of generation {generation}")
        return waiting

    async def take_over(self, instance: InstanceId, dead_owner: str) -> bool:
        """End an instance of a dead supervisor as ``lost``; return whether it still was its."""
        keys = self._keys
        ended: int = await _take_over(
            self._caller,
            (
                *(keys.instance(instance), keys.outbox(instance), keys.actions(instance)),
                keys.apps(instance.session),
            ),
            dead_owner,
            encode(Ended("lost")),
            "lost",
            limits.HOUR_MS,
            instance.app,
        )
        return ended == 1
