"""A feed: the actions of one generation for one follower, in order, each once (G3)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from htagweb_broker.channels import GAP, Channels, Follower
from htagweb_broker.keys import InstanceId, Keys
from htagweb_broker.outbox import Emission, OutboxReader, parse_published


class Feed:
    """Joins the channel (fast, lossy) and the outbox (the truth)."""

    def __init__(
        self, follower: Follower, outbox: OutboxReader, instance: InstanceId, generation: str, after: int
    ) -> None:
        self._follower = follower
        self._outbox = outbox
        self._instance = instance
        self._generation = generation
        self.number = after
        """The number of the last action that was returned."""
        self.interruptions = 0
        """How often the server had been away by then: what it had taken before may be lost."""

    async def missed(self) -> list[Emission]:
        """Return what the outbox holds after the last number; FeedBroken when that is not all."""
        emissions = await self._outbox.read_after(self._instance, self._generation, self.number)
        if emissions:
            self.number = emissions[-1].number
        return emissions

    async def next(self) -> list[Emission]:
        """Wait for the next actions; FeedBroken when the page must be rendered anew.

        None at all: the server had been away, and nothing was missed.
        """
        while True:
            message = await self._follower.get()
            if message is GAP:
                before, self.interruptions = self.interruptions, self._follower.interruptions
                if (emissions := await self.missed()) or self.interruptions != before:
                    return emissions
                continue
            emission = parse_published(message)
            if emission.generation != self._generation:
                # A new one, or a late message of the one before: the outbox knows.
                if emissions := await self.missed():
                    return emissions
                continue
            if emission.number <= self.number:
                continue
            if emission.number == self.number + 1:
                self.number = emission.number
                return [emission]
            if emissions := await self.missed():
                return emissions


class Feeds:
    """Opens feeds."""

    def __init__(self, channels: Channels, outbox: OutboxReader, keys: Keys) -> None:
        self._channels = channels
        self._outbox = outbox
        self._keys = keys

    @asynccontextmanager
    async def follow(self, instance: InstanceId, generation: str, after: int) -> AsyncIterator[Feed]:
        """Follow an instance from after the given number.

        The subscription is confirmed on entry, so nothing can fall between
        ``missed()`` (call it first) and ``next()``.
        """
        async with self._channels.follow(self._keys.actions(instance)) as follower:
            yield Feed(follower, self._outbox, instance, generation, after)
