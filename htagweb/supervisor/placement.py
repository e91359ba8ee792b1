"""Which instances this supervisor owns: it takes spawn requests, claims, and takes over from the dead."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager

from htagweb_broker import (
    Absence,
    BrokerError,
    Claim,
    Claimed,
    Entry,
    InstanceId,
    MessageError,
    Open,
    SpawnEntry,
    SpawnRequest,
    decode_inbox,
    decode_spawn,
)

from htagweb.supervisor.handover import InstanceState
from htagweb.supervisor.instance import OwnedInstance
from htagweb.supervisor.services import Services
from htagweb.supervisor.standing import Standing

logger = logging.getLogger(__name__)

TAKE_COUNT = 16
BLOCK_S = 1.0
LOOK_S = 0.15
"""Who gives way to a freer supervisor looks this often whether that one left something."""
LOOK_COUNT = 4
RETRY_S = 0.5
TAKE_OVERS_AT_ONCE = 64
"""One after the other, many apps would wait long where the broker is far away."""
SETTLE_BEATS = 3
"""After an outage no instance is claimed for so many beats: the server may have lost its data, and whoever
runs an app writes its record again with the next heartbeat."""


class Placement:
    """The instances of one supervisor, by id."""

    def __init__(
        self,
        services: Services,
        max_apps: int,
        is_dead: Callable[[str], Awaitable[bool]],
        standing: Standing,
        beat_interval_s: float,
    ) -> None:
        """``is_dead`` knows which supervisors can be taken over, ``standing`` which are freer."""
        self._services = services
        self._broker = services.broker
        self._supervisor = services.supervisor
        self._max_apps = max_apps
        self._is_dead = is_dead
        self._standing = standing
        self._settle_s = SETTLE_BEATS * beat_interval_s
        self._absence = Absence(logger, "spawn requests", services.clock)
        self._settled_at = 0.0
        self._tasks: asyncio.TaskGroup | None = None
        self._draining = asyncio.Event()
        self._taking = asyncio.Lock()
        self._claiming = asyncio.Lock()
        self._is_paused = False
        self.instances: dict[InstanceId, OwnedInstance] = {}
        self.passing_on: set[OwnedInstance] = set()
        """Those that ended, and whose next generation may have to be asked for still."""

    @property
    def load(self) -> int:
        """How many instances are owned."""
        return len(self.instances)

    @property
    def pids(self) -> set[int]:
        """The process ids of all apps."""
        return {owned.pid for owned in self.instances.values() if owned.pid is not None}

    def deliver(self, instance: InstanceId, entries: list[Entry]) -> None:
        """Hand inbox entries to the instance that they are for."""
        if (owned := self.instances.get(instance)) is not None:
            self._isolated(owned, owned.handle_entries, entries)

    def tick(self, now: float) -> None:
        """Let time pass for all instances."""
        for owned in list(self.instances.values()):
            self._isolated(owned, owned.tick, now)

    def _isolated(self, owned: OwnedInstance, work: Callable[..., None], *args: object) -> None:
        """Do the work; an error that nobody expected ends this instance and no other."""
        try:
            work(*args)
        except Exception:
            owned.log.exception("an unexpected error, this app ends, others go on")
            owned.abort()

    def drain(self) -> None:
        """Take no new instances from now on."""
        self._draining.set()

    # Restart in place

    @asynccontextmanager
    async def paused(self) -> AsyncIterator[None]:
        """Claim nothing within the block; what was asked for before is claimed first."""
        async with self._taking:
            self._is_paused = True
            try:
                async with self._claiming:
                    yield
            finally:
                self._is_paused = False

    async def _adopt(self, states: Iterable[InstanceState]) -> None:
        states = list(states)
        for state in states:  # all, before anything else may look which there are
            self._keep(OwnedInstance.resumed(self._services, state))
        for state in states:
            self._broker.inboxes.add(InstanceId.load(state.instance), state.position)

    def _keep(self, owned: OwnedInstance) -> None:
        self.instances[owned.id] = owned
        assert self._tasks is not None
        self._tasks.create_task(self._run(owned))

    # Spawn requests

    async def run(self, handed: Iterable[InstanceState] = ()) -> None:
        """Take spawn requests until drained; own the instances until all are gone.

        ``handed`` are those that another program of this process owned before.
        """
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            await self._adopt(handed)
            taking = tasks.create_task(self._take_requests())
            await self._draining.wait()
            taking.cancel()

    async def _take_requests(self) -> None:
        while True:
            room = self._max_apps - self.load
            if room <= 0 or self._services.clock.now() < self._settled_at:
                await self._services.clock.sleep(RETRY_S)
                continue
            try:
                await self._take_some(room)
                self._absence.ends()
                await self._standing.tell()
            except BrokerError as exc:
                self._absence.begins(exc)
                self._settled_at = self._services.clock.now() + self._settle_s
            except Exception:
                logger.exception("an unexpected error, requests are taken again and apps go on")
                await self._services.clock.sleep(RETRY_S)

    async def _take_some(self, room: int) -> None:
        """Wait for requests, or, where a freer supervisor does that, look for what it left."""
        most, block_s = TAKE_COUNT, BLOCK_S
        if await self._standing.gives_way():
            most, block_s = LOOK_COUNT, 0.0
            await self._services.clock.sleep(LOOK_S)
        async with self._taking:
            most = self._standing.most(min(room, most))
            await self._serve(await self._broker.waiting_spawns.take(self._supervisor, most, block_s))

    async def take_abandoned(self) -> None:
        """Serve the requests that a supervisor read and left."""
        room = min(self._max_apps - self.load, TAKE_COUNT)
        if room > 0 and not self._draining.is_set() and not self._claiming.locked():
            await self._serve(await self._broker.spawns.take_abandoned(self._supervisor, room))

    async def _serve(self, entries: list[SpawnEntry]) -> None:
        for entry in entries:
            try:
                request = decode_spawn(entry.body)
                await self._claim(InstanceId.load(request.instance), request.expected)
            except (MessageError, ValueError) as exc:
                logger.warning("a spawn request was dropped: %s", exc)
            await self._broker.spawns.settle(entry)

    # Claims

    async def _claim(self, instance: InstanceId, expected_generation: str) -> None:
        if (owned := self.instances.get(instance)) is not None:
            owned.renew()  # if it is not ours any more, this tells
            self._broker.inboxes.look(instance)  # the record may have been lost: then nobody told us
            return
        record = await self._broker.ownership.read(instance)
        generation, owner = (record.generation, record.owner) if record else ("", "")
        if generation != expected_generation:
            return  # someone served the request already
        # Owned by this supervisor, but not among its instances: the answer to a claim got lost.
        if owner and owner != self._supervisor and not await self._is_dead(owner):
            return
        await self._own(instance, Claimed(generation, owner))

    async def _own(self, instance: InstanceId, expected: Claimed) -> None:
        """Claim an instance, or leave that to others or a successor, by a spawn request."""
        if not self._is_paused:  # else it would wait for the lock until this program's place is taken
            async with self._claiming:
                if not self._draining.is_set():
                    return await self._claim_and_keep(instance, expected)
        await self._broker.spawns.put(SpawnRequest(instance.dump(), expected.generation))

    async def _claim_and_keep(self, instance: InstanceId, expected: Claimed) -> None:
        generation = _next_generation(expected.generation)
        session, _ = await asyncio.gather(
            self._broker.sessions.read(instance.session),
            self._broker.presence.note_owned(self._supervisor, instance),
        )
        claim = await self._broker.ownership.claim(
            instance,
            expected=expected,
            generation=generation,
            owner=self._supervisor,
            facts=self._services.facts(),
        )
        if not isinstance(claim, Claim):
            return
        opens = _opens_of(claim.entries)
        if not opens:
            # Whoever asked is gone, or was answered: an instance nobody waits for is not started.
            await self._broker.ownership.release(instance, generation, 1, "never_connected", "")
            return
        owned = OwnedInstance(self._services, instance, generation, opens[-1], session)
        last = claim.entries[-1].id if claim.entries else "0-0"
        owned.begin_inbox(last, opens[:-1])
        self._keep(owned)
        self._broker.inboxes.add(instance, last)

    async def _run(self, owned: OwnedInstance) -> None:
        try:
            await owned.run()
        except Exception:
            owned.log.exception("an unexpected error, this app ends, others go on")
            owned.abort()
            await self._tell_lost(owned)
        finally:
            del self.instances[owned.id]
            self._broker.inboxes.remove(owned.id)
        self.passing_on.add(owned)
        try:
            await self._pass_on(owned)
        finally:
            self.passing_on.remove(owned)

    async def _pass_on(self, owned: OwnedInstance) -> None:
        """Have the next generation started, here or by another, if a page waits for it."""
        if owned.pending_opens:
            # If that fails, the request is in the inbox still, and the worker that waits asks again.
            with _told(owned, "not started anew"):
                await self._own(owned.id, Claimed(owned.generation, ""))
            return
        if not self._draining.is_set():
            # Before anything else: from here on it may be claimed here again, and is noted as owned then.
            with _told(owned, "it ended, and is noted as owned still"):
                await self._broker.presence.note_released(self._supervisor, owned.id)
        # At its release a page may have been asked for, and its spawn request dropped: it was here still.
        with _told(owned, "it ended, and a page that may wait for the next one was not asked for"):
            if _opens_of(await self._broker.inboxes.waiting(owned.id, owned.taken), is_claimed=False):
                await self._broker.spawns.put(SpawnRequest(owned.id.dump(), owned.generation))

    async def disown(self) -> None:
        """End what the broker takes for ours and is not: it lost that this ended, or we never heard of it."""
        for instance in await self._broker.presence.owned(self._supervisor):
            if instance not in self.instances and not self._claiming.locked():
                if await self._broker.ownership.take_over(instance, self._supervisor):
                    logger.warning(
                        "%s had ended, which the broker has lost; its page is told again", instance
                    )
                if instance not in self.instances and not self._claiming.locked():  # not claimed meanwhile
                    await self._broker.presence.note_released(self._supervisor, instance)

    async def _tell_lost(self, owned: OwnedInstance) -> None:
        try:
            await self._broker.ownership.take_over(owned.id, self._supervisor)
        except BrokerError as exc:
            owned.log.warning("its page was not told: %s", exc)

    # The dead

    async def take_over(self, dead: str) -> int:
        """End what a dead supervisor owned, so that its pages come back; return how many that were."""
        owned, count = await self._broker.presence.owned(dead), 0
        for start in range(0, len(owned), TAKE_OVERS_AT_ONCE):
            some = owned[start : start + TAKE_OVERS_AT_ONCE]
            ended = (self._broker.ownership.take_over(instance, dead) for instance in some)
            count += sum(await asyncio.gather(*ended))
        await self._broker.presence.forget(dead)
        return count


def _next_generation(previous: str) -> str:
    """Return ``count-random``: the count for people, the random part so that none ever comes twice."""
    count = int(previous.partition("-")[0]) if previous else 0
    return f"{count + 1}-{secrets.token_hex(4)}"


@contextmanager
def _told(owned: OwnedInstance, failure: str) -> Iterator[None]:
    """Log an error as the failure that it is to an instance that has ended; everything else goes on."""
    try:
        yield
    except BrokerError as exc:
        owned.log.warning("%s: %s", failure, exc)
    except Exception:
        owned.log.exception("%s: an unexpected error", failure)


def _opens_of(entries: list[Entry], *, is_claimed: bool = True) -> list[Open]:
    """Return the requests for a page; what is nothing is dropped by a claim, and only by that."""
    messages = []
    for entry in entries:
        try:
            message = decode_inbox(entry.body)
        except MessageError as exc:
            if is_claimed:
                logger.warning("dropped from an inbox: %s", exc)
            continue
        if isinstance(message, Open):
            messages.append(message)
    return messages
