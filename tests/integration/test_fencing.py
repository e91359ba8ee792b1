"""Two owners of one instance never both commit (G1); and who cleans up after a dead one."""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import signal
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import redis
from htagweb_broker.clock import SystemClock
from htagweb_broker.errors import BrokerUnavailable, NotOwner
from htagweb_broker.keys import InstanceId
from htagweb_broker.messages import Answered, PageReply
from htagweb_broker.outbox import OutboxWriter
from htagweb_broker.ownership import Claimed, Ownership, Record
from htagweb_broker.replies import ReplyWriter
from htagweb_broker.sessions import AppWrite

from htagweb.supervisor.placement import Placement
from htagweb.supervisor.services import Services
from htagweb.supervisor.standing import Standing
from tests.support.brokers import BEAT, CART, OPEN, SESSION, UPDATE, Bench
from tests.support.fakes import FakeTemplates
from tests.support.page import PageClient
from tests.support.stack import Stack
from tests.support.waiting import until

ANSWER = Answered("page", 1, UPDATE.dom, UPDATE.scripts)
FIRST, SECOND = "1-aa", "2-bb"
FACTS = {"host": "h"}
PAGE = PageReply(FIRST, "<p>")
NewPage = Callable[[str], PageClient]


async def take_over(bench: Bench, claimed: bool) -> None:
    """End what the first supervisor owned, as another does; the next generation is claimed, or not yet."""
    await bench.ownership.take_over(CART, "s1")
    if claimed:
        await bench.claim(SECOND, "s2", Claimed(FIRST, ""))


async def contents(bench: Bench) -> dict[str, Any]:
    """Return what every key holds."""
    keys = sorted(await bench.call("KEYS", "*"))
    return {key.decode(): await bench.call("DUMP", key) for key in keys}


def emit(bench: Bench, taken: str) -> Awaitable[object]:
    writer = bench.writer(FIRST)
    return writer.emit(writer.next_action(ANSWER), taken, ("w1", "page:1"), 5)


def reply(bench: Bench, taken: str) -> Awaitable[object]:
    replies = ReplyWriter(bench.client, bench.keys)
    return replies.reply(CART, FIRST, request="r1", worker="w1", reply=PAGE, taken=taken, now_ms=1)


WRITES: dict[str, Callable[[Bench, str], Awaitable[object]]] = {
    "emit": emit,
    "reply": reply,
    "settle": lambda bench, taken: bench.writer(FIRST).settle(taken),
    "renew": lambda bench, taken: bench.ownership.renew(CART, FIRST, {"pid": "1"}),
    "restore": lambda bench, taken: bench.ownership.restore(CART, Claimed(FIRST, "s1"), 7, FACTS),
    "release": lambda bench, taken: bench.ownership.release(CART, FIRST, 9, "exit", taken),
    "session": lambda bench, taken: bench.sessions.write(SESSION, {"a": b"2"}, AppWrite(CART, FIRST, 1)),
}


@pytest.mark.parametrize("claimed", [False, True], ids=["taken over", "claimed anew"])
@pytest.mark.parametrize("write", WRITES)
async def test_nothing_that_a_former_owner_writes_changes_anything(
    bench: Bench, write: str, claimed: bool
) -> None:
    await bench.owned(FIRST, "s1")
    await bench.sessions.write(SESSION, {"a": b"1"})
    await take_over(bench, claimed)
    await bench.inbox.open(CART, OPEN)
    (waiting,) = await bench.ids(bench.keys.inbox(CART))
    before = await contents(bench)
    try:
        answer = await WRITES[write](bench, waiting)
    except NotOwner:
        answer = False
    assert not answer or write == "release"
    assert await contents(bench) == before


async def test_an_owner_that_was_stopped_before_its_first_emission_emits_nothing(bench: Bench) -> None:
    stopped = await bench.owned(FIRST, "s1")
    await take_over(bench, claimed=True)
    successor = bench.writer(SECOND)
    await bench.emit(successor)
    with pytest.raises(NotOwner):
        await bench.emit(stopped)
    assert await generations(bench) == {SECOND}


async def test_an_answer_that_was_there_before_the_stop_is_not_emitted_after_it(bench: Bench) -> None:
    stopped = await bench.owned(FIRST, "s1")
    ready = stopped.next_action(ANSWER)
    await take_over(bench, claimed=True)
    with pytest.raises(NotOwner):
        await stopped.emit(ready, "")
    assert await bench.ownership.read(CART) == Record(SECOND, "s2", 0, None)


