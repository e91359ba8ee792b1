"""What flows through real servers: inboxes to their owner, hints to followers, actions to feeds (G3)."""

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio
from htagweb_broker import channels
from htagweb_broker.broker import SupervisorBroker, WebBroker
from htagweb_broker.channels import GAP
from htagweb_broker.errors import BrokerError, FeedBroken
from htagweb_broker.feeds import Feed
from htagweb_broker.inboxes import BEGIN, Entry, parse_entry, parse_order, parse_published
from htagweb_broker.keys import InstanceId
from htagweb_broker.messages import PageReply
from htagweb_broker.ownership import Claimed

from tests.support.brokers import (
    CART,
    KINDS,
    OPEN,
    SESSION,
    UPDATE,
    Bench,
    background,
    interact,
    running_server,
)
from tests.support.processes import BrokerServer
from tests.support.waiting import until


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture
def server(kind: str, tmp_path: Path) -> Iterator[BrokerServer]:
    with running_server(kind, tmp_path / "broker") as running:
        yield running


@pytest_asyncio.fixture
async def bench(server: BrokerServer) -> AsyncIterator[Bench]:
    made = Bench(server.url)
    yield made
    made.close()


PROMPT_S = 3.0
"""Below the 5 s between two looks at all inboxes, and enough for a busy machine."""


# Inboxes


