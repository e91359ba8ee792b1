"""One blocked read serves many inboxes; whoever joins is read at once, nothing is skipped or doubled."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from htagweb_broker.connection import COMMAND_TIMEOUT_S, Argument, Client
from htagweb_broker.errors import BrokerRefused, BrokerUnavailable
from htagweb_broker.keys import InstanceId, Keys
from htagweb_broker.readers import GROUP_SIZE, RETRY_S, Entry, InboxReader, InboxReaders, parse_entry

from tests.support.waiting import until
from tests.unit.broker.fakes import CART, SESSION, FakeClock, FakeEndpoint, turns

KEYS = Keys()
OTHER = InstanceId(SESSION, "shop.Other")


def an_instance(number: int) -> InstanceId:
    return InstanceId(f"{number:08x}{'0' * 56}", "m.A")


class FakeServer(Client):
    """The blocked connection and the controlling one: reads wait until a test answers them."""

    def __init__(self) -> None:
        self.reads: list[dict[str, str]] = []
        self.unblocked = 0
        self.connection = 1
        self.is_connected = asyncio.Event()
        self.is_connected.set()
        self._answer: asyncio.Future[Any] | None = None

    async def call(self, *command: Argument, timeout_s: float = COMMAND_TIMEOUT_S) -> Any:
        """Answer CLIENT ID and UNBLOCK; keep XREAD waiting."""
        if command[:2] == ("CLIENT", "ID"):
            return self.connection
        if command[:2] == ("CLIENT", "UNBLOCK"):
            assert command[2] == self.connection, "another connection would be unblocked"
            return self.answer(None)
        assert command[0] == "XREAD"
        names = [str(part) for part in command[command.index("STREAMS") + 1 :]]
        half = len(names) // 2
        self.reads.append(dict(zip(names[:half], names[half:], strict=True)))
        self._answer = asyncio.get_running_loop().create_future()
        return await self._answer

    async def client_id(self) -> int:
        """Return the number of the connection."""
        await self.is_connected.wait()
        return self.connection

    def close(self) -> None:
        """Close nothing."""

    def answer(self, answer: Any) -> int:
        """Let the blocked read return; 0 when none is blocked."""
        if self._answer is None or self._answer.done():
            return 0
        self.unblocked += answer is None
        self._answer.set_result(answer)
        return 1

    def fail(self, error: Exception) -> None:
        """Let the blocked read fail; the next one is on another connection."""
        assert self._answer is not None
        self.connection += 1
        self._answer.set_exception(error)

    def bring(self, *entries: tuple[InstanceId, str]) -> None:
        """Let the read return entries with these ids."""
        self.answer(
            [[KEYS.inbox(i).encode(), [[e.encode(), [b"m", b"body", b"v", b""]]]] for i, e in entries]
        )


class Reading:
    """A reader over a fake server, and what it delivered."""

    def __init__(self) -> None:
        self.server = FakeServer()
        self.clock = FakeClock()
        self.delivered: list[tuple[InstanceId, list[str]]] = []
        self.reader = InboxReader(FakeEndpoint(), KEYS, self.server, self.deliver, self.clock)
        self.reader._client = self.server

    def deliver(self, instance: InstanceId, entries: list[Entry]) -> None:
        """Note what was delivered."""
        self.delivered.append((instance, [entry.id for entry in entries]))

    async def reads(self, count: int) -> dict[str, str]:
        """Wait for a number of reads, return what the last one asks for."""
        await until(lambda: len(self.server.reads) >= count, f"read {count}", 5)
        await turns()
        assert len(self.server.reads) == count
        return self.server.reads[-1]


@asynccontextmanager
async def reading() -> AsyncIterator[Reading]:
    made = Reading()
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(made.reader.run())
        yield made
        task.cancel()


def test_an_entry_has_its_id_its_body_and_the_sessions_version() -> None:
    assert parse_entry([b"5-0", [b"m", b"{}", b"v", b"v1"]]) == Entry("5-0", b"{}", "v1")


def test_an_entry_without_its_fields_has_an_empty_body() -> None:
    assert parse_entry([b"5-0", []]) == Entry("5-0", b"", "")


async def test_an_empty_group_asks_for_nothing() -> None:
    async with reading() as made:
        await turns()
        assert made.server.reads == []


async def test_a_read_goes_on_after_what_was_delivered() -> None:
    async with reading() as made:
        await made.reader.add(CART, "3-0")
        assert await made.reads(1) == {KEYS.inbox(CART): "3-0"}
        made.server.bring((CART, "7-0"))
        assert await made.reads(2) == {KEYS.inbox(CART): "7-0"}
        assert made.delivered == [(CART, ["7-0"])]


async def test_an_inbox_added_during_a_read_wakes_it() -> None:
    async with reading() as made:
        await made.reader.add(CART, "0-0")
        await made.reads(1)
        await made.reader.add(OTHER, "5-0")
        assert await made.reads(2) == {KEYS.inbox(CART): "0-0", KEYS.inbox(OTHER): "5-0"}
        assert made.server.unblocked == 1


async def test_a_wake_that_overtakes_its_read_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    async with reading() as made:
        await made.reader.add(CART, "0-0")
        await made.reads(1)
        answer, early = made.server.answer, [0, 0, 0]
        monkeypatch.setattr(made.server, "answer", lambda what: early.pop() if early else answer(what))
        await made.reader.add(OTHER, "0-0")
        await made.reads(2)
        assert early == []


async def test_entries_of_a_removed_inbox_are_dropped() -> None:
    async with reading() as made:
        await made.reader.add(CART, "0-0")
        await made.reader.add(OTHER, "0-0")
        await turns()
        await made.reader.remove(CART)
        made.server.bring((CART, "1-0"), (OTHER, "2-0"))
        await turns()
        assert made.delivered == [(OTHER, ["2-0"])]
        assert made.server.reads[-1] == {KEYS.inbox(OTHER): "2-0"}


async def test_an_inbox_that_was_removed_and_added_anew_goes_on_where_it_was_told() -> None:
    async with reading() as made:
        await made.reader.add(CART, "0-0")
        await made.reads(1)
        await made.reader.remove(CART)
        made.reader._positions[KEYS.inbox(CART)] = (CART, "9-0")
        made.reader._filled.set()
        made.server.bring((CART, "1-0"))
        assert await made.reads(2) == {KEYS.inbox(CART): "9-0"}
        assert made.delivered == []


async def test_the_last_inbox_that_leaves_ends_the_reading() -> None:
    async with reading() as made:
        await made.reader.add(CART, "0-0")
        await made.reads(1)
        await made.reader.remove(CART)
        made.server.answer(None)
        await turns()
        assert len(made.server.reads) == 1


async def test_after_a_lost_connection_inboxes_are_read_from_their_beginning() -> None:
    # The server may have lost the last entries, and give lower ids to those that follow.
    async with reading() as made:
        await made.reader.add(CART, "0-0")
        await made.reads(1)
        made.server.bring((CART, "4-0"))
        await made.reads(2)
        made.server.fail(BrokerUnavailable("lost"))
        assert await made.reads(3) == {KEYS.inbox(CART): "0-0"}
        assert made.delivered == [(CART, ["4-0"]), (CART, [])]
        assert made.clock.slept == [RETRY_S]


async def test_after_a_lost_connection_the_new_one_is_woken() -> None:
    async with reading() as made:
        await made.reader.add(CART, "0-0")
        await made.reads(1)
        made.server.fail(BrokerUnavailable("lost"))
        await made.reads(2)
        await made.reader.add(OTHER, "0-0")
        await made.reads(3)
        assert made.server.unblocked == 1


# Many readers


class FakeReaders(InboxReaders):
    """Readers that share a fake server, without running."""

    def __init__(self) -> None:
        self.server = FakeServer()
        super().__init__(FakeEndpoint(), KEYS, self.server, lambda instance, entries: None, FakeClock())


async def test_inboxes_are_spread_over_as_many_readers_as_needed() -> None:
    readers = FakeReaders()
    for number in range(2 * GROUP_SIZE + 1):
        await readers.add(an_instance(number), "0-0")
    assert [len(reader) for reader in readers._readers] == [GROUP_SIZE, GROUP_SIZE, 1]


async def test_a_place_that_became_free_is_used_again() -> None:
    readers = FakeReaders()
    for number in range(GROUP_SIZE + 1):
        await readers.add(an_instance(number), "0-0")
    await readers.remove(an_instance(3))
    await readers.add(an_instance(1000), "0-0")
    assert [len(reader) for reader in readers._readers] == [GROUP_SIZE, 1]


async def test_removing_what_was_never_added_is_no_error() -> None:
    await FakeReaders().remove(CART)


async def test_an_error_that_nobody_expected_ends_no_reader(caplog: pytest.LogCaptureFixture) -> None:
    async with reading() as made:
        await made.reader.add(CART, "0-0")
        await made.reads(1)
        made.server.fail(RuntimeError("the handler is closed"))
        assert await made.reads(2) == {KEYS.inbox(CART): "0-0"}
        assert "the handler is closed" in caplog.text


async def test_the_last_inbox_may_leave_while_a_connection_is_made() -> None:
    async with reading() as made:
        made.server.is_connected.clear()
        await made.reader.add(CART, "0-0")
        await turns()
        await made.reader.remove(CART)
        made.server.is_connected.set()
        await turns()
        assert made.server.reads == []


async def test_a_read_that_the_server_refuses_is_told_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async with reading() as made:
        await made.reader.add(CART, "0-0")
        await made.reads(1)
        made.server.fail(BrokerRefused("WRONGTYPE not a stream"))
        await made.reads(2)
        assert "WRONGTYPE" in caplog.text