async def test_of_an_owner_and_who_takes_it_over_at_the_same_moment_one_has_the_last_word(
    bench: Bench,
) -> None:
    ownership = Ownership(bench.new_client(), bench.keys)
    for turns in range(20):
        await bench.call("DEL", bench.keys.instance(CART))
        await bench.call("DEL", bench.keys.outbox(CART))
        stopped = await bench.owned(FIRST, "s1")

        async def go_on(writer: OutboxWriter = stopped) -> int:
            emitted = 0
            with contextlib.suppress(NotOwner):
                while emitted < 50:
                    await writer.emit(writer.next_action(ANSWER), "")
                    emitted += 1
            return emitted

        async def succeed(turns: int = turns) -> None:
            for _ in range(turns):
                await ownership.read(CART)
            await ownership.take_over(CART, "s1")

        emitted, _ = await asyncio.gather(go_on(), succeed())
        # As many as were confirmed, then the end, and nothing after it.
        assert (await bench.ids(bench.keys.outbox(CART)))[-1] == f"{emitted + 1}-0"
        assert await bench.ownership.read(CART) == Record(FIRST, "", emitted + 1, "lost")


async def generations(bench: Bench) -> set[str]:
    """Return whose actions the outbox holds."""
    entries = await bench.call("XRANGE", bench.keys.outbox(CART), "-", "+")
    return {fields[1].decode() for _, fields in entries}


# Who cleans up


def placement(bench: Bench, name: str) -> Placement:
    """Return the placement of one supervisor, without its daemon."""
    broker = bench.supervisor()
    services = Services(broker, FakeTemplates().real, SystemClock(), 4, 60.0, name, "h")

    async def nobody_is_dead(supervisor: str) -> bool:
        return False

    standing = Standing(broker.presence, name, lambda: BEAT, lambda: broker.presence.beat(name, BEAT))
    return Placement(services, 10, nobody_is_dead, standing, 1.0)


async def die_with(bench: Bench, count: int) -> list[InstanceId]:
    """Have a supervisor die that owned so many instances."""
    owned = [InstanceId(f"{number:032x}", "m.App") for number in range(count)]
    await bench.presence.beat("dead", BEAT)
    await bench.presence.note_owned("dead", *owned)
    for instance in owned:
        await bench.claim(FIRST, "dead", instance=instance)
    await bench.call("DEL", bench.keys.beat("dead"))
    return owned


async def is_clean(bench: Bench, owned: list[InstanceId]) -> bool:
    """Return whether all are ended, once, and nothing of the dead one is left."""
    records = [await bench.ownership.read(instance) for instance in owned]
    left = [await bench.call("EXISTS", key("dead")) for key in (bench.keys.beat, bench.keys.owned)]
    known = await bench.presence.supervisors()
    return (
        records == [Record(FIRST, "", 1, "lost")] * len(owned)
        and left == [0, 0]
        and "dead" not in {*known.living, *known.dead}
    )


async def test_two_who_take_over_the_same_dead_one_at_once_end_each_instance_once(bench: Bench) -> None:
    owned = await die_with(bench, 20)
    takers = [placement(bench, "s1"), placement(bench, "s2")]
    assert sum(await asyncio.gather(*(each.take_over("dead") for each in takers))) == 20
    assert await is_clean(bench, owned)


