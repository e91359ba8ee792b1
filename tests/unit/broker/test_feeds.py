"""A feed gives every action once and in order, whatever its channel does (G3)."""

import asyncio

import msgspec
import pytest
from htagweb_broker.channels import Follower
from htagweb_broker.errors import FeedBroken, MessageError
from htagweb_broker.feeds import Feed
from htagweb_broker.keys import InstanceId, Keys
from htagweb_broker.messages import UpdatedByApp, encode
from htagweb_broker.outbox import Emission, OutboxReader, parse_published

from tests.unit.broker.fakes import CART, FakeServerClient, turns

GENERATION = "1-aa"
ACTION = UpdatedByApp(msgspec.Raw(b"{}"), msgspec.Raw(b"{}"))
BODY = encode(ACTION)


class FakeOutbox(OutboxReader):
    """The truth: numbers up to ``last``, of which those from ``first`` on are kept."""

    def __init__(self, last: int = 0, first: int = 1) -> None:
        self.first = first
        self.last = last
        self.generation = GENERATION
        self.reads = 0

    async def read_after(self, instance: InstanceId, generation: str, number: int) -> list[Emission]:
        """Return what is kept after the number."""
        self.reads += 1
        if generation != self.generation or number + 1 < self.first:
            raise FeedBroken("not kept")
        return [Emission(n, generation, ACTION) for n in range(number + 1, self.last + 1)]


def feed_over(outbox: FakeOutbox, after: int = 0) -> tuple[Feed, Follower]:
    follower = Follower("c")
    return Feed(follower, outbox, CART, GENERATION, after), follower


def publish(follower: Follower, *numbers: int, generation: str = GENERATION) -> None:
    for number in numbers:
        follower.put(f"{number} {generation} ".encode() + BODY)


async def numbers_of(feed: Feed, count: int) -> list[int]:
    found: list[int] = []
    while len(found) < count:
        found += [emission.number for emission in await asyncio.wait_for(feed.next(), 5)]
    return found


async def test_after_an_absence_of_the_server_the_feed_says_so_even_if_nothing_was_missed() -> None:
    feed, follower = feed_over(FakeOutbox(0))
    follower.put_gap()
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(feed.next())
        await turns()
        assert not waiting.done(), "messages were dropped: no absence"
        follower.interruptions += 1
        follower.put_gap()
    assert (waiting.result(), feed.interruptions) == ([], 1)


async def test_published_actions_come_without_a_read() -> None:
    outbox = FakeOutbox(3)
    feed, follower = feed_over(outbox)
    publish(follower, 1, 2, 3)
    assert await numbers_of(feed, 3) == [1, 2, 3]
    assert outbox.reads == 0


async def test_what_was_missed_comes_first_and_not_again() -> None:
    feed, follower = feed_over(FakeOutbox(3))
    publish(follower, 2, 3, 4)
    assert [emission.number for emission in await feed.missed()] == [1, 2, 3]
    assert await numbers_of(feed, 1) == [4]


async def test_a_message_that_was_lost_is_read_from_the_outbox() -> None:
    feed, follower = feed_over(FakeOutbox(4))
    publish(follower, 1, 4)
    assert await numbers_of(feed, 4) == [1, 2, 3, 4]


async def test_what_the_outbox_gave_ahead_of_the_channel_is_not_given_twice() -> None:
    feed, follower = feed_over(FakeOutbox(5))
    publish(follower, 3)
    assert await numbers_of(feed, 5) == [1, 2, 3, 4, 5]
    publish(follower, 4, 5, 6)
    assert await numbers_of(feed, 1) == [6]


async def test_a_duplicate_is_dropped() -> None:
    feed, follower = feed_over(FakeOutbox(3))
    publish(follower, 1, 1, 2, 1, 2, 3)
    assert await numbers_of(feed, 3) == [1, 2, 3]


async def test_after_a_gap_the_outbox_is_read() -> None:
    outbox = FakeOutbox(2)
    feed, follower = feed_over(outbox)
    follower.put_gap()
    assert await numbers_of(feed, 2) == [1, 2]
    assert outbox.reads == 1


async def test_a_gap_in_which_nothing_happened_is_no_action() -> None:
    feed, follower = feed_over(FakeOutbox(0))
    follower.put_gap()
    waiting = asyncio.gather(feed.next())
    await turns()
    assert not waiting.done()
    publish(follower, 1)
    assert [emission.number for emission in (await waiting)[0]] == [1]


