"""Channels: nobody follows before the server confirmed, nobody misses something without being told."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from htagweb_broker import channels as module
from htagweb_broker.channels import GAP, MAX_QUEUED, Channels, Follower
from htagweb_broker.errors import BrokerUnavailable

from tests.support.waiting import until
from tests.unit.broker.fakes import FakeClock, FakeEndpoint, turns

# A follower


async def test_messages_come_in_order() -> None:
    follower = Follower("c")
    for text in (b"1", b"2", b"3"):
        follower.put(text)
    assert [await follower.get() for _ in range(3)] == [b"1", b"2", b"3"]


async def test_a_follower_waits_for_the_next_message() -> None:
    follower = Follower("c")
    waiting = asyncio.gather(follower.get())
    await turns()
    assert not waiting.done()
    follower.put(b"1")
    assert [*await waiting] == [b"1"]


async def test_a_gap_takes_the_place_of_all_that_was_queued() -> None:
    follower = Follower("c")
    follower.put(b"1")
    follower.put_gap()
    follower.put(b"2")
    assert await follower.get() is GAP
    follower.put(b"3")
    assert await follower.get() == b"3"


async def test_two_gaps_before_a_look_are_one() -> None:
    follower = Follower("c")
    follower.put_gap()
    follower.put_gap()
    assert await follower.get() is GAP
    follower.put(b"1")
    assert await follower.get() == b"1"


async def test_a_slow_follower_keeps_what_the_queue_can_hold() -> None:
    follower = Follower("c")
    for number in range(MAX_QUEUED):
        follower.put(str(number).encode())
    assert [await follower.get() for _ in range(MAX_QUEUED)] == [b"%d" % n for n in range(MAX_QUEUED)]


async def test_past_the_queues_limit_a_slow_follower_is_told_of_a_gap() -> None:
    follower = Follower("c")
    for number in range(MAX_QUEUED + 10):
        follower.put(str(number).encode())
    assert await follower.get() is GAP
    follower.put(b"next")
    assert await follower.get() == b"next"


async def test_after_a_reset_nothing_old_comes() -> None:
    follower = Follower("c")
    follower.put(b"1")
    follower.put_gap()
    follower.reset()
    follower.put(b"2")
    assert await follower.get() == b"2"


# The channels


class FakeChannels(Channels):
    """Channels over a fake connection; the test is the server."""

    def __init__(self) -> None:
        self.endpoint = FakeEndpoint()
        self.clock = FakeClock()
        super().__init__(self.endpoint, self.clock)

    def commands(self) -> list[tuple[bytes, ...]]:
        """Return what was sent over the newest connection, without its pings."""
        return [tuple(c) for c in self.endpoint.transports[-1].commands() if c != [b"PING"]]

    def push(self, *parts: bytes) -> None:
        """Send a message as the server."""
        assert self._connection is not None
        self._connection.data_received(
            b"*%d\r\n%s" % (len(parts), b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts))
        )

    def lose(self) -> None:
        """Lose the connection."""
        assert self._connection is not None
        self._connection.connection_lost(None)

    async def connections(self, count: int) -> None:
        """Wait for so many connections, and for what is written on the last."""
        await until(lambda: len(self.endpoint.transports) >= count, f"connection {count}", 5)
        await turns()


@asynccontextmanager
async def running(channels: FakeChannels) -> AsyncIterator[FakeChannels]:
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(channels.run())
        await channels.connections(1)
        yield channels
        task.cancel()


@asynccontextmanager
async def following(channels: FakeChannels, channel: str) -> AsyncIterator[Follower]:
    """Follow; the server confirms at once."""
    leaving, followers = asyncio.Event(), list[Follower]()

    async def follow() -> None:
        async with channels.follow(channel) as follower:
            followers.append(follower)
            await leaving.wait()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(follow())
        await turns()
        if not followers:
            channels.push(b"subscribe", channel.encode(), b"1")
            await turns()
        yield followers[0]
        leaving.set()


async def test_nobody_follows_before_the_server_confirmed() -> None:
    async with running(FakeChannels()) as channels, asyncio.TaskGroup() as tasks:
        entered = asyncio.Event()

        async def follow() -> None:
            async with channels.follow("c"):
                entered.set()

        tasks.create_task(follow())
        await turns()
        assert channels.commands() == [(b"SUBSCRIBE", b"c")]
        assert not entered.is_set()
        channels.push(b"subscribe", b"c", b"1")
        await asyncio.wait_for(entered.wait(), 5)


async def test_a_message_goes_to_the_followers_of_its_channel_alone() -> None:
    async with (
        running(FakeChannels()) as channels,
        following(channels, "a") as one,
        following(channels, "a") as two,
        following(channels, "b") as other,
    ):
        channels.push(b"message", b"a", b"for a")
        channels.push(b"message", b"b", b"for b")
        channels.push(b"message", b"unknown", b"for nobody")
        assert [await f.get() for f in (one, two, other)] == [b"for a", b"for a", b"for b"]


async def test_the_second_follower_of_a_channel_needs_no_second_subscription() -> None:
    async with running(FakeChannels()) as channels, following(channels, "a"), following(channels, "a"):
        assert channels.commands() == [(b"SUBSCRIBE", b"a")]


async def test_the_last_follower_ends_the_subscription() -> None:
    async with running(FakeChannels()) as channels:
        async with following(channels, "a"):
            async with following(channels, "a"):
                pass
            await turns()
            assert (b"UNSUBSCRIBE", b"a") not in channels.commands()
        await turns()
        assert channels.commands()[-1] == (b"UNSUBSCRIBE", b"a")


async def test_who_follows_again_is_confirmed_again() -> None:
    async with running(FakeChannels()) as channels:
        async with following(channels, "a"):
            pass
        async with following(channels, "a") as follower:
            await turns()
            channels.push(b"message", b"a", b"1")
            assert await follower.get() == b"1"
        await turns()
        assert [name for name, _ in channels.commands()] == [b"SUBSCRIBE", b"UNSUBSCRIBE"] * 2


async def test_a_confirmation_that_was_meant_for_an_earlier_follower_hides_no_gap() -> None:
    async with running(FakeChannels()) as channels:
        giving_up = asyncio.gather(channels.follow("a").__aenter__(), return_exceptions=True)
        await turns()
        giving_up.cancel()
        await turns()
        async with following(channels, "a") as follower:  # let in by the first confirmation
            channels.push(b"subscribe", b"a", b"1")
            assert await follower.get() is GAP
        with pytest.raises(asyncio.CancelledError):
            await giving_up


async def test_after_a_lost_connection_every_follower_is_subscribed_again_and_told_of_a_gap() -> None:
    async with (
        running(FakeChannels()) as channels,
        following(channels, "a") as one,
        following(channels, "b") as two,
    ):
        channels.lose()
        await channels.connections(2)
        ((name, *subscribed),) = channels.commands()
        assert (name, sorted(subscribed)) == (b"SUBSCRIBE", [b"a", b"b"])
        assert [await one.get(), await two.get()] == [GAP, GAP]


async def test_after_the_new_subscription_is_confirmed_a_gap_is_told_again() -> None:
    async with running(FakeChannels()) as channels, following(channels, "a") as follower:
        channels.lose()
        await channels.connections(2)
        assert await follower.get() is GAP
        # What was read since then was read while nobody listened.
        channels.push(b"subscribe", b"a", b"1")
        assert await follower.get() is GAP
        channels.push(b"message", b"a", b"1")
        assert await follower.get() == b"1"


async def test_who_comes_while_the_connection_is_away_waits_for_the_next_one() -> None:
    async with running(FakeChannels()) as channels:
        channels.endpoint.refusal = BrokerUnavailable("away")
        channels.lose()
        await until(lambda: channels.endpoint.handshakes > 3, "it tries again", 5)
        entered = asyncio.gather(channels.follow("late").__aenter__())
        await turns()
        channels.endpoint.refusal = None
        await channels.connections(2)
        assert channels.commands() == [(b"SUBSCRIBE", b"late")]
        assert not entered.done()
        channels.push(b"subscribe", b"late", b"1")
        assert [follower.channel for follower in await entered] == ["late"]


class Listener(Follower):
    """A follower that takes what comes at once."""

    def __init__(self, channel: str) -> None:
        super().__init__(channel)
        self.heard: list[object] = []

    def put(self, message: bytes) -> None:
        self.heard.append(message)

    def put_gap(self) -> None:
        self.heard.append(self.interruptions)

    def reset(self) -> None:
        """Forget nothing."""


async def test_a_listener_is_told_at_once_and_counts_how_often_it_was_subscribed() -> None:
    async with running(FakeChannels()) as channels:
        listener, leaving = Listener("a"), asyncio.Event()

        async def listen() -> None:
            async with channels.listen(listener):
                await leaving.wait()

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(listen())
            await turns()
            channels.push(b"subscribe", b"a", b"1")
            channels.push(b"message", b"a", b"first")
            assert listener.heard == [1, b"first"]
            await turns()
            channels.lose()
            await channels.connections(2)
            channels.push(b"subscribe", b"a", b"1")
            channels.push(b"message", b"a", b"second")
            assert listener.heard == [1, b"first", 1, 2, b"second"]
            leaving.set()
        channels.push(b"message", b"a", b"nobody's")
        assert listener.heard[-1] == b"second"


async def test_between_two_tries_to_connect_it_waits() -> None:
    async with running(FakeChannels()) as channels:
        channels.endpoint.refusal = BrokerUnavailable("away")
        channels.lose()
        await until(lambda: channels.endpoint.handshakes > 3, "it tries again", 5)
        assert set(channels.clock.slept) == {module.RETRY_S}


async def test_a_subscription_that_is_not_confirmed_in_time_is_unavailable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "SUBSCRIBE_TIMEOUT_S", 0.01)
    async with running(FakeChannels()) as channels:
        with pytest.raises(BrokerUnavailable, match="not confirmed in time"):
            async with channels.follow("a"):
                pass
        await turns()
        assert channels.commands()[-1] == (b"UNSUBSCRIBE", b"a")


async def test_a_refused_subscription_is_told_in_the_servers_words(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "SUBSCRIBE_TIMEOUT_S", 0.05)
    async with running(FakeChannels()) as channels:
        entering = asyncio.gather(channels.follow("a").__aenter__(), return_exceptions=True)
        await turns()
        assert channels._connection is not None
        channels._connection.data_received(b"-NOPERM No permissions to access a channel\r\n")
        (error,) = await entering
        assert "NOPERM" in str(error) + caplog.text


async def test_a_silent_server_is_left_after_a_ping_without_an_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "PING_S", 0.02)
    async with running(FakeChannels()) as channels, following(channels, "a") as follower:
        assert await asyncio.wait_for(follower.get(), 5) is GAP
        assert channels.endpoint.transports[0].aborted


async def test_messages_are_as_good_as_pongs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PING_S", 0.05)
    async with running(FakeChannels()) as channels, following(channels, "a") as follower:
        pings = channels.endpoint.transports[0].commands

        def push() -> bool:
            channels.push(b"message", b"a", b"1")
            return pings().count([b"PING"]) >= 4

        await until(push, "several pings", 5)
        assert await follower.get() == b"1"
        assert not channels.endpoint.transports[0].aborted


async def test_when_the_channels_end_their_connection_is_closed() -> None:
    async with running(FakeChannels()) as channels:
        pass
    assert channels.endpoint.transports[0].aborted
