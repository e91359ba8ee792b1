"""Replies: the key is the truth, the hint says when to look."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from htagweb_broker.channels import Channels, Follower
from htagweb_broker.errors import MessageError
from htagweb_broker.keys import Keys
from htagweb_broker.messages import PageReply, encode
from htagweb_broker.replies import ReplyReader

from tests.unit.broker.fakes import SESSION, FakeClock, FakeEndpoint, FakeServerClient, turns

PAGE = PageReply("1-aa", "<p>")


class FakeChannels(Channels):
    """One follower that the test feeds."""

    def __init__(self) -> None:
        super().__init__(FakeEndpoint(), FakeClock())
        self.follower = Follower("none")

    @asynccontextmanager
    async def follow(self, channel: str) -> AsyncIterator[Follower]:
        """Give the follower."""
        self.follower.channel = channel
        yield self.follower


@asynccontextmanager
async def listening(memory: FakeServerClient) -> AsyncIterator[tuple[ReplyReader, Follower]]:
    channels = FakeChannels()
    reader = ReplyReader(memory, Keys(), channels, "w1")
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(reader.run())
        await turns()
        yield reader, channels.follower
        task.cancel()


async def test_a_worker_listens_to_its_own_channel(memory: FakeServerClient) -> None:
    async with listening(memory) as (_, follower):
        assert follower.channel == "htagweb:web:w1"


async def test_a_hint_wakes_the_request_that_it_names_alone(memory: FakeServerClient) -> None:
    async with listening(memory) as (reader, follower):
        with reader.expect("r1") as one, reader.expect("r2") as two:
            follower.put(b"r1")
            await turns()
            assert (one.is_set(), two.is_set()) == (True, False)


async def test_after_a_gap_every_request_looks(memory: FakeServerClient) -> None:
    async with listening(memory) as (reader, follower):
        with reader.expect("r1") as one, reader.expect("r2") as two:
            follower.put_gap()
            await turns()
            assert (one.is_set(), two.is_set()) == (True, True)


async def test_a_hint_for_a_request_that_is_over_does_nothing(memory: FakeServerClient) -> None:
    async with listening(memory) as (reader, follower):
        with reader.expect("r1"):
            pass
        follower.put(b"r1")
        await turns()
        assert reader._hints == {}


async def test_a_reply_is_read_with_the_number_of_the_last_action(memory: FakeServerClient) -> None:
    reader = ReplyReader(memory, Keys(), FakeChannels(), "w1")
    await memory.call("SET", Keys().reply(SESSION, "r1"), b"12 " + encode(PAGE))
    replied = await reader.read(SESSION, "r1")
    assert replied is not None
    assert (replied.reply, replied.number) == (PAGE, 12)


async def test_a_reply_that_is_not_there_is_none(memory: FakeServerClient) -> None:
    assert await ReplyReader(memory, Keys(), FakeChannels(), "w1").read(SESSION, "r1") is None


@pytest.mark.parametrize("raw", [b"", b"12", b"12 ", b"12 {}", b"x " + encode(PAGE), b'12 {"type":"open"}'])
async def test_what_is_no_reply_is_a_message_error(memory: FakeServerClient, raw: bytes) -> None:
    await memory.call("SET", Keys().reply(SESSION, "r1"), raw)
    with pytest.raises(MessageError):
        await ReplyReader(memory, Keys(), FakeChannels(), "w1").read(SESSION, "r1")
