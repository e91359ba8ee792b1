"""Writes what one instance has to say to the broker: in order, waiting while the broker is away."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable

import msgspec
from htagweb_broker import (
    Answered,
    AppWrite,
    BrokerError,
    BrokerRefused,
    Claimed,
    Clock,
    EndReason,
    FailureReply,
    InstanceId,
    MessageError,
    NotOwner,
    Reply,
    SessionData,
    SupervisorBroker,
    UpdatedByApp,
    waiting_request,
)

from htagweb.host.frames import Changes
from htagweb.supervisor.handover import PublisherState

RETRY_S = 0.2
REFUSED_TIMEOUT_S = 60.0
"""How long a job is repeated that the broker answers with an error of which no remedy is known; then the
instance is lost. What an operator can heal (no memory, no disk, no permission) is waited for, as for a
broker that is away."""
HIGH_WATER = 64
LOW_WATER = 16

_NOTHING = msgspec.Raw(b"{}")

Job = Callable[[], Awaitable[None]]
Log = logging.LoggerAdapter[logging.Logger]


class Publisher:
    """The jobs of one generation."""

    def __init__(
        self,
        broker: SupervisorBroker,
        instance: InstanceId,
        claim: Claimed,
        session: SessionData,
        *,
        facts: dict[str, str],
        clock: Clock,
        log: Log,
        on_fenced: Callable[[], None],
        on_pressure: Callable[[bool], None],
    ) -> None:
        """``claim`` and its ``facts`` are what the record says of the instance.

        ``on_fenced``: another generation owns the instance. ``on_pressure``: many jobs, or few again.
        """
        self._broker = broker
        self._instance = instance
        self._claim = claim
        self._generation = claim.generation
        self._facts = dict(facts)
        self._outbox = broker.outbox(instance, claim.generation)
        self._emitted = 0
        self._clock = clock
        self._log = log
        self._on_fenced = on_fenced
        self._on_pressure = on_pressure
        self._jobs: deque[Job] = deque()
        self._arrived = asyncio.Event()
        self._pressed = False
        self._saves_queued = 0
        self._saves = 0
        self._released = False
        self._is_last = False
        self._connections = broker.connections
        self.session_version = session.version
        """The version of the session that the app has."""
        self.taken = ""
        """The last inbox entry that was dealt with."""

    @property
    def is_idle(self) -> bool:
        """Whether the broker has all that it was to be told."""
        return not self._arrived.is_set()

    def dump(self) -> PublisherState:
        """Return what a successor has to know; only when idle."""
        sizes, version = self._outbox.sizes, self.session_version
        return PublisherState(self._facts, self._outbox.number, sizes, self._saves, version, self.taken)

    def resume(self, state: PublisherState) -> None:
        """Go on where another was, before ``run``."""
        self._facts = dict(state.facts)
        self._emitted = state.number
        self._outbox.resume(state.number, state.sizes)
        self._saves = self._saves_queued = state.saves
        self.session_version = state.session_version
        self.taken = state.taken

    async def run(self) -> None:
        """Do the jobs until the instance is released."""
        while not self._released:
            await self._arrived.wait()
            await self._persist(self._jobs.popleft())
            if not self._jobs:
                self._arrived.clear()
            if self._pressed and len(self._jobs) < LOW_WATER:
                self._pressed = False
                self._on_pressure(False)

    def _add(self, job: Job) -> None:
        self._jobs.append(job)
        self._arrived.set()
        if not self._pressed and len(self._jobs) > HIGH_WATER:
            self._pressed = True
            self._on_pressure(True)

    async def _persist(self, job: Job) -> None:
        told, refused_since = False, 0.0
        while True:
            try:
                return await self._do(job)
            except NotOwner:
                return self._on_fenced()
            except MessageError as exc:
                return self._log.error("not written: %s", exc)
            except BrokerError as exc:
                error = exc
            if isinstance(error, BrokerRefused) and not error.remedy:
                # What does not heal is no use to anyone who waits behind it.
                refused_since = refused_since or self._clock.now()
                if self._clock.now() > refused_since + REFUSED_TIMEOUT_S:
                    self._log.error("given up: the broker refuses it: %s", error)
                    self._released = self._is_last and not self._jobs
                    return self._on_fenced()
            if not told:
                self._log.warning("the broker does not take it yet, kept for later: %s", error)
                told = True
            await self._clock.sleep(RETRY_S)

    async def _do(self, job: Job) -> None:
        """Do the job; if the server lost the instance's record, write that again first: the app lives on."""
        try:
            return await job()
        except NotOwner:
            await self._broker.presence.note_owned(self._claim.owner, self._instance)
            if not await self._broker.ownership.restore(
                self._instance, self._claim, self._emitted, self._facts
            ):
                raise
        self._log.warning("the broker had lost its record, it was written again")
        await job()

    # The jobs

    def answer(self, answered: Answered, worker: str = "", changes: Changes | None = None) -> None:
        """Emit the answer to an interaction; a web worker whose request waits for it is told."""
        self.save(changes)
        waiting = (worker, waiting_request(answered.page, answered.number)) if worker else None
        self._emit(answered, waiting=waiting, active_ms=self._clock.epoch_ms())

    def update(
        self, dom: msgspec.Raw, scripts: msgspec.Raw, changes: Changes, on_emitted: Callable[[bool], None]
    ) -> None:
        """Emit what the app changed by itself; ``on_emitted`` hears whether a browser is connected."""
        self.save(changes)
        self._emit(UpdatedByApp(dom, scripts), on_emitted)

    def _emit(
        self,
        action: Answered | UpdatedByApp,
        on_emitted: Callable[[bool], None] | None = None,
        waiting: tuple[str, str] | None = None,
        active_ms: int = 0,
    ) -> None:
        numbered = self._outbox.next_action(action)

        async def job() -> None:
            receivers = await self._outbox.emit(numbered, self.taken, waiting, active_ms)
            self._emitted = numbered.number
            if on_emitted is not None:
                on_emitted(receivers > 0)

        self._add(job)

    def reply(self, request: str, worker: str, reply: Reply, changes: Changes | None = None) -> None:
        """Answer a web worker's open request."""
        self.save(changes)

        async def send(message: Reply) -> None:
            await self._broker.replies.reply(
                self._instance,
                self._generation,
                request=request,
                worker=worker,
                reply=message,
                taken=self.taken,
                now_ms=self._clock.epoch_ms(),
            )

        async def job() -> None:
            if await self._has_lost_actions():
                is_alone = not self._jobs
                self._emit_nothing()
                if is_alone:  # the page begins after the number that tells of the gap: it is not loaded twice
                    return self._add(job)
            try:
                await send(reply)
            except MessageError as exc:
                self._log.error("a page was not sent: %s", exc)
                await send(FailureReply("refused", f"its page cannot be sent: {exc}"))

        self._add(job)

    def save(self, changes: Changes | None) -> None:
        """Write session changes, before whatever is emitted after them."""
        if not changes:
            return

        number = self._saves_queued = self._saves_queued + 1

        async def job() -> None:
            texts = {key: None if value is None else bytes(value) for key, value in changes.items()}
            self._saves = number
            writer = AppWrite(self._instance, self._generation, number)
            before, after = await self._broker.sessions.write(self._instance.session, texts, writer)
            # Someone else wrote in between: the app's copy is not the latest, the next message says so.
            if before == self.session_version:
                self.session_version = after

        self._add(job)

    def load_session(self, on_loaded: Callable[[SessionData, int], None]) -> None:
        """Read the session again, after all that was to be written before.

        ``on_loaded`` also hears how many of the app's saves the data has in it.
        """

        async def job() -> None:
            data = await self._broker.sessions.read(self._instance.session)
            self.session_version = data.version
            on_loaded(data, self._saves)

        self._add(job)

    def settle(self, entry: str) -> None:
        """Remove an inbox entry that leads to no action, so that it takes no place there."""

        async def job() -> None:
            await self._outbox.settle(entry)

        self._add(job)

    def renew(self, facts: dict[str, str]) -> None:
        """Keep the instance's keys from expiring, and note facts about it."""
        self._facts |= facts

        async def job() -> None:
            await self._broker.ownership.renew(self._instance, self._generation, facts)

        self._add(job)

    def confirm(self) -> None:
        """Keep the instance's keys from expiring, and find out whether the server has lost actions.

        If so, one that says nothing is emitted: whoever has not got the lost ones sees the gap by its number.
        """

        async def job() -> None:
            await self._broker.ownership.renew(self._instance, self._generation)
            if await self._has_lost_actions():
                self._emit_nothing()

        self._add(job)

    async def _has_lost_actions(self) -> bool:
        """Return whether the server lacks actions that it had; it is asked once for every connection."""
        connections = self._broker.connections
        if connections == self._connections:
            return False
        record = await self._broker.ownership.read(self._instance)
        self._connections = connections
        if record is None or record.generation != self._generation or record.out >= self._emitted:
            return False
        self._log.warning("the broker has lost actions: %d to %d", record.out + 1, self._emitted)
        return True

    def _emit_nothing(self) -> None:
        self._emit(UpdatedByApp(_NOTHING, _NOTHING))

    def release(self, reason: EndReason) -> None:
        """Emit the end and give the instance up: the last job.

        It waits for the broker as long as that takes: a page whose app ended
        without a word would wait for it.
        """
        self._is_last = True
        number = self._outbox.number + 1

        async def job() -> None:
            self._released = True
            try:
                await self._broker.ownership.release(
                    self._instance, self._generation, number, reason, self.taken
                )
            except NotOwner:
                self._log.info("another generation owns the instance already")
            except BrokerError:
                self._released = False
                raise

        self._add(job)