class Reading:
    """A supervisor's inboxes, and what they delivered."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.delivered: dict[InstanceId, list[str]] = {}
        self.broker: SupervisorBroker = bench.supervisor(self.deliver)
        self.inboxes = self.broker.inboxes

    def deliver(self, instance: InstanceId, entries: list[Entry]) -> None:
        """Note what was delivered."""
        self.delivered.setdefault(instance, []).extend(entry.id for entry in entries)

    async def own(self, *instances: InstanceId) -> None:
        """Claim and read."""
        for instance in instances:
            await self.bench.claim("1-aa", instance=instance)
            self.inboxes.add(instance, BEGIN)

    async def ask(self, instance: InstanceId) -> None:
        """Append a message and wait until it is delivered."""
        before = len(self.delivered.get(instance, []))
        await self.bench.inbox.open(instance, OPEN)
        await until(lambda: len(self.delivered.get(instance, [])) > before, "it is delivered", PROMPT_S)


def instances(count: int) -> list[InstanceId]:
    return [InstanceId(f"{number:08x}{'0' * 56}", "m.A") for number in range(count)]


@asynccontextmanager
async def reading(bench: Bench) -> AsyncIterator[Reading]:
    """Give inboxes that are subscribed to."""
    made, channel = Reading(bench), bench.keys.inboxes("s1")

    async def is_heard() -> bool:
        return bool(await bench.call("PUBLISH", channel, f"{CART.dump()}  0-1  nobody's"))

    async with background(made.inboxes.run):
        await until(is_heard, "it is subscribed", 5)
        yield made


async def test_what_is_in_an_inbox_is_delivered_after_the_given_entry(bench: Bench) -> None:
    for _ in range(3):
        await bench.inbox.open(CART, OPEN)
    first, *rest = await bench.ids(bench.keys.inbox(CART))
    async with reading(bench) as made:
        made.inboxes.add(CART, first)
        await until(lambda: made.delivered.get(CART) == rest, "the others are delivered", PROMPT_S)


async def test_what_waits_in_an_inbox_after_an_entry_is_read_and_stays(bench: Bench) -> None:
    inboxes = bench.supervisor().inboxes
    assert await inboxes.waiting(CART, BEGIN) == []
    for _ in range(3):
        await bench.inbox.open(CART, OPEN)
    first, *rest = await bench.ids(bench.keys.inbox(CART))
    for _ in range(2):
        assert [entry.id for entry in await inboxes.waiting(CART, first)] == rest


async def test_an_append_tells_its_owner_what_it_is_and_what_was_before(bench: Bench) -> None:
    before = await bench.sessions.write(SESSION, {"a": b"1"})
    await bench.owned()
    channel = bench.keys.inboxes("s1")
    async with channels_of(bench) as broker, broker.channels.follow(channel) as told:
        await bench.inbox.open(CART, OPEN)
        await bench.inbox.submit(CART, interact("1-aa"), 1000)
        messages: list[object] = []
        while len(messages) < 2:
            message = await asyncio.wait_for(told.get(), 5)
            assert message is not GAP
            messages.append(parse_published(message))
    raw = await bench.call("XRANGE", bench.keys.inbox(CART), "-", "+")
    first, second = map(parse_entry, raw)
    assert first.session_version == before[1] != ""
    assert messages == [
        (CART.dump(), (0, 0), parse_order(first.id), first),
        (CART.dump(), parse_order(first.id), parse_order(second.id), second),
    ]


async def test_what_comes_for_an_instance_is_delivered_without_a_read(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with reading(bench) as made:
        await made.own(CART)
        await made.ask(CART)
        monkeypatch.setattr(made.inboxes, "_client", None)  # a read would fail
        for _ in range(20):
            await made.ask(CART)
        assert made.delivered[CART] == await bench.ids(bench.keys.inbox(CART))


async def test_an_inbox_is_delivered_promptly_from_the_moment_when_it_is_added(bench: Bench) -> None:
    async with reading(bench) as made:
        one, *others = instances(20)
        await made.own(one)
        for instance in others:
            await made.ask(one)
            await made.own(instance)
            await made.ask(instance)


async def test_a_hundred_inboxes_are_all_delivered_by_two_connections(
    bench: Bench, server: BrokerServer
) -> None:
    many = instances(100)
    async with reading(bench) as made:
        await made.own(*many)
        before = server.command("CLIENT LIST").count(b" addr=")
        await asyncio.gather(*(bench.inbox.open(instance, OPEN) for instance in many for _ in range(3)))
        await until(lambda: sum(map(len, made.delivered.values())) >= 300, "all are delivered", 5)
        assert made.delivered == {i: await bench.ids(bench.keys.inbox(i)) for i in many}
        assert server.command("CLIENT LIST").count(b" addr=") == before


async def test_a_removed_inbox_is_not_delivered(bench: Bench) -> None:
    one, other = instances(2)
    async with reading(bench) as made:
        await made.own(one, other)
        await made.ask(one)
        made.inboxes.remove(one)
        await bench.inbox.open(one, OPEN)
        await made.ask(other)
        assert len(made.delivered[one]) == 1


async def test_what_was_appended_while_no_record_named_the_owner_is_delivered_in_its_order(
    bench: Bench,
) -> None:
    async with reading(bench) as made:
        made.inboxes.add(CART, BEGIN)
        await bench.inbox.open(CART, OPEN)  # published to nobody
        await bench.owned()
        await made.ask(CART)
        await until(lambda: len(made.delivered[CART]) == 2, "both are delivered", PROMPT_S)
        assert made.delivered[CART] == await bench.ids(bench.keys.inbox(CART))


@pytest.mark.parametrize("kinds", [["normal"], ["pubsub"], ["normal", "pubsub"]], ids=" and ".join)
async def test_inboxes_go_on_after_their_connections_were_killed(
    bench: Bench, server: BrokerServer, kinds: list[str]
) -> None:
    async with reading(bench) as made:
        await made.own(CART)
        for _ in range(3):
            await made.ask(CART)
            for each in kinds:
                server.command(f"CLIENT KILL TYPE {each}")
            await until(lambda: opens(bench), "the client works again", 5)
        sent = await bench.ids(bench.keys.inbox(CART))
        await until(
            lambda: _each_once(made.delivered.get(CART, [])) == sent, "all are delivered, in order", 5
        )


def _each_once(entries: list[str]) -> list[str]:
    # What is in an inbox still is delivered again over the next connection.
    return sorted(set(entries), key=entries.index)


async def opens(bench: Bench) -> bool:
    try:
        return await bench.inbox.open(CART, OPEN) != "busy"
    except BrokerError:
        return False


async def test_inboxes_of_a_frozen_server_go_on_when_it_thaws(
    bench: Bench, server: BrokerServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channels, "PING_S", 0.2)
    async with reading(bench) as made:
        await made.own(CART)
        await made.ask(CART)
        assert server.process is not None
        first = made.inboxes._channels._connection
        assert first is not None
        server.process.popen.send_signal(signal.SIGSTOP)
        try:
            await until(lambda: not first.is_open, "the silence is noticed", 5)
        finally:
            server.process.popen.send_signal(signal.SIGCONT)
        await until(lambda: opens(bench), "the client works again", 5)
        sent = await bench.ids(bench.keys.inbox(CART))
        await until(lambda: _each_once(made.delivered[CART]) == sent, "all are delivered", 5)


# Channels


@asynccontextmanager
async def channels_of(bench: Bench) -> AsyncIterator[WebBroker]:
    broker = bench.web()
    async with background(broker.channels.run):
        yield broker


async def test_what_is_published_after_the_entry_arrives(bench: Bench) -> None:
    async with channels_of(bench) as broker:
        for number in range(20):
            async with broker.channels.follow(f"c{number}") as follower:
                assert await bench.call("PUBLISH", f"c{number}", "hello") == 1
                assert await asyncio.wait_for(follower.get(), 5) == b"hello"


async def test_who_leaves_is_no_subscriber_any_more(bench: Bench) -> None:
    async with channels_of(bench) as broker:
        async with broker.channels.follow("c"):
            assert await bench.call("PUBSUB", "NUMSUB", "c") == [b"c", 1]
        await until(lambda: nobody_listens(bench), "the subscription ends", 5)


async def nobody_listens(bench: Bench) -> bool:
    return bool(await bench.call("PUBSUB", "NUMSUB", "c") == [b"c", 0])


async def test_after_a_restart_followers_are_told_of_a_gap_and_hear_again(
    bench: Bench, server: BrokerServer
) -> None:
    async with channels_of(bench) as broker, broker.channels.follow("c") as follower:
        server.kill()
        assert await asyncio.wait_for(follower.get(), 5) is GAP
        server.start()
        # The last gap is told when the new subscription is confirmed: nothing is missed from here on.
        assert await asyncio.wait_for(follower.get(), 5) is GAP
        assert await bench.call("PUBLISH", "c", "hello") == 1
        assert await asyncio.wait_for(follower.get(), 5) == b"hello"


async def test_a_frozen_server_is_noticed_by_the_channels(
    bench: Bench, server: BrokerServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channels, "PING_S", 0.1)
    async with channels_of(bench) as broker, broker.channels.follow("c") as follower:
        assert server.process is not None
        server.process.popen.send_signal(signal.SIGSTOP)
        try:
            assert await asyncio.wait_for(follower.get(), 5) is GAP
        finally:
            server.process.popen.send_signal(signal.SIGCONT)
        assert await asyncio.wait_for(follower.get(), 10) is GAP
        assert await bench.call("PUBLISH", "c", "hello") >= 1
        assert await asyncio.wait_for(follower.get(), 5) == b"hello"


async def test_a_reply_wakes_the_request_that_waits_for_it(bench: Bench) -> None:
    await bench.owned()
    page = PageReply("1-aa", "<p>")
    async with channels_of(bench) as broker, background(broker.replies.run):
        await until(lambda: listened(bench, "w1"), "the worker listens", 5)
        with broker.replies.expect("r1") as hint:
            await bench.replies.reply(CART, "1-aa", request="r1", worker="w1", reply=page, taken="", now_ms=1)
            await asyncio.wait_for(hint.wait(), 5)
            replied = await broker.replies.read(SESSION, "r1")
            assert replied is not None
            assert replied.reply == page


async def test_an_emission_wakes_the_request_that_waits_for_it(bench: Bench) -> None:
    writer = await bench.owned()
    async with channels_of(bench) as broker, background(broker.replies.run):
        await until(lambda: listened(bench, "w1"), "the worker listens", 5)
        with broker.replies.expect("page:1") as hint:
            await writer.emit(writer.next_action(UPDATE), "", ("w1", "page:1"))
            await asyncio.wait_for(hint.wait(), 5)


async def listened(bench: Bench, worker: str) -> bool:
    key = bench.keys.web(worker)
    return bool(await bench.call("PUBSUB", "NUMSUB", key) == [key.encode(), 1])


# Feeds


async def collect(feed: Feed, last: int) -> list[int]:
    """Return the numbers up to the last one, as a tab sees them."""
    numbers = [emission.number for emission in await feed.missed()]
    while not numbers or numbers[-1] < last:
        numbers += [emission.number for emission in await feed.next()]
    return numbers


async def test_a_feed_gives_what_was_and_what_comes(bench: Bench) -> None:
    writer = await bench.owned()
    await bench.emit(writer, 5)
    async with channels_of(bench) as broker, broker.feeds.follow(CART, "1-aa", 2) as feed:
        collecting = asyncio.gather(collect(feed, 10))
        await bench.emit(writer, 5)
        assert [*await asyncio.wait_for(collecting, 5)] == [list(range(3, 11))]


async def test_an_emission_counts_the_workers_that_listen(bench: Bench) -> None:
    writer = await bench.owned()
    assert await bench.emit(writer) == 0
    async with channels_of(bench) as broker, broker.feeds.follow(CART, "1-aa", 0):
        assert await bench.emit(writer) == 1


async def test_a_feed_misses_nothing_while_its_connection_is_killed_again_and_again(
    bench: Bench, server: BrokerServer
) -> None:
    writer = await bench.owned()
    async with channels_of(bench) as broker, broker.feeds.follow(CART, "1-aa", 0) as feed:
        collecting = asyncio.gather(collect(feed, 200))
        for number in range(1, 201):
            await bench.emit(writer)
            if number % 20 == 0:
                server.command("CLIENT KILL TYPE pubsub")
            if number % 50 == 0:
                await until(lambda: followed(bench), "somebody follows again", 5)
        assert [*await asyncio.wait_for(collecting, 20)] == [list(range(1, 201))]


async def followed(bench: Bench) -> bool:
    key = bench.keys.actions(CART)
    return bool(await bench.call("PUBSUB", "NUMSUB", key) == [key.encode(), 1])


async def test_many_feeds_of_one_instance_all_see_everything(bench: Bench, server: BrokerServer) -> None:
    writer = await bench.owned()

    async def tab(broker: WebBroker) -> list[int]:
        async with broker.feeds.follow(CART, "1-aa", 0) as feed:
            return await collect(feed, 100)

    async with channels_of(bench) as one, channels_of(bench) as two:
        tabs = asyncio.gather(*(tab(broker) for broker in (one, two) for _ in range(5)))
        for number in range(100):
            await bench.emit(writer)
            if number == 50:
                server.command("CLIENT KILL TYPE pubsub")
        assert await asyncio.wait_for(tabs, 20) == [list(range(1, 101))] * 10


async def test_a_feed_that_is_behind_what_is_kept_breaks(bench: Bench) -> None:
    writer = await bench.owned()
    await bench.emit(writer, 300)
    async with channels_of(bench) as broker, broker.feeds.follow(CART, "1-aa", 10) as feed:
        with pytest.raises(FeedBroken):
            await feed.missed()


async def test_a_feed_breaks_when_another_generation_is_claimed_and_emits(bench: Bench) -> None:
    await bench.owned()
    async with channels_of(bench) as broker, broker.feeds.follow(CART, "1-aa", 0) as feed:
        await bench.claim("2-bb", "s2", Claimed("1-aa", "s1"))
        await bench.emit(bench.writer("2-bb"))
        with pytest.raises(FeedBroken):
            await asyncio.wait_for(feed.next(), 5)


async def test_a_feed_of_a_generation_that_is_gone_breaks_at_once(bench: Bench) -> None:
    await bench.claim("2-bb")
    async with channels_of(bench) as broker, broker.feeds.follow(CART, "1-aa", 0) as feed:
        with pytest.raises(FeedBroken):
            await feed.missed()


async def test_a_feed_over_a_server_that_lost_its_data_breaks(bench: Bench, server: BrokerServer) -> None:
    await bench.emit(await bench.owned(), 3)
    async with channels_of(bench) as broker, broker.feeds.follow(CART, "1-aa", 3) as feed:
        server.kill()
        server.start()
        with pytest.raises((FeedBroken, BrokerError)):
            await asyncio.wait_for(feed.next(), 10)
