"""Who may write (G1): claims, emissions, releases and take-overs on real servers."""

import asyncio

import pytest
from htagweb_broker import limits
from htagweb_broker.errors import NotOwner
from htagweb_broker.messages import Ended, PageReply
from htagweb_broker.ownership import Claim, Claimed, Ownership, Record
from htagweb_broker.replies import ReplyReader

from tests.support.brokers import CART, NOBODY, OPEN, Bench

# Claims


async def test_who_claims_what_nobody_owns_wins(bench: Bench) -> None:
    assert await bench.claim("1-aa") == Claim([])
    assert await bench.ownership.read(CART) == Record("1-aa", "s1", 0, None)


async def test_a_claim_notes_the_facts_for_people(bench: Bench) -> None:
    await bench.claim("1-aa")
    assert await bench.call("HGET", bench.keys.instance(CART), "host") == b"h"


async def test_a_winner_gets_what_waits_in_the_inbox_and_it_stays_there(bench: Bench) -> None:
    await bench.inbox.open(CART, OPEN)
    claim = await bench.claim("1-aa")
    assert isinstance(claim, Claim)
    assert [entry.id for entry in claim.entries] == await bench.ids(bench.keys.inbox(CART))


async def test_who_claims_what_is_owned_loses_and_hears_to_whom(bench: Bench) -> None:
    await bench.claim("1-aa", "s1")
    assert await bench.claim("1-bb", "s2") == Claimed("1-aa", "s1")
    assert await bench.ownership.read(CART) == Record("1-aa", "s1", 0, None)


@pytest.mark.parametrize("expected", [Claimed("1-aa", "s9"), Claimed("0-zz", "s1"), Claimed("1-aa", "")])
async def test_a_claim_from_an_outdated_record_loses(bench: Bench, expected: Claimed) -> None:
    await bench.claim("1-aa", "s1")
    assert await bench.claim("2-bb", "s2", expected) == Claimed("1-aa", "s1")


async def test_a_claim_from_a_record_that_expired_loses(bench: Bench) -> None:
    assert await bench.claim("2-bb", "s2", Claimed("1-aa", "s1")) == NOBODY
    assert await bench.ownership.read(CART) is None


async def test_a_claim_from_a_dead_owner_wins_and_starts_at_number_zero(bench: Bench) -> None:
    await bench.emit(await bench.owned(), 3)
    assert await bench.claim("2-bb", "s2", Claimed("1-aa", "s1")) == Claim([])
    assert await bench.ownership.read(CART) == Record("2-bb", "s2", 0, None)
    assert await bench.ids(bench.keys.outbox(CART)) == []


async def test_a_claim_after_an_end_forgets_the_reason_of_the_end(bench: Bench) -> None:
    await bench.owned()
    await bench.ownership.release(CART, "1-aa", 1, "exit", "")
    assert isinstance(await bench.claim("2-bb", "s2", Claimed("1-aa", "")), Claim)
    assert await bench.ownership.read(CART) == Record("2-bb", "s2", 0, None)


@pytest.mark.parametrize("expected", [NOBODY, Claimed("0-zz", "dead"), Claimed("0-zz", "")])
async def test_of_many_who_claim_at_once_exactly_one_wins(bench: Bench, expected: Claimed) -> None:
    if expected.generation:
        await bench.claim("0-zz", "dead")
    if expected.generation and not expected.owner:
        await bench.ownership.release(CART, "0-zz", 1, "exit", "")

    async def claim(number: int) -> Claim | Claimed:
        ownership = Ownership(bench.new_client(), bench.keys)
        return await ownership.claim(
            CART, expected=expected, generation=f"1-{number}", owner=f"s{number}", facts={"host": "h"}
        )

    results = await asyncio.gather(*(claim(number) for number in range(20)))
    (winner,) = [number for number, result in enumerate(results) if isinstance(result, Claim)]
    told = {result for result in results if isinstance(result, Claimed)}
    assert told == {Claimed(f"1-{winner}", f"s{winner}")}
    assert await bench.ownership.read(CART) == Record(f"1-{winner}", f"s{winner}", 0, None)


# Emissions


async def test_an_emission_is_numbered_and_kept(bench: Bench) -> None:
    await bench.emit(await bench.owned(), 3)
    assert [e.number for e in await bench.reader.read_after(CART, "1-aa", 0)] == [1, 2, 3]
    assert await bench.ownership.read(CART) == Record("1-aa", "s1", 3, None)


