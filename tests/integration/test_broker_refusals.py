"""What a server without memory refuses, and that nothing has happened then."""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import pytest_asyncio
from htagweb_broker.errors import BrokerRefused
from htagweb_broker.keys import InstanceId
from htagweb_broker.messages import PageReply
from htagweb_broker.ownership import Claimed
from htagweb_broker.seals import Seals

from tests.support.brokers import BEAT, CART, OPEN, SESSION, UPDATE, Bench, interact

Step = Callable[[Bench], Awaitable[object]]
NEW_SESSION = SESSION[:8] + "f" * 56
FACTS = {"host": "h"}


async def emit(bench: Bench) -> None:
    writer = bench.writer("1-aa")
    await writer.emit(writer.next_action(UPDATE), "", ("w1", "page:1"), 1)


async def reply(bench: Bench) -> None:
    page = PageReply("1-aa", "<p>")
    await bench.replies.reply(CART, "1-aa", request="r", worker="w", reply=page, taken="", now_ms=1)


async def restore(bench: Bench) -> None:
    other = InstanceId(SESSION, "m.Other")
    await bench.ownership.restore(other, Claimed("1-bb", "s1"), 3, FACTS)


REFUSED: dict[str, Step] = {
    "open": lambda bench: bench.inbox.open(CART, OPEN),
    "submit": lambda bench: bench.inbox.submit(CART, interact("1-aa"), 1000),
    "emit": emit,
    "reply": reply,
    "renew": lambda bench: bench.ownership.renew(CART, "1-aa", {"pid": "7"}),
    "release": lambda bench: bench.ownership.release(CART, "1-aa", 1, "exit", ""),
    "take over": lambda bench: bench.ownership.take_over(CART, "s1"),
    "write a session": lambda bench: bench.sessions.write(SESSION, {"a": b"2", "b": None}),
    "move a session": lambda bench: bench.web().renewals.move(SESSION, NEW_SESSION, {"a": b"2"}),
    "close a session": lambda bench: bench.web().renewals.close(SESSION),
    "count an arrival": lambda bench: bench.web().arrivals.count("d"),
    "note what is owned": lambda bench: bench.presence.note_owned("s1", CART),
}
TAKEN: dict[str, Step] = {
    "beat": lambda bench: bench.presence.beat("s1", BEAT),
    "claim": lambda bench: bench.claim("2-bb", "s2", Claimed("1-aa", "s1")),
    "restore": restore,
    "let a page in": lambda bench: bench.web().pages.enter(SESSION, "page", 1, 5),
    "keep a seal": lambda bench: Seals(bench.client, bench.keys).keep(SESSION, Seals.new_channel(), b"k"),
}


@pytest_asyncio.fixture
async def full(bench: Bench) -> AsyncIterator[Bench]:
    """Give a server that holds an instance and a session, and takes nothing more."""
    await bench.owned()
    await bench.sessions.write(SESSION, {"a": b"1", "b": b"1"})
    await bench.call("CONFIG", "SET", "maxmemory", 1)
    yield bench
    await bench.call("CONFIG", "SET", "maxmemory", 0)


async def contents(bench: Bench) -> dict[bytes, bytes]:
    """Return all that the server holds, as it would write it down."""
    return {key: await bench.call("DUMP", key.decode()) for key in await bench.call("KEYS", "*")}


@pytest.mark.parametrize("step", REFUSED.values(), ids=REFUSED)
async def test_what_a_full_server_refuses_has_changed_nothing(full: Bench, step: Step) -> None:
    before = await contents(full)
    with pytest.raises(BrokerRefused, match=r"^OOM .*maxmemory"):
        await step(full)
    assert await contents(full) == before


@pytest.mark.parametrize("step", TAKEN.values(), ids=TAKEN)
async def test_what_takes_hardly_any_memory_a_full_server_takes(full: Bench, step: Step) -> None:
    before = await contents(full)
    await step(full)
    assert await contents(full) != before