async def test_a_feed_that_cannot_be_completed_breaks() -> None:
    feed, follower = feed_over(FakeOutbox(9, first=5))
    publish(follower, 9)
    with pytest.raises(FeedBroken):
        await feed.next()


async def test_a_gap_that_hides_a_new_generation_breaks_the_feed() -> None:
    outbox = FakeOutbox(9)
    feed, follower = feed_over(outbox)
    outbox.generation = "2-bb"
    follower.put_gap()
    with pytest.raises(FeedBroken):
        await feed.next()


async def test_an_action_of_a_new_generation_breaks_the_feed() -> None:
    outbox = FakeOutbox(1)
    feed, follower = feed_over(outbox)
    outbox.generation = "2-bb"
    publish(follower, 1, generation="2-bb")
    with pytest.raises(FeedBroken):
        await feed.next()


async def test_a_late_action_of_the_generation_before_breaks_nothing() -> None:
    # A second follower of a channel starts while the first one's messages are still under way.
    feed, follower = feed_over(FakeOutbox(1))
    publish(follower, 8, generation="0-zz")
    publish(follower, 1)
    assert await numbers_of(feed, 1) == [1]


# The channel's messages


def test_a_published_action_is_read_with_its_number_and_generation() -> None:
    assert parse_published(b"7 1-aa " + BODY).number == 7
    assert parse_published(b"7 1-aa " + BODY).generation == "1-aa"


@pytest.mark.parametrize(
    "data", [b"", b"7", b"7 g", b"x g " + BODY, b"7 \xff " + BODY, b"7 g {}", b"7 g \xff", b"7  " + BODY[:5]]
)
def test_what_is_no_published_action_is_a_message_error(data: bytes) -> None:
    with pytest.raises(MessageError):
        parse_published(data)


# The outbox's reader


class Outbox:
    """An outbox that a test fills entry by entry."""

    def __init__(self, client: FakeServerClient) -> None:
        self.client = client
        self.keys = Keys()
        self.reader = OutboxReader(client, self.keys)

    async def hold(self, *numbers: int, out: int, generation: str = GENERATION) -> None:
        """Keep entries with these numbers, and a record at action ``out``."""
        for number in numbers:
            key = self.keys.outbox(CART)
            await self.client.call("XADD", key, f"{number}-0", "g", generation, "m", BODY)
        await self.client.call("HSET", self.keys.instance(CART), "generation", GENERATION, "out", out)

    async def after(self, number: int) -> list[int]:
        """Return the numbers after ``number``."""
        return [e.number for e in await self.reader.read_after(CART, GENERATION, number)]


async def test_the_outbox_gives_what_comes_after_a_number(memory: FakeServerClient) -> None:
    outbox = Outbox(memory)
    await outbox.hold(1, 2, 3, out=3)
    assert [await outbox.after(n) for n in range(4)] == [[1, 2, 3], [2, 3], [3], []]


async def test_one_action_between_the_two_reads_is_no_gap(memory: FakeServerClient) -> None:
    outbox = Outbox(memory)
    await outbox.hold(1, 2, 3, out=2)
    assert [await outbox.after(0), await outbox.after(2)] == [[1, 2, 3], [3]]


@pytest.mark.parametrize(
    ("kept", "out", "after"),
    [((5, 6), 6, 3), ((1, 3), 3, 0), ((), 5, 2), ((1,), 1, 4), ((1, 2), 3, 0), ((), 3, 2)],
)
async def test_the_outbox_hides_no_gap(
    memory: FakeServerClient, kept: tuple[int, ...], out: int, after: int
) -> None:
    outbox = Outbox(memory)
    await outbox.hold(*kept, out=out)
    with pytest.raises(FeedBroken):
        await outbox.after(after)


async def test_an_instance_that_is_gone_breaks_the_feed(memory: FakeServerClient) -> None:
    with pytest.raises(FeedBroken):
        await Outbox(memory).after(0)


async def test_an_entry_of_another_generation_breaks_the_feed(memory: FakeServerClient) -> None:
    outbox = Outbox(memory)
    await outbox.hold(1, out=1, generation="0-zz")
    with pytest.raises(FeedBroken):
        await outbox.after(0)
