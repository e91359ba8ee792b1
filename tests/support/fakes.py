"""Fakes for unit tests: a clock that tests turn, a broker in memory, app processes that only take notes."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, cast

from htagweb_broker import (
    Beat,
    BrokerUnavailable,
    Claim,
    Claimed,
    Connect,
    Emission,
    End,
    Entry,
    InstanceId,
    Interact,
    NotOwner,
    Open,
    Opened,
    Record,
    Refused,
    Replied,
    Reply,
    SessionData,
    SpawnEntry,
    Submitted,
    SupervisorBroker,
    Taken,
    WebBroker,
)
from htagweb_broker.messages import Action, encode
from htagweb_broker.outbox import Numbered

from htagweb.host.frames import Frame
from htagweb.supervisor.handover import ProcessState
from htagweb.supervisor.process import Ends
from htagweb.supervisor.sources import Watch
from htagweb.supervisor.templates import Child, LaunchError, Template, Templates
from tests.support.fake_inboxes import FakeInboxes
from tests.support.fake_presence import FakePresence, FakeSpawns
from tests.support.fake_sessions import FakeArrivals, FakeRenewals, FakeSessions


async def turns(count: int = 30) -> None:
    """Let all tasks that can run do so."""
    loop = asyncio.get_running_loop()
    for _ in range(count):
        turned = loop.create_future()
        loop.call_soon(turned.set_result, None)
        await turned


class FakeClock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self._now = 1000.0
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    def now(self) -> float:
        return self._now

    def epoch_ms(self) -> int:
        return int(self._now * 1000)

    async def sleep(self, delay_s: float) -> None:
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers.append((self._now + delay_s, woken))
        await woken

    async def advance(self, seconds: float) -> None:
        """Let time pass, and everybody who waited for it run."""
        await turns()
        self._now += seconds
        for due, woken in list(self._sleepers):
            if due <= self._now + 1e-9:
                self._sleepers.remove((due, woken))
                if not woken.done():
                    woken.set_result(None)
        await turns()


class FakeBroker:
    """A broker in memory; ``done`` is what it was told, in order: a verb and its details."""

    def __init__(self) -> None:
        self.done: list[tuple[Any, ...]] = []
        self.away = False
        self.errors: dict[str, Exception] = {}
        """By verb: what it raises until it is removed."""
        self.receivers = 1
        self.connections = 1
        self.sessions_data: dict[str, SessionData] = {}
        self.records: dict[InstanceId, Record] = {}
        self.entries: dict[InstanceId, list[Entry]] = {}
        self.owned: dict[str, set[InstanceId]] = {}
        self.living: dict[str, Beat] = {}
        self.dead: frozenset[str] = frozenset()
        self.is_drain_ordered = False
        self.forgot_beat = False
        """Whether the next heartbeat finds none before it."""
        self.spawn_requests: asyncio.Queue[SpawnEntry] = asyncio.Queue()
        self.given_replies: dict[str, Replied] = {}
        self.hints: dict[str, asyncio.Event] = {}
        self.emissions: list[Emission] = []
        self.kept_answer: Emission | None = None
        self.feed = FakeActions()
        self.submitted: Submitted = "ok"
        self.open_refused: Refused | None = None
        self.ownership = _Ownership(self)
        self.replies = _Replies(self)
        self.seals = _Seals(self)
        self.sessions = FakeSessions(self)
        self.renewals = FakeRenewals(self)
        self.arrivals = FakeArrivals(self)
        self.presence = FakePresence(self)
        self.spawns = self.waiting_spawns = FakeSpawns(self)
        self.inboxes = FakeInboxes(self)
        self.places: dict[str, set[str]] = {}
        self.restorable = False
        """Whether a record that is missed may be written again."""
        self.on_restore: Callable[[], None] = lambda: None
        self.inbox = _Inbox(self)
        self.pages = _Pages(self)
        self.feeds = self.channels = _Feeds(self)

    @property
    def supervisor_side(self) -> SupervisorBroker:
        return cast(SupervisorBroker, self)

    @property
    def web_side(self) -> WebBroker:
        return cast(WebBroker, self)

    def note(self, verb: str, *details: Any) -> None:
        if self.away:
            raise BrokerUnavailable("the broker is away")
        if verb in self.errors:
            raise self.errors[verb]
        self.done.append((verb, *details))

    def trim(self, instance: InstanceId, taken: str) -> None:
        """Remove inbox entries up to the one taken last."""
        last = int(taken.partition("-")[0] or 0)
        waiting = self.entries.get(instance, [])
        self.entries[instance] = [entry for entry in waiting if int(entry.id.partition("-")[0]) > last]

    def of(self, verb: str) -> list[tuple[Any, ...]]:
        """Return the details of everything done with the verb."""
        return [details for name, *rest in self.done if name == verb for details in [tuple(rest)]]

    def verbs(self) -> list[str]:
        return [verb for verb, *_ in self.done]

    @property
    def outbox(self) -> Any:
        """The supervisor calls it for a writer, the web worker reads from it."""
        return _Outbox(self)

    async def secret(self) -> str:
        self.note("secret")
        return "the secret"

    async def ping(self) -> None:
        self.note("ping")

    def close(self) -> None:
        self.done.append(("close",))


class _Part:
    def __init__(self, broker: FakeBroker) -> None:
        self._broker = broker


class _Outbox(_Part):
    def __call__(self, instance: InstanceId, generation: str) -> FakeOutboxWriter:
        return FakeOutboxWriter(self._broker)

    async def find_answer(self, instance: InstanceId, page: str, number: int) -> Emission | None:
        self._broker.note("find_answer", page, number)
        return self._broker.kept_answer

    async def read_after(self, instance: InstanceId, generation: str, number: int) -> list[Emission]:
        self._broker.note("read_after", number)
        return [emission for emission in self._broker.emissions if emission.number > number]


class FakeOutboxWriter(_Part):
    """Numbers actions as the real one does; ``emit`` notes them."""

    def __init__(self, broker: FakeBroker) -> None:
        super().__init__(broker)
        self.number = 0
        self.sizes: list[int] = []
        self._actions: dict[int, Action] = {}

    def resume(self, number: int, sizes: list[int]) -> None:
        self.number, self.sizes = number, list(sizes)

    def next_action(self, action: Action) -> Numbered:
        body = encode(action)
        self.number += 1
        self.sizes.append(len(body))
        self._actions[self.number] = action
        return Numbered(self.number, body, 1)

    async def emit(
        self, action: Numbered, taken: str, waiting: tuple[str, str] | None = None, active_ms: int = 0
    ) -> int:
        self._broker.note("emit", action.number, self._actions[action.number], taken, waiting)
        return self._broker.receivers

    async def settle(self, entry: str) -> None:
        self._broker.note("settle_inbox", entry)


class _Ownership(_Part):
    async def read(self, instance: InstanceId) -> Record | None:
        self._broker.note("read_record", instance)
        return self._broker.records.get(instance)

    async def claim(
        self, instance: InstanceId, *, expected: Claimed, generation: str, owner: str, facts: dict[str, str]
    ) -> Claim | Claimed:
        self._broker.note("claim", instance, expected, generation, owner)
        record = self._broker.records.get(instance)
        now = Claimed(record.generation, record.owner) if record else Claimed("", "")
        if now != expected:
            return now
        self._broker.records[instance] = Record(generation, owner, 0, None)
        return Claim(list(self._broker.entries.get(instance, [])))

    async def renew(self, instance: InstanceId, generation: str, facts: dict[str, str] | None = None) -> None:
        self._broker.note("renew", facts or {})

    async def restore(self, instance: InstanceId, claim: Claimed, out: int, facts: dict[str, str]) -> bool:
        self._broker.note("restore", claim, out, facts)
        self._broker.on_restore()
        return self._broker.restorable

    async def release(
        self, instance: InstanceId, generation: str, number: int, reason: Any, taken: str
    ) -> int:
        self._broker.note("release", generation, number, reason, taken)
        self._broker.trim(instance, taken)
        record = self._broker.records.get(instance)
        if record is not None:
            if record.generation != generation:
                raise NotOwner(f"{instance} is no longer of generation {generation}")
            self._broker.records[instance] = Record(generation, "", number, reason)
        return 0

    async def take_over(self, instance: InstanceId, dead_owner: str) -> bool:
        self._broker.note("take_over", instance, dead_owner)
        record = self._broker.records.get(instance)
        if record is None or record.owner != dead_owner:
            return False
        self._broker.records[instance] = Record(record.generation, "", record.out + 1, "lost")
        return True


class _Replies(_Part):
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
        self._broker.note("reply", request, worker, reply, taken)

    @contextmanager
    def expect(self, request: str) -> Iterator[asyncio.Event]:
        event = self._broker.hints[request] = asyncio.Event()
        try:
            yield event
        finally:
            del self._broker.hints[request]

    async def read(self, session: str, request: str) -> Replied | None:
        self._broker.note("read_reply", request)
        return self._broker.given_replies.get(request)


class _Seals(_Part):
    def __init__(self, broker: FakeBroker) -> None:
        super().__init__(broker)
        self.wrapped: dict[tuple[str, str], bytes] = {}
        self.numbers: dict[tuple[str, str], int] = {}

    def new_channel(self) -> str:
        return f"channel{len(self.wrapped)}"

    async def keep(self, session: str, channel: str, wrapped: bytes) -> None:
        self._broker.note("keep_seal", channel)
        self.wrapped[session, channel] = wrapped

    async def read(self, session: str, channel: str) -> bytes | None:
        self._broker.note("read_seal", channel)
        return self.wrapped.get((session, channel))

    async def take(self, session: str, channel: str, number: int) -> Taken:
        self._broker.note("take_number", channel, number)
        if (session, channel) not in self.wrapped:
            return "unknown"
        if number <= self.numbers.get((session, channel), 0):
            return "used"
        self.numbers[session, channel] = number
        return "taken"


class _Pages(_Part):
    async def enter(self, session: str, page: str, now_ms: int, most: int) -> bool:
        self._broker.note("enter", session, page)
        places = self._broker.places.setdefault(session, set())
        if page not in places and len(places) >= most:
            return False
        places.add(page)
        return True

    async def leave(self, session: str, page: str) -> None:
        self._broker.note("leave_page", session, page)
        self._broker.places.get(session, set()).discard(page)


class _Inbox(_Part):
    async def open(self, instance: InstanceId, message: Open, most_apps: int) -> Opened | Refused:
        self._broker.note("open", instance, message)
        if self._broker.open_refused is not None:
            return self._broker.open_refused
        record = self._broker.records.get(instance)
        return Opened(record.generation, record.owner) if record else Opened("", "")

    async def submit(
        self, instance: InstanceId, message: Interact | Connect | End, max_bytes: int
    ) -> Submitted:
        self._broker.note("submit", message)
        return self._broker.submitted


class _Feeds(_Part):
    @asynccontextmanager
    async def follow(self, instance: InstanceId, generation: str, after: int) -> AsyncIterator[FakeFeed]:
        self._broker.note("follow", generation, after)
        yield FakeFeed(self._broker, after)


class FakeActions(asyncio.Queue[Emission | Exception]):
    """What feeds bring; the server is away meanwhile when a test says so."""

    interruptions = 0

    def interrupt(self, emission: Emission) -> None:
        """Have the next action come after an absence of the server."""
        self.interruptions += 1
        self.put_nowait(emission)


class FakeFeed:
    """What was emitted before (``emissions``), then what is put into the broker's ``feed``."""

    def __init__(self, broker: FakeBroker, after: int) -> None:
        self._broker = broker
        self._after = after
        self.interruptions = 0

    async def missed(self) -> list[Emission]:
        return [emission for emission in self._broker.emissions if emission.number > self._after]

    async def next(self) -> list[Emission]:
        found = await self._broker.feed.get()
        self.interruptions = self._broker.feed.interruptions
        if isinstance(found, Exception):
            raise found
        return [found]


