"""What the broker holds besides ownership: inboxes, sessions, spawn requests, heartbeats, the secret."""

import asyncio

import pytest
from htagweb_broker import limits, spawns
from htagweb_broker.errors import BrokerUnavailable, MessageError
from htagweb_broker.inbox import Opened
from htagweb_broker.inboxes import parse_entry
from htagweb_broker.messages import Connect, PageReply, SpawnRequest, encode
from htagweb_broker.sessions import SessionData, Sessions

from tests.support.brokers import (
    BEAT,
    CART,
    OPEN,
    SESSION,
    Bench,
    interact,
)
from tests.support.processes import BrokerServer

PAGE = PageReply("1-aa", "<p>")
REQUEST = SpawnRequest(CART.dump(), "")


# Inboxes


async def test_an_open_tells_that_nobody_owns_the_instance(bench: Bench) -> None:
    assert await bench.inbox.open(CART, OPEN) == Opened("", "")


async def test_an_open_tells_who_owns_the_instance(bench: Bench) -> None:
    await bench.owned()
    assert await bench.inbox.open(CART, OPEN) == Opened("1-aa", "s1")


async def test_an_open_tells_the_generation_of_what_has_ended(bench: Bench) -> None:
    await bench.owned()
    await bench.ownership.release(CART, "1-aa", 1, "exit", "")
    assert await bench.inbox.open(CART, OPEN) == Opened("1-aa", "")


async def test_an_inbox_holds_its_number_of_messages_and_no_more(bench: Bench) -> None:
    await bench.owned()
    for _ in range(limits.INBOX_MAX_ENTRIES):
        assert await bench.inbox.open(CART, OPEN) == Opened("1-aa", "s1")
    assert await bench.inbox.open(CART, OPEN) == "busy"
    assert await bench.inbox.submit(CART, interact("1-aa"), 1000) == "busy"
    assert await bench.call("XLEN", bench.keys.inbox(CART)) == limits.INBOX_MAX_ENTRIES


async def test_a_message_to_a_living_generation_is_appended_as_it_is(bench: Bench) -> None:
    await bench.owned()
    assert await bench.inbox.submit(CART, interact("1-aa"), 1000) == "ok"
    (raw,) = await bench.call("XRANGE", bench.keys.inbox(CART), "-", "+")
    assert parse_entry(raw).body == encode(interact("1-aa"))


@pytest.mark.parametrize("state", ["unknown", "stale", "ended"])
async def test_a_message_to_what_does_not_live_is_not_appended(bench: Bench, state: str) -> None:
    match state:
        case "stale":
            await bench.claim("2-bb")
        case "ended":
            await bench.owned()
            await bench.ownership.release(CART, "1-aa", 1, "exit", "")
    assert await bench.inbox.submit(CART, interact("1-aa"), 1000) == state
    assert await bench.inbox.submit(CART, Connect("1-aa"), 1000) == state
    assert await bench.call("EXISTS", bench.keys.inbox(CART)) == 0


async def test_a_message_over_the_limit_is_refused_before_it_is_sent(bench: Bench) -> None:
    await bench.owned()
    with pytest.raises(MessageError, match="over the limit of 10"):
        await bench.inbox.submit(CART, interact("1-aa"), 10)
    assert await bench.call("EXISTS", bench.keys.inbox(CART)) == 0


async def test_a_message_carries_the_version_that_the_session_has(bench: Bench) -> None:
    await bench.owned()
    await bench.inbox.open(CART, OPEN)
    _, version = await bench.sessions.write(SESSION, {"a": b"1"})
    await bench.inbox.open(CART, OPEN)
    await bench.inbox.submit(CART, interact("1-aa"), 1000)
    entries = [parse_entry(raw) for raw in await bench.call("XRANGE", bench.keys.inbox(CART), "-", "+")]
    assert [entry.session_version for entry in entries] == ["", version, version]


async def test_a_message_renews_the_life_of_inbox_and_session(bench: Bench) -> None:
    await bench.owned()
    await bench.sessions.write(SESSION, {"a": b"1"})
    await bench.inbox.open(CART, OPEN)
    for key in (bench.keys.inbox(CART), bench.keys.session(SESSION)):
        await bench.call("PEXPIRE", key, 1000)
    await bench.inbox.submit(CART, interact("1-aa"), 1000)
    assert await bench.ttl_ms(bench.keys.inbox(CART)) > limits.INBOX_TTL_MS - 60_000
    assert await bench.ttl_ms(bench.keys.session(SESSION)) > limits.DAY_MS


# Sessions