async def test_an_old_generation_can_emit_nothing_after_a_new_claim(bench: Bench) -> None:
    writer = await bench.owned()
    await bench.emit(writer)
    await bench.claim("2-bb", "s2", Claimed("1-aa", "s1"))
    with pytest.raises(NotOwner):
        await bench.emit(writer)
    assert await bench.ids(bench.keys.outbox(CART)) == []


async def test_an_old_generation_that_emits_all_the_time_stops_at_the_new_claim(bench: Bench) -> None:
    writer, other = await bench.owned(), bench.new_client()

    async def emit_until_refused() -> int:
        while True:
            try:
                await bench.emit(writer)
            except NotOwner:
                return writer.number - 1

    async def claim() -> None:
        while not await bench.ids(bench.keys.outbox(CART)):
            pass
        await Ownership(other, bench.keys).claim(
            CART, expected=Claimed("1-aa", "s1"), generation="2-bb", owner="s2", facts={"host": "h"}
        )

    emitted, _ = await asyncio.gather(emit_until_refused(), claim())
    assert emitted > 0
    assert await bench.ownership.read(CART) == Record("2-bb", "s2", 0, None)
    assert await bench.ids(bench.keys.outbox(CART)) == []


@pytest.mark.parametrize("end", ["release", "take_over", "expiry"])
async def test_who_does_not_own_it_any_more_emits_nothing(bench: Bench, end: str) -> None:
    writer = await bench.owned()
    match end:
        case "release":
            await bench.ownership.release(CART, "1-aa", 1, "exit", "")
        case "take_over":
            await bench.ownership.take_over(CART, "s1")
        case _:
            await bench.call("DEL", bench.keys.instance(CART))
    before = await bench.ids(bench.keys.outbox(CART))
    with pytest.raises(NotOwner):
        await bench.emit(writer, 2)
    assert await bench.ids(bench.keys.outbox(CART)) == before


async def test_an_emission_removes_what_was_taken_from_the_inbox_and_nothing_after(bench: Bench) -> None:
    writer = await bench.owned()
    for _ in range(3):
        await bench.inbox.open(CART, OPEN)
    first, second, third = await bench.ids(bench.keys.inbox(CART))
    await bench.emit(writer, taken=first)
    assert await bench.ids(bench.keys.inbox(CART)) == [second, third]
    await bench.emit(writer, taken=second)
    assert await bench.ids(bench.keys.inbox(CART)) == [third]


async def test_an_emission_of_a_stranger_takes_nothing_from_the_inbox(bench: Bench) -> None:
    await bench.owned()
    await bench.inbox.open(CART, OPEN)
    waiting = await bench.ids(bench.keys.inbox(CART))
    with pytest.raises(NotOwner):
        await bench.emit(bench.writer("0-zz"), taken=waiting[0])
    assert await bench.ids(bench.keys.inbox(CART)) == waiting


async def test_the_first_emission_gives_the_outbox_its_life_and_further_ones_leave_it(bench: Bench) -> None:
    writer = await bench.owned()
    await bench.emit(writer)
    for key in (bench.keys.instance(CART), bench.keys.outbox(CART)):
        assert await bench.ttl_ms(key) > limits.HOUR_MS
    await bench.call("PEXPIRE", bench.keys.outbox(CART), 60_000)
    await bench.emit(writer)
    assert 0 < await bench.ttl_ms(bench.keys.outbox(CART)) <= 60_000


# Renewals


async def test_a_renewal_lengthens_the_life_and_notes_facts(bench: Bench) -> None:
    await bench.emit(await bench.owned())
    keys = [bench.keys.instance(CART), bench.keys.outbox(CART)]
    for key in keys:
        await bench.call("PEXPIRE", key, 60_000)
    await bench.ownership.renew(CART, "1-aa", {"pid": "12"})
    for key in keys:
        assert await bench.ttl_ms(key) > limits.HOUR_MS
    assert await bench.call("HGET", bench.keys.instance(CART), "pid") == b"12"


async def test_a_renewal_by_another_generation_is_refused_and_changes_nothing(bench: Bench) -> None:
    await bench.claim("2-bb")
    with pytest.raises(NotOwner):
        await bench.ownership.renew(CART, "1-aa", {"pid": "12"})
    assert await bench.call("HGET", bench.keys.instance(CART), "pid") is None


async def test_a_renewal_of_what_expired_is_refused_and_makes_no_key(bench: Bench) -> None:
    with pytest.raises(NotOwner):
        await bench.ownership.renew(CART, "1-aa", {"pid": "12"})
    assert await bench.call("DBSIZE") == 0


async def test_a_renewal_of_what_was_taken_over_is_refused(bench: Bench) -> None:
    # A supervisor that comes back from an outage learns by this that its app process must end.
    await bench.claim("1-aa", "s1")
    await bench.ownership.take_over(CART, "s1")
    with pytest.raises(NotOwner):
        await bench.ownership.renew(CART, "1-aa")


