"""Each entry is delivered once, in order, whatever order publications, answers and gaps come in."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from htagweb_broker import inboxes as module
from htagweb_broker.channels import Channels
from htagweb_broker.connection import Argument, Client
from htagweb_broker.errors import BrokerRefused, BrokerUnavailable
from htagweb_broker.inboxes import (
    BEGIN,
    READ_AT_ONCE,
    READ_COUNT,
    RETRY_S,
    Entry,
    Inboxes,
    entry_after,
    parse_entry,
    parse_order,
    parse_published,
)
from htagweb_broker.keys import InstanceId, Keys

from tests.support.waiting import until
from tests.unit.broker.fakes import CART, SESSION, FakeClock, FakeEndpoint, turns

KEYS = Keys()
CHANNEL = KEYS.inboxes("s1")
OTHER = InstanceId(SESSION, "shop.Other")


def an_instance(number: int) -> InstanceId:
    return InstanceId(f"{number:08x}{'0' * 56}", "m.A")


class FakeStreams(Client):
    """A server's inboxes; an answer holds what was there when it was asked, and may be held back."""

    def __init__(self) -> None:
        self.streams: dict[str, list[int]] = {}
        self.asked: list[list[str]] = []
        self.errors: list[Exception] = []
        self.is_open = asyncio.Event()
        self.is_open.set()

    async def call_all(self, *commands: tuple[Argument, ...]) -> list[Any]:
        """Answer XRANGE."""
        self.asked.append([str(key) for _, key, *_ in commands])
        answers = [self._range(*map(str, command)) for command in commands]
        await self.is_open.wait()
        if self.errors:
            raise self.errors.pop(0)
        return answers

    def _range(self, name: str, key: str, after: str, end: str, *count: str) -> list[Any]:
        assert (name, after[0], end, count) == ("XRANGE", "(", "+", ("COUNT", str(READ_COUNT)))
        beyond = parse_order(after[1:])
        found = [each for each in self.streams.get(key, []) if (each, 0) > beyond]
        return [[b"%d-0" % each, [b"m", b"body", b"v", b""]] for each in found[:READ_COUNT]]


class Reading:
    """Inboxes between a fake server and a connection of which the test is the other end."""

    def __init__(self) -> None:
        self.streams = FakeStreams()
        self.endpoint = FakeEndpoint()
        self.clock = FakeClock()
        self.channels = Channels(self.endpoint, self.clock)
        self.delivered: list[tuple[InstanceId, list[str]]] = []
        self.inboxes = Inboxes(
            self.channels, self.streams, KEYS, channel=CHANNEL, deliver=self.deliver, clock=self.clock
        )

    def deliver(self, instance: InstanceId, entries: list[Entry]) -> None:
        """Note what was delivered."""
        self.delivered.append((instance, [entry.id for entry in entries]))

    def of(self, instance: InstanceId = CART) -> list[int]:
        """Return the numbers that were delivered, in order."""
        return [parse_order(each)[0] for one, ids in self.delivered if one == instance for each in ids]

    def append(self, number: int, instance: InstanceId = CART) -> bytes:
        """Append to the stream as the scripts do; return what they publish."""
        stream = self.streams.streams.setdefault(KEYS.inbox(instance), [])
        before = b"%d-0" % stream[-1] if stream else b""
        stream.append(number)
        return b"%s %s %d-0 v1 a body" % (instance.dump().encode(), before, number)

    def trim(self, instance: InstanceId = CART) -> None:
        """Remove everything, as an answer does."""
        self.streams.streams[KEYS.inbox(instance)].clear()

    async def publish(self, *messages: bytes) -> None:
        """Bring what was published."""
        for message in messages:
            self.push(b"message", CHANNEL.encode(), message)
        await turns()

    def push(self, *parts: bytes) -> None:
        """Send a message over the subscriber's connection."""
        connection = self.channels._connection
        assert connection is not None
        body = b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)
        connection.data_received(b"*%d\r\n%s" % (len(parts), body))

    async def subscribed(self, connections: int = 1) -> None:
        """Confirm the subscription of a number of connections."""
        await until(lambda: len(self.endpoint.transports) >= connections, f"connection {connections}", 5)
        await turns()
        self.push(b"subscribe", CHANNEL.encode(), b"1")
        await turns()

    async def lose(self) -> None:
        """Lose the subscriber's connection."""
        assert self.channels._connection is not None
        self.channels._connection.connection_lost(None)
        await turns()

    @asynccontextmanager
    async def hold_answers(self) -> AsyncIterator[None]:
        """Hold back what is read within the block."""
        self.streams.is_open.clear()
        yield
        self.streams.is_open.set()
        await turns()