async def test_a_session_that_never_was_is_empty_and_has_no_version(bench: Bench) -> None:
    assert await bench.sessions.read(SESSION) == SessionData({}, "")
    assert await bench.call("DBSIZE") == 0


async def test_what_is_written_is_read(bench: Bench) -> None:
    values: dict[str, bytes | None] = {"a": b"1", "version": b'"mine"', 'q"\u00e9 ': b"[]", "": b"null"}
    _, version = await bench.sessions.write(SESSION, values)
    assert await bench.sessions.read(SESSION) == SessionData({k: v for k, v in values.items() if v}, version)


async def test_every_write_gives_a_new_version_and_tells_the_one_before(bench: Bench) -> None:
    before, first = await bench.sessions.write(SESSION, {"a": b"1"})
    assert before == ""
    before, second = await bench.sessions.write(SESSION, {"a": b"1"})
    assert before == first
    assert second != first


async def test_two_writers_of_different_keys_both_win(bench: Bench) -> None:
    writers = [Sessions(bench.new_client(), bench.keys) for _ in range(2)]
    await asyncio.gather(
        *(writer.write(SESSION, {f"k{n}": b"%d" % n}) for n in range(50) for writer in (writers[n % 2],))
    )
    assert (await bench.sessions.read(SESSION)).values == {f"k{n}": b"%d" % n for n in range(50)}


async def test_the_versions_of_many_writers_are_one_chain(bench: Bench) -> None:
    writers = [Sessions(bench.new_client(), bench.keys) for _ in range(4)]
    pairs = await asyncio.gather(*(writer.write(SESSION, {"k": b"1"}) for writer in writers * 10))
    assert len({before for before, _ in pairs}) == 40
    assert {before for before, _ in pairs} - {after for _, after in pairs} == {""}


async def test_a_deleted_key_is_gone_and_the_others_stay(bench: Bench) -> None:
    await bench.sessions.write(SESSION, {"a": b"1", "b": b"2"})
    await bench.sessions.write(SESSION, {"a": None, "never": None})
    assert (await bench.sessions.read(SESSION)).values == {"b": b"2"}


async def test_a_deleted_session_is_gone(bench: Bench) -> None:
    await bench.sessions.write(SESSION, {"a": b"1"})
    await bench.sessions.delete(SESSION)
    assert await bench.sessions.read(SESSION) == SessionData({}, "")


def numbered(count: int, start: int = 0) -> dict[str, bytes | None]:
    return {f"k{number}": b"1" for number in range(start, start + count)}


async def test_a_session_holds_its_number_of_keys(bench: Bench) -> None:
    await bench.sessions.write(SESSION, numbered(limits.SESSION_MAX_FIELDS))
    await bench.sessions.write(SESSION, {"k0": b"2"})
    assert len((await bench.sessions.read(SESSION)).values) == limits.SESSION_MAX_FIELDS


@pytest.mark.parametrize("there", [0, 1, limits.SESSION_MAX_FIELDS])
async def test_a_write_that_makes_too_many_keys_is_refused_as_a_whole(bench: Bench, there: int) -> None:
    if there:
        await bench.sessions.write(SESSION, numbered(there))
    before = await bench.sessions.read(SESSION)
    with pytest.raises(MessageError, match="at most 1000 keys"):
        await bench.sessions.write(SESSION, numbered(limits.SESSION_MAX_FIELDS + 1 - there, there))
    assert await bench.sessions.read(SESSION) == before


async def test_in_a_full_session_one_key_can_take_the_place_of_another(bench: Bench) -> None:
    await bench.sessions.write(SESSION, numbered(limits.SESSION_MAX_FIELDS))
    await bench.sessions.write(SESSION, {"new": b"1", "k0": None})
    values = (await bench.sessions.read(SESSION)).values
    assert "new" in values
    assert len(values) == limits.SESSION_MAX_FIELDS


@pytest.mark.parametrize("where", ["value", "key"])
async def test_a_write_over_its_limit_is_refused(bench: Bench, where: str) -> None:
    long = "x" * (limits.SESSION_MAX_WRITE_BYTES + 1)
    changes = {"k": long.encode()} if where == "value" else {long: b"1"}
    with pytest.raises(MessageError, match=f"over the limit of {limits.SESSION_MAX_WRITE_BYTES}"):
        await bench.sessions.write(SESSION, changes)
    assert await bench.call("DBSIZE") == 0


# Spawn requests


async def test_a_request_goes_to_one_supervisor(bench: Bench) -> None:
    await bench.spawns.create_group()
    await bench.spawns.put(REQUEST)
    takers = [bench.supervisor().waiting_spawns for _ in range(3)]
    taken = await asyncio.gather(*(t.take(f"s{n}", 16, 0.1) for n, t in enumerate(takers)))
    assert [entry.body for entries in taken for entry in entries] == [encode(REQUEST)]


