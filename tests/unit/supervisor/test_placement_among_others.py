"""How a supervisor takes requests where others live, and what it does when they die or it was dead itself."""

import pytest
from htagweb_broker import Beat, BrokerUnavailable, Record, Supervisors, limits

from htagweb.supervisor import whereabouts
from htagweb.supervisor.placement import LOOK_S
from tests.support.fakes import turns
from tests.unit.supervisor.daemons import Daemon, Running
from tests.unit.supervisor.harness import INSTANCE, opening
from tests.unit.supervisor.sites import SECOND, Site

FREER = Beat("other", "h", 2, "v", capacity=100, load=0, draining=False)


def see(site: Site, other: Beat) -> None:
    """Have another supervisor live, and this one know it."""
    site.broker.living = {"other-2-bb": other}
    site.standing.note(Supervisors(dict(site.broker.living), frozenset()))


async def give_way(site: Site) -> None:
    """Have it be fuller than another, and know that: it has waited once more."""
    await site.open()
    see(site, FREER)
    await site.ask(body=b"nonsense")
    await site.ask(body=b"nonsense")


async def test_who_is_fuller_than_another_looks_only_now_and_then(site: Site) -> None:
    await give_way(site)
    site.wait_in_inbox(SECOND, opening())
    await site.ask(SECOND)
    assert site.placement.load == 1
    await site.clock.advance(LOOK_S)
    assert site.placement.load == 2


async def test_who_gives_way_waits_again_when_the_other_is_gone(site: Site) -> None:
    await give_way(site)
    site.broker.living.clear()
    await site.clock.advance(LOOK_S)
    await site.clock.advance(LOOK_S)
    site.wait_in_inbox(SECOND, opening())
    await site.ask(SECOND)
    assert site.placement.load == 2


async def test_a_look_that_fails_is_an_outage(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    await give_way(site)
    site.broker.errors["take"] = BrokerUnavailable("away")
    await site.clock.advance(LOOK_S)
    assert "trying again" in caplog.text


async def test_the_others_are_told_at_once_how_full_it_is(site: Site) -> None:
    await site.open()
    assert [beat.load for _, beat in site.broker.of("beat")] == [1]


# The dead


async def test_whose_process_is_gone_is_taken_over_at_the_first_look(running: Running) -> None:
    it, _ = running
    (_, mine) = it.broker.of("beat")[0]
    it.broker.living = {"gone-1-aa": Beat("s", "h", mine.pid, "v", 1, 0, False, 0.0, mine.place, 1)}
    it.broker.owned["gone-1-aa"] = {INSTANCE}
    it.broker.records[INSTANCE] = Record("1-0123abcd", "gone-1-aa", 3, None)
    assert mine.place == whereabouts.place()
    await it.beats(1)
    assert it.broker.records[INSTANCE].reason == "lost"
    assert it.broker.of("forget") == [("gone-1-aa",)]


async def test_one_that_lives_in_the_same_place_is_not_gone(running: Running) -> None:
    it, _ = running
    it.broker.living = {name: beat for name, beat in it.broker.of("beat")[:1]}
    await it.beats(2)
    assert it.broker.of("forget") == []


async def test_who_was_dead_for_others_notes_and_asserts_what_it_runs(running: Running) -> None:
    it, _ = running
    await it.open()
    await it.beats(1)
    noted, renewed = len(it.broker.of("note_owned")), len(it.broker.of("renew"))
    await it.beats(1)
    assert (len(it.broker.of("note_owned")), len(it.broker.of("renew"))) == (noted, renewed)
    it.broker.forgot_beat = True
    it.broker.owned.clear()  # who took over forgets it all
    await it.beats(1)
    assert it.broker.owned == {it.supervisor.id: {INSTANCE}}
    assert len(it.broker.of("renew")) == renewed + 1


async def test_what_could_not_be_asserted_is_asserted_with_the_next_heartbeat(running: Running) -> None:
    it, _ = running
    await it.open()
    await it.beats(1)
    renewed = len(it.broker.of("renew"))
    it.broker.forgot_beat = True
    it.broker.errors["note_owned"] = BrokerUnavailable("away")
    await it.beats(1)
    it.broker.errors.clear()
    await it.beats(1)
    await turns()
    assert len(it.broker.of("renew")) == renewed + 1


async def test_a_take_over_that_fails_half_way_is_finished_later(running: Running) -> None:
    it, _ = running
    it.broker.dead = frozenset({"dead-1-aa"})
    it.broker.owned["dead-1-aa"] = {INSTANCE, SECOND}
    it.broker.records[SECOND] = Record("1-0123abcd", "dead-1-aa", 3, None)
    it.broker.records[INSTANCE] = Record("1-0123abcd", "dead-1-aa", 3, None)
    await it.beats(limits.BEATS_PER_LIFE)
    it.broker.errors["forget"] = BrokerUnavailable("away")
    await it.beats(1)
    assert "dead-1-aa" in it.broker.owned
    it.broker.errors.clear()
    await it.beats(limits.BEATS_PER_LIFE + 1)
    assert set(it.broker.of("forget")) == {("dead-1-aa",)}
    assert {record.reason for record in it.broker.records.values()} == {"lost"}


def test_the_daemon_compares_with_what_it_says_of_itself(idle: Daemon) -> None:
    beat = idle.supervisor._describe()
    assert beat.started == whereabouts.started(beat.pid) != 0
    assert beat.cpu >= 0