@asynccontextmanager
async def running(made: Reading) -> AsyncIterator[Reading]:
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(made.inboxes.run())
        await turns()
        yield made
        task.cancel()


@asynccontextmanager
async def reading() -> AsyncIterator[Reading]:
    async with running(Reading()) as made:
        await made.subscribed()
        yield made


# What comes


def test_an_entry_has_its_id_its_body_and_the_sessions_version() -> None:
    assert parse_entry([b"5-0", [b"m", b"{}", b"v", b"v1"]]) == Entry("5-0", b"{}", "v1")


def test_an_entry_without_its_fields_has_an_empty_body() -> None:
    assert parse_entry([b"5-0", []]) == Entry("5-0", b"", "")


def test_what_is_published_has_the_instance_and_the_entry_before() -> None:
    message = CART.dump().encode() + b' 4-7 5-0 v1 {"a": " b "}'
    entry = Entry("5-0", b'{"a": " b "}', "v1")
    assert parse_published(message) == (CART.dump(), (4, 7), (5, 0), entry)


def test_before_the_first_entry_and_without_a_session_names_are_empty() -> None:
    message = CART.dump().encode() + b"  5-0  {}"
    assert parse_published(message) == (CART.dump(), (0, 0), (5, 0), Entry("5-0", b"{}", ""))