async def test_a_waiting_supervisor_gets_a_request_at_once(bench: Bench) -> None:
    await bench.spawns.create_group()
    waiting = asyncio.gather(bench.supervisor().waiting_spawns.take("s1", 16, 30))
    await bench.spawns.put(REQUEST)
    ((entry,),) = await asyncio.wait_for(waiting, 5)
    assert entry.body == encode(REQUEST)


async def test_requests_from_before_the_first_supervisor_are_taken(bench: Bench) -> None:
    await bench.spawns.put(REQUEST)
    await bench.spawns.create_group()
    assert len(await bench.spawns.take("s1", 16, 0.1)) == 1


async def test_a_second_supervisor_keeps_the_group_as_it_is(bench: Bench) -> None:
    await bench.spawns.create_group()
    await bench.spawns.put(REQUEST)
    await bench.spawns.take("s1", 16, 0.1)
    await bench.spawns.create_group()
    assert await bench.spawns.take("s2", 16, 0.01) == []


async def test_a_settled_request_is_gone(bench: Bench) -> None:
    await bench.spawns.create_group()
    await bench.spawns.put(REQUEST)
    (entry,) = await bench.spawns.take("s1", 16, 0.1)
    await bench.spawns.settle(entry)
    assert await bench.ids(bench.keys.spawn) == []
    assert (await bench.call("XPENDING", bench.keys.spawn, spawns.GROUP))[0] == 0


async def test_a_request_in_work_is_not_abandoned(bench: Bench) -> None:
    await bench.spawns.create_group()
    await bench.spawns.put(REQUEST)
    await bench.spawns.take("s1", 16, 0.1)
    assert await bench.spawns.take_abandoned("s2", 16) == []


async def test_an_abandoned_request_is_taken_by_another(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spawns, "ABANDONED_MS", 0)
    await bench.spawns.create_group()
    await bench.spawns.put(REQUEST)
    (entry,) = await bench.spawns.take("s1", 16, 0.1)
    assert await bench.spawns.take_abandoned("s2", 16) == [entry]
    await bench.spawns.settle(entry)
    assert await bench.spawns.take_abandoned("s3", 16) == []


async def test_an_abandoned_request_that_was_trimmed_meanwhile_is_none(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spawns, "ABANDONED_MS", 0)
    await bench.spawns.create_group()
    await bench.spawns.put(REQUEST)
    await bench.spawns.take("s1", 16, 0.1)
    await bench.call("XTRIM", bench.keys.spawn, "MAXLEN", 0)
    assert await bench.spawns.take_abandoned("s2", 16) == []


async def test_what_a_supervisor_left_unsettled_is_not_lost(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spawns, "ABANDONED_MS", 0)
    await bench.spawns.create_group()
    await bench.spawns.put(REQUEST)
    await bench.spawns.take("s1", 16, 0.1)
    await bench.spawns.leave("s1")
    found = await bench.spawns.take_abandoned("s2", 16) + await bench.spawns.take("s2", 16, 0.01)
    assert [entry.body for entry in found] == [encode(REQUEST)]


async def test_who_leaves_is_no_consumer_any_more(bench: Bench) -> None:
    await bench.spawns.create_group()
    await bench.spawns.take("s1", 16, 0.001)
    await bench.spawns.leave("s1")
    assert await bench.call("XINFO", "CONSUMERS", bench.keys.spawn, spawns.GROUP) == []


