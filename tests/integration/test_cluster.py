"""What a cluster of three nodes does to the protocol, beyond what one server does: what works, what not."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from htagweb_broker import broker as sides
from htagweb_broker.clock import SystemClock
from htagweb_broker.connection import Client, Endpoint
from htagweb_broker.errors import BrokerRefused
from htagweb_broker.inbox import Opened
from htagweb_broker.inspection import Inspector
from htagweb_broker.keys import PARTITIONS, InstanceId, Keys
from htagweb_broker.messages import PageReply
from htagweb_broker.ownership import Ownership

from tests.support.brokers import OPEN, background
from tests.support.cluster import NODES, Cluster, ClusterBench, ClusterClient
from tests.support.waiting import until

PAGE = PageReply("1-aa", "<p>")
EVERYWHERE = [InstanceId(f"{number:08x}{'0' * 56}", "m.A") for number in range(PARTITIONS)]
"""One instance of each partition."""
PROMPT_S = 2.0
"""Below the 5 s between two looks at all inboxes."""
number_of = Cluster.number_of


@pytest_asyncio.fixture
async def bench(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ClusterBench]:
    """Give both sides of the broker on the empty cluster."""
    monkeypatch.setattr(sides, "Client", lambda endpoint: ClusterClient(cluster))
    made = ClusterBench(cluster)
    await made.call("FLUSHALL")
    yield made
    made.close()


def on_node(number: int) -> InstanceId:
    """Return an instance whose keys the node has."""
    keys = Keys()
    return next(each for each in EVERYWHERE if number_of(keys.instance(each)) == number)


def test_partitions_spread_over_the_nodes() -> None:
    counts = Counter(number_of(Keys().instance(each)) for each in EVERYWHERE)
    assert set(counts) == set(range(NODES))
    assert min(counts.values()) >= PARTITIONS // NODES // 2, counts


async def test_an_instance_of_every_partition_is_claimed_used_and_released(bench: ClusterBench) -> None:
    for each in EVERYWHERE:
        assert await bench.inbox.open(each, OPEN) == Opened("", "")
        await bench.claim("1-aa", instance=each)
        await bench.presence.note_owned("s1", each)
        await bench.emit(bench.writer("1-aa", each))
        assert await bench.ownership.release(each, "1-aa", 2, "exit", "") == 1
    assert set(await bench.presence.owned("s1")) == set(EVERYWHERE)


@pytest.mark.parametrize("number", range(NODES))
async def test_actions_reach_a_worker_that_listens_at_another_node(bench: ClusterBench, number: int) -> None:
    instance = on_node(number)
    await bench.claim("1-aa", instance=instance)
    writer = bench.writer("1-aa", instance)
    broker = bench.web_at((number + 1) % NODES)
    async with background(broker.channels.run), broker.feeds.follow(instance, "1-aa", 0) as feed:
        assert await feed.missed() == []
        await bench.emit(writer)
        (emission,) = await asyncio.wait_for(feed.next(), 5)
    assert emission.number == 1


@pytest.mark.parametrize("number", range(NODES))
async def test_a_waiting_request_is_woken_at_another_node(bench: ClusterBench, number: int) -> None:
    instance = on_node(number)
    await bench.claim("1-aa", instance=instance)
    broker = bench.web_at((number + 1) % NODES)
    async with background(broker.channels.run, broker.replies.run):

        async def is_woken() -> bool:
            await bench.replies.reply(
                instance, "1-aa", request="r1", worker="w1", reply=PAGE, taken="", now_ms=1
            )
            return hint.is_set()

        with broker.replies.expect("r1") as hint:
            await until(is_woken, "the worker listens, and is told", 5)
        replied = await broker.replies.read(instance.session, "r1")
    assert replied is not None
    assert replied.reply == PAGE


@pytest.mark.parametrize("number", range(NODES))
async def test_inboxes_of_all_nodes_reach_a_supervisor_that_listens_at_one(
    bench: ClusterBench, number: int
) -> None:
    bench.url = bench.cluster.urls[number]
    delivered, owned = Counter[InstanceId](), [on_node(each) for each in range(NODES)]
    inboxes = bench.supervisor(lambda instance, entries: delivered.update([instance] * len(entries))).inboxes

    node, channel = bench.cluster.nodes[number], bench.keys.inboxes("s1").encode()
    async with background(inboxes.run):
        await until(lambda: channel in node.command("PUBSUB CHANNELS"), "it is subscribed", 5)
        for each in owned:
            await bench.inbox.open(each, OPEN)  # is read
            await bench.claim("1-aa", instance=each)
            inboxes.add(each, "0-0")
        await until(lambda: delivered == dict.fromkeys(owned, 1), "what waited is read", PROMPT_S)
        for each in owned:
            await bench.inbox.open(each, OPEN)  # is published
        await until(lambda: delivered == dict.fromkeys(owned, 2), "what comes is delivered", PROMPT_S)


async def test_a_session_moves_to_its_new_id(bench: ClusterBench) -> None:
    session, new = "0" * 64, "00000000" + "1" * 56
    await bench.sessions.write(session, {"a": b"1"})
    await bench.web().renewals.move(session, new, {"b": b"2"})
    assert (await bench.sessions.read(new)).values == {"a": b"1", "b": b"2"}


# What does not work, as ``broker/README.md`` lists it. Each fails here when it begins to work.


async def test_the_products_client_follows_no_redirection(bench: ClusterBench) -> None:
    elsewhere = Client(Endpoint(bench.cluster.urls[1]))
    with pytest.raises(BrokerRefused, match=r"^MOVED"):
        await Ownership(elsewhere, Keys()).read(on_node(0))
    elsewhere.close()


async def test_an_emission_counts_the_listeners_of_its_own_node_alone(bench: ClusterBench) -> None:
    instance = on_node(0)
    await bench.claim("1-aa", instance=instance)
    writer, counts = bench.writer("1-aa", instance), []
    for number in range(NODES):
        broker = bench.web_at(number)
        async with background(broker.channels.run), broker.feeds.follow(instance, "1-aa", 0):
            counts.append(await bench.emit(writer))
    assert counts == [1, 0, 0]


async def test_an_operators_list_of_sessions_has_those_of_one_node(bench: ClusterBench) -> None:
    for number in range(NODES):
        await bench.sessions.write(on_node(number).session, {"a": b"1"})
    inspector = Inspector(bench.client, Keys(), SystemClock())
    assert [found.session for found in await inspector.sessions()] == [on_node(0).session]