@pytest.mark.parametrize("message", [b"", b"one two", b"i x 5-0 v {}", b"i  five v {}", b"\xff  5-0 v {}"])
async def test_what_no_script_publishes_is_told_in_the_log_and_harms_nothing(
    message: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with reading() as made:
        made.inboxes.add(CART, BEGIN)
        await turns()
        await made.publish(message, made.append(1))
        assert made.of() == [1]
        assert "expected 'instance before entry version message'" in caplog.text


def test_what_comes_after_an_entry_and_before_any_other() -> None:
    assert (entry_after("5-3"), entry_after("")) == ("5-4", "")


# What is published, and what is read


async def test_what_waited_is_read_and_what_comes_is_delivered_without_a_read() -> None:
    async with reading() as made:
        for number in (1, 2, 3):
            made.append(number)
        made.inboxes.add(CART, "1-0")
        await turns()
        reads = len(made.streams.asked)
        await made.publish(made.append(4), made.append(5))
        assert made.delivered == [(CART, ["2-0", "3-0"]), (CART, ["4-0"]), (CART, ["5-0"])]
        assert len(made.streams.asked) == reads
        assert made.inboxes.position(CART) == "5-0"


async def test_what_follows_an_entry_that_was_not_published_waits_for_it() -> None:
    async with reading() as made:
        made.inboxes.add(CART, BEGIN)
        await turns()
        made.append(1)
        await made.publish(made.append(2))
        assert made.of() == [1, 2]


async def test_what_is_published_while_its_stream_is_read_is_delivered_once() -> None:
    async with reading() as made:
        made.append(1)
        async with made.hold_answers():
            made.inboxes.add(CART, BEGIN)
            await turns()
            await made.publish(made.append(2), made.append(3))
            assert made.of() == []
        assert made.of() == [1, 2, 3]


async def test_an_answer_that_is_overtaken_by_what_is_published_brings_nothing_twice() -> None:
    async with reading() as made:
        made.inboxes.add(CART, BEGIN)
        await turns()
        message = made.append(1)
        async with made.hold_answers():
            made.inboxes.look(CART)
            await turns()
            await made.publish(message)
            assert made.of() == [1]
        assert made.of() == [1]


async def test_what_is_published_of_entries_that_were_read_already_is_dropped() -> None:
    async with reading() as made:
        made.inboxes.add(CART, BEGIN)
        messages = [made.append(1), made.append(2)]
        await turns()
        await made.publish(*messages)
        assert made.of() == [1, 2]


async def test_an_entry_may_follow_one_that_was_dealt_with_and_removed() -> None:
    async with reading() as made:
        made.inboxes.add(CART, BEGIN)
        await turns()
        await made.publish(made.append(1))
        made.trim()
        await made.publish(made.append(2))
        assert made.of() == [1, 2]


async def test_more_than_one_read_brings_is_read_to_the_end() -> None:
    async with reading() as made:
        everything = list(range(1, 3 * READ_COUNT))
        for number in everything:
            message = made.append(number)
        async with made.hold_answers():
            made.inboxes.add(CART, BEGIN)
            await turns()
            await made.publish(message)
        assert made.of() == everything


async def test_many_inboxes_are_read_some_at_a_time() -> None:
    async with reading() as made:
        made.streams.asked.clear()
        for number in range(2 * READ_AT_ONCE + 1):
            made.inboxes.add(an_instance(number), BEGIN)
        await turns()
        assert [len(keys) for keys in made.streams.asked] == [READ_AT_ONCE, READ_AT_ONCE, 1]


async def test_now_and_then_all_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_S", 0.01)
    async with reading() as made:
        made.inboxes.add(CART, BEGIN)
        await turns()
        made.append(1)
        await until(lambda: made.of() == [1], "it is found", 5)


async def test_who_is_told_to_look_finds_what_was_not_published() -> None:
    async with reading() as made:
        made.inboxes.add(CART, BEGIN)
        await turns()
        made.append(1)
        made.inboxes.look(CART)
        await turns()
        assert made.of() == [1]


# Who comes and goes


async def test_what_is_not_read_is_not_delivered_and_has_no_position() -> None:
    async with reading() as made:
        await made.publish(made.append(1))
        made.inboxes.look(CART)
        made.inboxes.remove(CART)
        await turns()
        assert made.delivered == []
        with pytest.raises(KeyError):
            made.inboxes.position(CART)


async def test_an_answer_for_a_removed_inbox_is_dropped() -> None:
    async with reading() as made:
        made.append(1)
        made.append(2, OTHER)
        async with made.hold_answers():
            made.inboxes.add(CART, BEGIN)
            made.inboxes.add(OTHER, BEGIN)
            await turns()
            made.inboxes.remove(CART)
        assert made.delivered == [(OTHER, ["2-0"])]


async def test_an_inbox_that_was_removed_and_added_anew_goes_on_where_it_was_told() -> None:
    async with reading() as made:
        for number in (1, 2, 3):
            made.append(number)
        async with made.hold_answers():
            made.inboxes.add(CART, BEGIN)
            await turns()
            made.inboxes.remove(CART)
            made.inboxes.add(CART, "2-0")
        assert made.of() == [3]


# Gaps and interruptions


async def test_what_is_appended_between_a_read_and_the_first_confirmation_is_not_skipped() -> None:
    async with running(Reading()) as made:
        made.inboxes.add(CART, BEGIN)
        await turns()
        made.append(1)
        async with made.hold_answers():
            await made.subscribed()
            await made.publish(made.append(2))
        assert made.of() == [1, 2]


async def test_while_a_first_read_is_under_way_a_confirmation_has_all_read_once_more() -> None:
    async with running(Reading()) as made:
        async with made.hold_answers():
            made.inboxes.add(CART, BEGIN)
            await turns()
            made.append(1)
            await made.subscribed()
        assert made.of() == [1]


async def test_after_a_lost_connection_inboxes_are_read_from_their_beginning() -> None:
    # The server may have lost the last entries, and give lower ids to those that follow.
    async with reading() as made:
        made.inboxes.add(CART, BEGIN)
        await turns()
        await made.publish(made.append(7))
        await made.lose()
        made.trim()
        made.append(3)
        await made.subscribed(2)
        assert made.delivered == [(CART, ["7-0"]), (CART, []), (CART, ["3-0"])]
        await made.publish(made.append(4))
        assert made.of() == [7, 3, 4]


async def test_an_answer_from_before_an_interruption_counts_no_more() -> None:
    async with reading() as made:
        for number in (1, 9):
            made.append(number)
        async with made.hold_answers():
            made.inboxes.add(CART, "1-0")
            await turns()
            await made.lose()
            await made.subscribed(2)
        assert made.delivered == [(CART, []), (CART, ["1-0", "9-0"])]


async def test_who_runs_again_goes_on_where_it_was() -> None:
    async with reading() as made:
        made.inboxes.add(CART, BEGIN)
        await turns()
        await made.publish(made.append(1))
        made.append(2)
        made.streams.is_open.clear()
        made.inboxes.look(CART)
        await turns()  # ended while its stream is read
    made.streams.is_open.set()
    made.append(3)
    async with running(made):
        await made.subscribed(2)
        assert made.delivered == [(CART, ["1-0"]), (CART, ["2-0", "3-0"])]


@pytest.mark.parametrize(
    "error",
    [
        BrokerUnavailable("lost"),
        BrokerRefused("WRONGTYPE not a stream"),
        RuntimeError("the handler is closed"),
    ],
)
async def test_a_read_that_fails_is_told_in_the_log_and_begun_anew(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    async with reading() as made:
        made.append(1)
        made.streams.errors.append(error)
        made.inboxes.add(CART, "1-0")
        await turns()
        assert made.delivered == [(CART, []), (CART, ["1-0"])]
        assert RETRY_S in made.clock.slept
        assert str(error) in caplog.text


async def test_without_a_subscription_all_is_read_now_and_then(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "LOOK_S", 0.01)
    monkeypatch.setattr("htagweb_broker.channels.SUBSCRIBE_TIMEOUT_S", 0.01)
    async with running(Reading()) as made:
        made.inboxes.add(CART, BEGIN)
        await turns()
        made.append(1)
        await until(lambda: made.of() == [1], "it is found", 5)
        await until(lambda: "what is published of inboxes" in caplog.text, "it is told", 5)


# Everything at once


def in_any_order(chance: random.Random) -> Iterator[str]:
    steps = ["append"] * 8 + ["publish"] * 8 + ["lose a message", "trim", "answer", "answer", "hold", "look"]
    while True:
        yield chance.choice(steps)


@pytest.mark.parametrize("seed", range(20))
async def test_in_any_order_each_entry_is_delivered_once_and_in_order(seed: int) -> None:
    steps, on_their_way, number = in_any_order(random.Random(seed)), list[bytes](), 0
    async with reading() as made:
        made.inboxes.add(CART, BEGIN)
        while number < 100:
            match next(steps):
                case "append":
                    number += 1
                    on_their_way.append(made.append(number))
                case "publish" | "lose a message" as step if on_their_way:
                    message = on_their_way.pop(0)
                    await made.publish(*[message] * (step == "publish"))
                case "answer":
                    made.streams.is_open.set()
                case "hold":
                    made.streams.is_open.clear()
                case "look":
                    made.inboxes.look(CART)
                case "trim":
                    stream = made.streams.streams.get(KEYS.inbox(CART), [])
                    del stream[
                        : sum((each, 0) <= parse_order(made.inboxes.position(CART)) for each in stream)
                    ]
            await turns(1)
        made.streams.is_open.set()
        await made.publish(*on_their_way)
        made.inboxes.look(CART)
        await turns()
        assert made.of() == list(range(1, 101))
