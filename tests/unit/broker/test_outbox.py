"""The writer numbers without a hole, keeps a bounded past, and loses nothing that it numbered."""

from collections.abc import Awaitable, Callable

import msgspec
import pytest
from htagweb_broker import limits
from htagweb_broker import messages as wire
from htagweb_broker.errors import MessageError, NotOwner
from htagweb_broker.keys import Keys
from htagweb_broker.messages import UpdatedByApp
from htagweb_broker.outbox import OutboxReader, OutboxWriter
from htagweb_broker.ownership import Claimed, Ownership

from tests.unit.broker.fakes import CART, FakeServerClient

GENERATION = "1-aa"


def action(size: int = 0) -> UpdatedByApp:
    """Return an action whose body has about the size."""
    return UpdatedByApp(msgspec.Raw(b'{"x":"%s"}' % (b"x" * size)), msgspec.Raw(b"{}"))


def writer_over(client: FakeServerClient, generation: str = GENERATION) -> OutboxWriter:
    return OutboxWriter(client, Keys(), CART, generation)


Owned = Callable[[FakeServerClient], Awaitable[OutboxWriter]]


async def owned(client: FakeServerClient) -> OutboxWriter:
    await Ownership(client, Keys()).claim(
        CART, expected=Claimed("", ""), generation=GENERATION, owner="s1", facts={"host": "h"}
    )
    return writer_over(client)


async def kept(client: FakeServerClient) -> list[int]:
    entries = await client.call("XRANGE", Keys().outbox(CART), "-", "+")
    return [int(entry_id.partition(b"-")[0]) for entry_id, _ in entries]


async def test_numbers_start_at_one_and_have_no_hole(memory: FakeServerClient) -> None:
    writer = writer_over(memory)
    assert [writer.next_action(action()).number for _ in range(3)] == [1, 2, 3]
    assert writer.number == 3


async def test_an_action_that_is_too_large_gets_no_number(
    memory: FakeServerClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "MAX_OUTBOX_BYTES", 10)
    writer = writer_over(memory)
    with pytest.raises(MessageError, match="over the limit of 16777216"):
        writer.next_action(action(17 * 1024 * 1024))
    assert writer.number == 0
    assert writer.next_action(action()).number == 1


async def test_the_outbox_keeps_at_most_its_number_of_actions(
    memory: FakeServerClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "OUTBOX_MAX_ENTRIES", 3)
    writer = await owned(memory)
    for _ in range(10):
        await writer.emit(writer.next_action(action()), "")
    assert await kept(memory) == [8, 9, 10]


async def test_the_outbox_keeps_at_most_its_bytes(
    memory: FakeServerClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = await owned(memory)
    monkeypatch.setattr(limits, "OUTBOX_KEEP_BYTES", 2 * len(writer.next_action(action(100)).body))
    writer = writer_over(memory)
    for _ in range(10):
        await writer.emit(writer.next_action(action(100)), "")
    assert await kept(memory) == [9, 10]


async def test_the_newest_action_is_kept_however_large(
    memory: FakeServerClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "OUTBOX_KEEP_BYTES", 10)
    writer = await owned(memory)
    for size in (100, 500):
        await writer.emit(writer.next_action(action(size)), "")
    assert await kept(memory) == [2]


async def test_small_actions_after_a_large_one_are_kept_together(
    memory: FakeServerClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "OUTBOX_KEEP_BYTES", 300)
    writer = await owned(memory)
    for size in (400, 0, 0, 0):
        await writer.emit(writer.next_action(action(size)), "")
    assert await kept(memory) == [2, 3, 4]


@pytest.mark.parametrize("count", [2, 3, 20])
async def test_actions_that_were_numbered_before_the_first_was_emitted_all_arrive(
    memory: FakeServerClient, count: int
) -> None:
    # A burst, or a broker that was away: the numbers are given when the actions are made.
    writer = await owned(memory)
    for numbered in [writer.next_action(action()) for _ in range(count)]:
        await writer.emit(numbered, "")
    reader = OutboxReader(memory, Keys())
    assert [e.number for e in await reader.read_after(CART, GENERATION, 0)] == list(range(1, count + 1))


async def test_a_backlog_longer_than_the_outbox_is_emitted_to_its_end(
    memory: FakeServerClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "OUTBOX_MAX_ENTRIES", 3)
    writer = await owned(memory)
    for numbered in [writer.next_action(action()) for _ in range(10)]:
        await writer.emit(numbered, "")
        assert numbered.number in await kept(memory)
    assert await kept(memory) == [8, 9, 10]


async def test_emitting_a_number_again_changes_nothing(memory: FakeServerClient) -> None:
    writer = await owned(memory)
    numbered = writer.next_action(action())
    for _ in range(3):
        assert await writer.emit(numbered, "") == 0
    assert await kept(memory) == [1]


async def test_a_writer_of_another_generation_is_no_owner(memory: FakeServerClient) -> None:
    await owned(memory)
    stranger = writer_over(memory, "9-zz")
    with pytest.raises(NotOwner, match="9-zz no longer owns"):
        await stranger.emit(stranger.next_action(action()), "")
    assert await kept(memory) == []


async def test_a_writer_of_an_instance_that_expired_is_no_owner(memory: FakeServerClient) -> None:
    writer = await owned(memory)
    await memory.call("DEL", Keys().instance(CART))
    with pytest.raises(NotOwner):
        await writer.emit(writer.next_action(action()), "")