async def test_the_spawn_stream_is_bounded(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SPAWN_MAX_ENTRIES", 100)
    for _ in range(500):
        await bench.spawns.put(REQUEST)
    assert await bench.call("XLEN", bench.keys.spawn) <= 300  # trimmed by whole nodes


async def test_after_the_server_lost_its_data_requests_are_taken_again(bench: Bench) -> None:
    await bench.spawns.create_group()
    await bench.call("FLUSHALL")
    await bench.spawns.put(REQUEST)
    assert await bench.spawns.take_abandoned("s1", 16) == []
    await bench.spawns.leave("s2")
    with pytest.raises(BrokerUnavailable, match="lost its data"):
        await bench.spawns.take("s1", 16, 0.01)
    found = await bench.spawns.take("s1", 16, 0.01)
    assert [entry.body for entry in found] == [encode(REQUEST)]


# Heartbeats


async def test_a_supervisor_lives_by_its_beat(bench: Bench) -> None:
    await bench.presence.beat("s1", BEAT)
    supervisors = await bench.presence.supervisors()
    assert (supervisors.living, supervisors.dead) == ({"s1": BEAT}, frozenset())
    assert await bench.presence.lives("s1")


async def test_without_a_beat_a_supervisor_is_dead_and_remembered(bench: Bench) -> None:
    await bench.presence.beat("s1", BEAT)
    await bench.presence.note_owned("s1", CART)
    await bench.call("PEXPIRE", bench.keys.beat("s1"), 0)
    assert (await bench.presence.supervisors()).dead == {"s1"}
    assert not await bench.presence.lives("s1")
    assert await bench.presence.owned("s1") == [CART]


async def test_a_beat_after_the_death_is_a_life_again(bench: Bench) -> None:
    await bench.presence.beat("s1", BEAT)
    await bench.call("DEL", bench.keys.beat("s1"))
    await bench.presence.beat("s1", BEAT)
    assert (await bench.presence.supervisors()).dead == frozenset()


async def test_a_heartbeat_expires_and_its_registry_later(bench: Bench) -> None:
    await bench.presence.note_owned("s1", CART)
    await bench.presence.beat("s1", BEAT)
    assert 0 < await bench.ttl_ms(bench.keys.beat("s1")) <= limits.DEAD_AFTER_S * limits.SECOND_MS
    for key in (bench.keys.known_supervisors, bench.keys.owned("s1")):
        assert await bench.ttl_ms(key) > limits.HOUR_MS


async def test_a_heartbeat_counts_for_as_long_as_it_says(bench: Bench) -> None:
    await bench.presence.beat("s1", BEAT, 2.5)
    assert 2000 < await bench.ttl_ms(bench.keys.beat("s1")) <= 2500


async def test_who_was_dead_hears_so_with_its_next_heartbeat_and_once(bench: Bench) -> None:
    async def was_dead() -> bool:
        return (await bench.presence.beat("s1", BEAT)).was_dead

    assert [await was_dead(), await was_dead()] == [True, False]
    await bench.presence.forget("s1")
    assert [await was_dead(), await was_dead()] == [True, False]


async def test_a_look_at_the_spawn_stream_waits_for_nothing(bench: Bench) -> None:
    await bench.spawns.create_group()
    assert await bench.spawns.take("s1", 16, 0) == []
    await bench.spawns.put(REQUEST)
    assert [entry.body for entry in await bench.spawns.take("s1", 16, 0)] == [encode(REQUEST)]


async def test_a_forgotten_supervisor_leaves_nothing(bench: Bench) -> None:
    await bench.presence.note_owned("s1", CART)
    await bench.presence.beat("s1", BEAT)
    await bench.presence.forget("s1")
    assert await bench.call("DBSIZE") == 0


async def test_a_released_instance_is_not_noted_any_more(bench: Bench) -> None:
    await bench.presence.note_owned("s1", CART)
    await bench.presence.note_released("s1", CART)
    assert await bench.presence.owned("s1") == []


async def test_nobody_known_is_nobody(bench: Bench) -> None:
    supervisors = await bench.presence.supervisors()
    assert (supervisors.living, supervisors.dead, supervisors.has_room) == ({}, frozenset(), False)


# The secret, and the life of everything


async def test_all_web_workers_share_one_secret(bench: Bench) -> None:
    secrets = await asyncio.gather(*(bench.web(f"w{number}").secret() for number in range(10)))
    assert len(set(secrets)) == 1
    assert len(secrets[0]) >= 32


async def test_after_a_full_life_every_key_expires_except_two(bench: Bench, server: BrokerServer) -> None:
    await bench.web().secret()
    await bench.spawns.create_group()
    await bench.sessions.write(SESSION, {"a": b"1"})
    await bench.inbox.open(CART, OPEN)
    await bench.spawns.put(REQUEST)
    (entry,) = await bench.spawns.take("s1", 16, 0.1)
    await bench.presence.note_owned("s1", CART)
    await bench.presence.beat("s1", BEAT)
    writer = await bench.owned()
    await bench.spawns.settle(entry)
    await bench.replies.reply(CART, "1-aa", request="r1", worker="w1", reply=PAGE, taken="", now_ms=1)
    await bench.inbox.submit(CART, interact("1-aa"), 1000)
    await bench.emit(writer, 3)
    await bench.ownership.renew(CART, "1-aa")
    permanent = {bench.keys.secret, bench.keys.spawn}
    assert set(server.keys_without_ttl()) == permanent
    await bench.ownership.release(CART, "1-aa", 4, "exit", "")
    await bench.claim("2-bb", "s1")
    await bench.ownership.take_over(CART, "s1")
    assert set(server.keys_without_ttl()) == permanent
    assert await bench.call("DBSIZE") >= 9