# Releases and take-overs


async def test_a_release_tells_the_end_as_last_action_and_frees_the_instance(bench: Bench) -> None:
    await bench.emit(await bench.owned())
    assert await bench.ownership.release(CART, "1-aa", 2, "inactivity", "") == 0
    assert await bench.ownership.read(CART) == Record("1-aa", "", 2, "inactivity")
    (last,) = await bench.reader.read_after(CART, "1-aa", 1)
    assert last.action == Ended("inactivity")


async def test_a_release_counts_what_waits_and_removes_what_was_taken(bench: Bench) -> None:
    await bench.owned()
    for _ in range(3):
        await bench.inbox.open(CART, OPEN)
    first, *rest = await bench.ids(bench.keys.inbox(CART))
    assert await bench.ownership.release(CART, "1-aa", 1, "exit", first) == 2
    assert await bench.ids(bench.keys.inbox(CART)) == rest


async def test_a_repeated_release_tells_the_end_once(bench: Bench) -> None:
    await bench.owned()
    for _ in range(3):
        assert await bench.ownership.release(CART, "1-aa", 1, "exit", "") == 0
    assert await bench.ids(bench.keys.outbox(CART)) == ["1-0"]


async def test_a_release_by_another_generation_is_refused(bench: Bench) -> None:
    await bench.claim("2-bb")
    with pytest.raises(NotOwner):
        await bench.ownership.release(CART, "1-aa", 1, "exit", "")
    assert await bench.ownership.read(CART) == Record("2-bb", "s1", 0, None)


async def test_a_take_over_tells_the_loss_after_the_last_number(bench: Bench) -> None:
    await bench.emit(await bench.owned(), 3)
    assert await bench.ownership.take_over(CART, "s1")
    assert await bench.ownership.read(CART) == Record("1-aa", "", 4, "lost")
    (last,) = await bench.reader.read_after(CART, "1-aa", 3)
    assert last.action == Ended("lost")


async def test_of_many_who_take_over_exactly_one_does(bench: Bench) -> None:
    await bench.owned()
    owners = [Ownership(bench.new_client(), bench.keys) for _ in range(10)]
    assert sum(await asyncio.gather(*(each.take_over(CART, "s1") for each in owners))) == 1
    assert await bench.ids(bench.keys.outbox(CART)) == ["1-0"]


@pytest.mark.parametrize("dead", ["s2", ""])
async def test_nothing_is_taken_over_from_who_does_not_own_it(bench: Bench, dead: str) -> None:
    await bench.claim("1-aa", "s1")
    assert not await bench.ownership.take_over(CART, dead)
    assert await bench.ownership.read(CART) == Record("1-aa", "s1", 0, None)


async def test_nothing_is_taken_over_where_nothing_is(bench: Bench) -> None:
    assert not await bench.ownership.take_over(CART, "s1")
    assert await bench.call("DBSIZE") == 0


# Replies


async def test_a_reply_is_stored_with_the_last_number_and_told_to_the_worker(bench: Bench) -> None:
    await bench.emit(await bench.owned(), 2)
    page = PageReply("1-aa", "<p>")
    reader: ReplyReader = bench.web().replies
    await bench.replies.reply(CART, "1-aa", request="r1", worker="w1", reply=page, taken="", now_ms=1)
    replied = await reader.read(CART.session, "r1")
    assert replied is not None
    assert (replied.reply, replied.number) == (page, 2)
    assert 0 < await bench.ttl_ms(bench.keys.reply(CART.session, "r1")) <= limits.REPLY_TTL_MS


async def test_a_reply_removes_what_was_taken_from_the_inbox(bench: Bench) -> None:
    await bench.owned()
    for _ in range(2):
        await bench.inbox.open(CART, OPEN)
    first, second = await bench.ids(bench.keys.inbox(CART))
    page = PageReply("1-aa", "<p>")
    await bench.replies.reply(CART, "1-aa", request="r1", worker="w1", reply=page, taken=first, now_ms=1)
    assert await bench.ids(bench.keys.inbox(CART)) == [second]


async def test_a_reply_of_an_old_generation_is_refused_and_stored_nowhere(bench: Bench) -> None:
    await bench.claim("2-bb")
    page = PageReply("1-aa", "<p>")
    with pytest.raises(NotOwner):
        await bench.replies.reply(CART, "1-aa", request="r1", worker="w1", reply=page, taken="", now_ms=1)
    assert await bench.web().replies.read(CART.session, "r1") is None