class FakeTemplates:
    """Forks without a process, or fails to."""

    def __init__(self) -> None:
        self.wanted: list[str] = []
        self.forked: list[str] = []
        self.failure: LaunchError | None = None
        self.wanted_with_debug: list[str] = []
        self.developed: list[tuple[Template, Watch]] = []
        self.stopped = False
        self.discarded = False
        self.may_fork = asyncio.Event()
        self.may_fork.set()

    @property
    def real(self) -> Templates:
        return cast(Templates, self)

    @property
    def pids(self) -> set[int]:
        return set()

    def reap(self) -> None:
        """Nothing ever dies here."""

    def stop(self) -> None:
        self.stopped = True

    def watched(self) -> list[tuple[Template, Watch]]:
        return self.developed

    def discard(self, template: Template) -> None:
        self.developed.clear()

    def discard_all(self) -> None:
        self.discarded = True

    async def get(self, app: str, *, debug: bool = False) -> Template:
        self.wanted.append(app)
        self.wanted_with_debug += [app] if debug else []
        await self.may_fork.wait()
        if self.failure is not None:
            raise self.failure
        return cast(Template, self)

    async def fork(self, instance: str) -> Child:
        self.forked.append(instance)
        return Child(4000 + len(self.forked), -1, cast(Ends, None))


class FakeProcess:
    """Takes frames and signals; the test plays the app by the owner's ``handle_…``."""

    def __init__(self, pid: int, pidfd: int, owner: Any, log: Any) -> None:
        self.pid = pid
        self.owner = owner
        self.sent: list[Frame] = []
        self.signals: list[signal.Signals] = []
        self.paused = False
        self.held = False
        self._attached = False

    async def attach(self, ends: Ends) -> None:
        await turns(1)
        self._attached = True
        await turns(1)

    def send(self, frame: Frame) -> None:
        if self._attached:
            self.sent.append(frame)

    def signal(self, number: signal.Signals) -> None:
        self.signals.append(number)

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False

    def hold(self) -> None:
        self.held = True

    def let_go(self) -> None:
        self.held = False

    @property
    def is_quiet(self) -> bool:
        return self.held

    def dump(self) -> ProcessState:
        return ProcessState(self.pid, 3, 4, 5, b"half a fr", b"half a li")
