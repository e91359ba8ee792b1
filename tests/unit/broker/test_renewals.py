"""A session's new id: one step in which it moves, and a mark that the old id is one."""

from collections.abc import Mapping

import pytest
from htagweb_broker import limits
from htagweb_broker.errors import BrokerRefused, MessageError, SessionMoved
from htagweb_broker.keys import Keys
from htagweb_broker.renewals import Renewals
from htagweb_broker.sessions import SessionData, Sessions

from tests.unit.broker.fakes import SESSION, FakeServerClient

NEW = SESSION[:8] + "f" * 56
OTHER = SESSION[:8] + "e" * 56
KEYS = Keys()
TTL_S = 3600


class Bench:
    """Sessions and renewals of one server in memory."""

    def __init__(self, memory: FakeServerClient) -> None:
        self.memory = memory
        self.sessions = Sessions(memory, KEYS, TTL_S)
        self.renewals = Renewals(memory, KEYS, self.sessions, TTL_S)

    async def move(self, changes: Mapping[str, bytes | None], new: str = NEW) -> None:
        await self.renewals.move(SESSION, new, changes)

    async def values(self, session: str) -> dict[str, bytes]:
        return (await self.sessions.read(session)).values

    async def ttl_ms(self, key: str) -> int:
        ttl: int = await self.memory.call("PTTL", key)
        return ttl


@pytest.fixture
def bench(memory: FakeServerClient) -> Bench:
    """Give the bench."""
    return Bench(memory)


async def test_all_values_move_with_the_changes(bench: Bench) -> None:
    await bench.sessions.write(SESSION, {"a": b"1", "b": b"2"})
    await bench.renewals.close(SESSION)
    await bench.move({"b": None, "c": b"3"})
    assert await bench.values(NEW) == {"a": b"1", "c": b"3"}
    assert await bench.values(SESSION) == {}
    assert await bench.memory.call("EXISTS", KEYS.session(SESSION)) == 0


async def test_a_session_that_has_nothing_moves_too(bench: Bench) -> None:
    await bench.renewals.close(SESSION)
    await bench.move({})
    assert await bench.values(NEW) == {}
    assert (await bench.sessions.read(SESSION)).is_moving


async def test_the_new_id_has_a_version_of_its_own(bench: Bench) -> None:
    _, version = await bench.sessions.write(SESSION, {"a": b"1"})
    await bench.move({})
    assert (await bench.sessions.read(NEW)).version not in ("", version)


async def test_every_key_of_it_expires(bench: Bench) -> None:
    await bench.sessions.write(SESSION, {"a": b"1"})
    await bench.renewals.close(SESSION)
    assert 0 < await bench.ttl_ms(KEYS.moved(SESSION)) <= limits.CLOSED_TTL_MS
    await bench.move({})
    assert limits.CLOSED_TTL_MS < await bench.ttl_ms(KEYS.moved(SESSION)) <= limits.MOVED_TTL_MS
    assert 0 < await bench.ttl_ms(KEYS.session(NEW)) <= TTL_S * 1000


async def test_a_closed_session_says_so_and_still_takes_what_its_apps_save(bench: Bench) -> None:
    assert not await bench.sessions.is_moving(SESSION)
    await bench.renewals.close(SESSION)
    assert await bench.sessions.is_moving(SESSION)
    await bench.sessions.write(SESSION, {"saved": b"1"})
    data = await bench.sessions.read(SESSION)
    assert (data.values, data.is_moving) == ({"saved": b"1"}, True)


async def test_a_session_that_moved_takes_nothing_any_more(bench: Bench) -> None:
    await bench.move({"a": b"1"})
    with pytest.raises(SessionMoved, match="has a new id"):
        await bench.sessions.write(SESSION, {"late": b"1"})
    assert await bench.sessions.read(SESSION) == SessionData({}, "", is_moving=True)
    assert await bench.values(NEW) == {"a": b"1"}


async def test_the_move_may_be_repeated(bench: Bench) -> None:
    await bench.sessions.write(SESSION, {"a": b"1"})
    await bench.move({"b": b"2"})
    await bench.sessions.write(NEW, {"b": b"3"})  # what came since then stays
    await bench.move({"b": b"2"})
    assert await bench.values(NEW) == {"a": b"1", "b": b"3"}


async def test_it_moves_to_one_id_alone(bench: Bench) -> None:
    await bench.sessions.write(SESSION, {"a": b"1"})
    await bench.move({})
    with pytest.raises(SessionMoved, match="another new id"):
        await bench.move({}, OTHER)
    assert (await bench.values(NEW), await bench.values(OTHER)) == ({"a": b"1"}, {})


async def test_one_renewal_at_a_time(bench: Bench) -> None:
    await bench.renewals.close(SESSION)
    with pytest.raises(SessionMoved, match="already"):
        await bench.renewals.close(SESSION)


@pytest.mark.parametrize("there", [0, 1])
async def test_a_session_that_would_hold_too_much_does_not_move(bench: Bench, there: int) -> None:
    if there:
        await bench.sessions.write(SESSION, {"there": b"1"})
    changes = {f"k{n}": b"1" for n in range(limits.SESSION_MAX_FIELDS + 1 - there)}
    with pytest.raises(MessageError, match="at most 1000 keys"):
        await bench.move(changes)
    assert await bench.values(SESSION) == ({"there": b"1"} if there else {})
    assert await bench.values(NEW) == {}


async def test_a_change_that_is_too_large_does_not_move(bench: Bench) -> None:
    with pytest.raises(MessageError, match="over the limit"):
        await bench.move({"a": b"1" * (limits.SESSION_MAX_WRITE_BYTES + 1)})
    assert await bench.values(NEW) == {}


async def test_an_id_of_another_partition_is_refused(bench: Bench) -> None:
    with pytest.raises(ValueError, match="same partition"):
        await bench.move({}, "0" * 64)


async def test_a_server_that_refuses_the_mark_has_moved_nothing(bench: Bench) -> None:
    await bench.sessions.write(SESSION, {"a": b"1"})
    await bench.memory.call("HSET", KEYS.moved(SESSION), "not", "a string")
    with pytest.raises(BrokerRefused):
        await bench.move({})
    assert await bench.memory.call("HGET", KEYS.session(SESSION), '"a"') == b"1"
    assert await bench.memory.call("EXISTS", KEYS.session(NEW)) == 0