@pytest.mark.parametrize("after", [0, 3, 5])
async def test_what_a_taker_that_died_half_way_left_is_ended_by_another(
    bench: Bench, after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    owned = await die_with(bench, 5)
    taker, ended = placement(bench, "s1"), 0
    ownership, presence = taker._broker.ownership, taker._broker.presence
    end = ownership.take_over

    async def end_some(instance: InstanceId, dead: str) -> bool:
        nonlocal ended
        if ended == after:
            raise BrokerUnavailable("it died")
        ended += 1
        return await end(instance, dead)

    async def forget_nothing(dead: str) -> None:
        raise BrokerUnavailable("it died")

    monkeypatch.setattr(ownership, "take_over", end_some)
    monkeypatch.setattr(presence, "forget", forget_nothing)
    with pytest.raises(BrokerUnavailable):
        await taker.take_over("dead")
    assert "dead" in (await bench.presence.supervisors()).dead
    assert await placement(bench, "s2").take_over("dead") == 5 - after
    assert await is_clean(bench, owned)


async def test_who_comes_back_while_it_is_taken_over_is_known_again_with_what_it_still_owns(
    bench: Bench,
) -> None:
    owned = await die_with(bench, 2)
    assert (await bench.presence.beat("dead", BEAT)).was_dead
    await placement(bench, "s1").take_over("dead")  # it had looked before that
    await bench.claim(SECOND, "dead", Claimed(FIRST, ""), owned[0])
    heard = await bench.presence.beat("dead", BEAT)
    assert heard.was_dead
    await bench.presence.note_owned("dead", owned[0])  # what it does when it hears that
    await bench.call("DEL", bench.keys.beat("dead"))
    assert await placement(bench, "s2").take_over("dead") == 1


# Stopped at any moment


class User:
    """Clicks without a pause and loads the page again whenever its app is lost; knows what was answered."""

    def __init__(self, page: PageClient, number: int) -> None:
        self._page = page
        self._number = number
        self.answered: list[str] = []

    async def run(self, is_over: asyncio.Event) -> None:
        """Click until it is over, and be answered."""
        await self._load()
        while not await self._ask("remember", "ran", []):
            pass
        while not is_over.is_set():
            token = f"c{self._number}-{self._page.sent + 1}"
            if await self._ask("append", "ran", token):
                self.answered.append(token)
        await self._load()
        assert await self._ask("recall", "ran")

    async def _ask(self, method: str, *args: Any) -> bool:
        """Click; return whether that was answered, or load the page again."""
        page = self._page
        number = await page.click(method, *args)

        async def is_told() -> bool:
            if not (page.is_connected or page.ends or page.reloads or number in page.answers):
                await page.connect()
            return bool(page.ends or page.reloads or number in page.answers)

        await until(is_told, f"click {number} of user {self._number} is answered or lost", 30)
        if number not in page.answers:
            await self._load()
            return False
        assert "err" not in page.answers[number]
        return True

    async def _load(self) -> None:
        page = self._page
        await page.disconnect()
        page.ends.clear()
        page.waiting.clear()
        page.reloads = 0

        async def is_served() -> bool:
            with contextlib.suppress(AssertionError):
                await page.open()
                return True
            return False

        await until(is_served, f"the page of user {self._number} is served", 30)
        await page.connect()

    def recorded(self) -> list[str]:
        """Return the clicks that the session holds, as the last answer shows it."""
        return re.findall(rf"c{self._number}-\d+", str(self._page.answers[self._page.sent]))


class Emissions:
    """Hears every emission of the installation."""

    def __init__(self, stack: Stack) -> None:
        self._client = redis.Redis(unix_socket_path=str(stack.server.path))
        self._pubsub = self._client.pubsub()  # type: ignore[no-untyped-call]
        self._pubsub.psubscribe("htagweb:{p*}:actions:*")
        assert self._pubsub.get_message(timeout=5)

    def take(self) -> dict[bytes, list[tuple[int, str]]]:
        """Return number and generation of all that were heard, by instance, in order."""
        heard: dict[bytes, list[tuple[int, str]]] = {}
        while (message := self._pubsub.get_message(timeout=0.2)) is not None:
            number, generation, _ = message["data"].split(b" ", 2)
            heard.setdefault(message["channel"], []).append((int(number), generation.decode()))
        return heard

    def close(self) -> None:
        """Hear no more."""
        self._pubsub.close()
        self._client.close()


def check_one_owner_at_a_time(heard: list[tuple[int, str]]) -> None:
    """Fail when a generation says something after a later one has begun, or a number comes twice or not."""
    order = list(dict.fromkeys(generation for _, generation in heard))
    assert [generation for _, generation in heard] == sorted(
        (generation for _, generation in heard), key=order.index
    ), "a former owner spoke after the next one"
    for each in order:
        numbers = [number for number, generation in heard if generation == each]
        assert numbers == list(range(1, len(numbers) + 1)), each


async def until_answered(users: list[User], count: int) -> None:
    """Wait until so many more clicks of each user are answered."""
    wanted = [len(user.answered) + count for user in users]

    def are_answered() -> bool:
        return all(len(user.answered) >= least for user, least in zip(users, wanted, strict=True))

    await until(are_answered, f"{count} more clicks of {len(users)} users are answered", 40)


async def test_a_supervisor_that_is_stopped_at_any_moment_commits_nothing_when_it_goes_on(
    make_stack: Callable[..., Stack], new_page: NewPage
) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    chance = random.Random(seed)
    stack = make_stack()
    supervisors = [stack.add_supervisor("--dead-after-s", "2") for _ in range(2)]
    base = stack.add_worker().base
    emissions, is_over = Emissions(stack), asyncio.Event()
    users = [User(new_page(base), number) for number in range(14)]
    here, later = users[:8], users[8:]
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(user.run(is_over)) for user in here]
        for supervisor in (*supervisors, supervisors[0]):
            await until_answered(here, chance.randint(1, 20))
            # Some are claimed, and have not said a word yet, when it is stopped.
            here += [later.pop(), later.pop()]
            running += [tasks.create_task(user.run(is_over)) for user in here[-2:]]
            await until_answered(here[:1], chance.randint(0, 5))
            supervisor.popen.send_signal(signal.SIGSTOP)
            try:
                await until_answered(here, chance.randint(1, 5))
            finally:
                supervisor.popen.send_signal(signal.SIGCONT)
        await until_answered(here, 20)
        is_over.set()
    heard = emissions.take()
    emissions.close()
    assert len(heard) == len(users)
    for each in heard.values():
        check_one_owner_at_a_time(each)
    assert any(len({generation for _, generation in each}) > 1 for each in heard.values())
    for user in users:
        recorded = user.recorded()
        assert len(recorded) == len(set(recorded)), "a click ran twice"
        assert [token for token in recorded if token in user.answered] == user.answered
