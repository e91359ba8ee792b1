"""Which instances a supervisor takes: claims, the dead, capacity, and what comes after an instance."""

import asyncio
from typing import Any

import pytest
from htagweb_broker import BrokerUnavailable, Entry, InstanceId, Record, SpawnEntry, SpawnRequest
from htagweb_broker.messages import encode

from htagweb.host import frames
from htagweb.supervisor.placement import RETRY_S, SETTLE_BEATS, TAKE_COUNT
from htagweb.supervisor.templates import LaunchError
from tests.support.fakes import turns
from tests.unit.supervisor.harness import INSTANCE, OTHER, interaction, opening
from tests.unit.supervisor.sites import ME, SECOND, Site

SETTLE_S = float(SETTLE_BEATS)


async def test_a_request_is_claimed_started_read_and_settled(site: Site) -> None:
    site.wait_in_inbox(INSTANCE, opening())
    await site.ask()
    assert site.placement.load == 1
    assert site.broker.records[INSTANCE].owner == ME
    assert site.broker.of("add_inbox") == [(INSTANCE, "1-0")]
    assert site.templates.forked == [str(INSTANCE)]
    assert site.settled == ["s1"]


async def test_what_is_about_to_be_claimed_is_noted_before(site: Site) -> None:
    await site.open()
    verbs = site.broker.verbs()
    assert verbs.index("note_owned") < verbs.index("claim")


@pytest.mark.parametrize(("previous", "count"), [("", "1"), ("7-0123abcd", "8")])
async def test_each_generation_counts_on_and_is_unlike_any_other(
    site: Site, previous: str, count: str
) -> None:
    if previous:
        site.broker.records[INSTANCE] = Record(previous, "", 3, "exit")
    site.wait_in_inbox(INSTANCE, opening())
    await site.ask(expected=previous)
    number, _, rest = site.placement.instances[INSTANCE].generation.partition("-")
    assert (number, len(rest)) == (count, 8)


async def test_a_request_for_a_generation_that_has_passed_is_settled_without_a_claim(site: Site) -> None:
    site.broker.records[INSTANCE] = Record("2-0123abcd", "", 3, "exit")
    await site.ask(expected="1-0123abcd")
    assert site.broker.of("claim") == []
    assert site.settled == ["s1"]


async def test_what_a_living_supervisor_owns_is_left_to_it(site: Site) -> None:
    site.broker.records[INSTANCE] = Record("1-0123abcd", "other", 3, None)
    await site.ask(expected="1-0123abcd")
    assert site.broker.of("claim") == []
    assert site.settled == ["s1"]


@pytest.mark.parametrize("owner", ["dead", ME])
async def test_what_a_dead_supervisor_owned_or_a_lost_claim_of_its_own_is_claimed(
    site: Site, owner: str
) -> None:
    site.dead.add("dead")
    site.broker.records[INSTANCE] = Record("1-0123abcd", owner, 3, None)
    site.wait_in_inbox(INSTANCE, opening())
    await site.ask(expected="1-0123abcd")
    assert site.broker.records[INSTANCE].owner == ME
    assert site.placement.load == 1


async def test_what_runs_here_already_is_not_claimed_again(site: Site) -> None:
    owned = await site.open()
    await site.ask(expected=owned.generation)
    assert len(site.broker.of("claim")) == 1
    assert site.settled == ["s1", "s2"]
    # What is asked was appended while the server had lost the record: it was published to nobody.
    assert site.broker.of("look") == [(INSTANCE,)]


async def test_a_claim_that_another_won_is_left_to_it(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    read = site.broker.ownership.read

    async def outrun(instance: InstanceId) -> Record | None:
        before = await read(instance)
        site.broker.records[INSTANCE] = Record("1-0123abcd", "faster", 0, None)
        return before

    monkeypatch.setattr(site.broker.ownership, "read", outrun)
    await site.ask()
    assert site.placement.load == 0
    assert site.broker.records[INSTANCE].owner == "faster"


async def test_an_instance_that_nobody_waits_for_is_given_up_at_once(site: Site) -> None:
    await site.ask()
    assert site.placement.load == 0
    assert site.templates.forked == []
    assert site.broker.of("release")[0][1:] == (1, "never_connected", "")


async def test_what_is_no_request_in_an_inbox_is_not_waited_for(site: Site) -> None:
    site.broker.entries[INSTANCE] = [
        Entry("1-0", b"nonsense", ""),
        Entry("2-0", encode(interaction(1)), ""),
        Entry("3-0", encode(opening("r1")), ""),
        Entry("4-0", encode(opening("r2")), ""),
    ]
    await site.ask()
    assert site.broker.of("add_inbox") == [(INSTANCE, "4-0")]
    (start, render) = site.processes[0].sent
    assert isinstance(start, frames.Start)
    assert (start.request, render) == ("r2", frames.Render("r1"))


@pytest.mark.parametrize(
    "body",
    [b"nonsense", encode(SpawnRequest("no colon", "")), encode(SpawnRequest("zz:m.App", "1-x"))],
    ids=["no JSON", "no instance", "no digest"],
)
async def test_a_request_that_is_none_is_settled_and_the_next_one_served(
    site: Site, body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    await site.ask(body=body)
    await site.open()
    assert site.settled == ["s1", "s2"]


async def test_no_more_requests_are_taken_than_there_is_room(site: Site) -> None:
    await site.open()
    await site.open(SECOND)
    assert [count for (count,) in site.broker.of("take")] == [3, 2, 1]
    await site.open(InstanceId("cd" * 16, "m.App"))
    assert len(site.broker.of("take")) == 3


async def test_requests_are_taken_again_when_there_is_room_again(site: Site) -> None:
    for number in range(3):
        owned = await site.open(InstanceId(f"{number:032x}", "m.App"))
    owned.handle_gone("exit code 0")
    await site.clock.advance(RETRY_S)
    assert site.broker.of("take")[-1] == (1,)


async def test_after_an_outage_nothing_is_claimed_until_others_have_written_their_records_again(
    site: Site,
) -> None:
    site.broker.errors["take"] = BrokerUnavailable("away")
    await site.ask(expected="1-0123abcd")  # taken at once: a request for what has passed
    site.broker.errors.clear()
    site.wait_in_inbox(SECOND, opening())
    await site.ask(SECOND)
    await site.clock.advance(SETTLE_S - RETRY_S)
    assert site.placement.load == 0
    await site.clock.advance(RETRY_S)
    await site.clock.advance(RETRY_S)
    assert SECOND in site.placement.instances


async def test_a_broker_that_is_away_is_waited_for(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    site.broker.errors["read_record"] = BrokerUnavailable("away")
    await site.ask()
    assert site.settled == []
    site.broker.errors.clear()
    await site.clock.advance(SETTLE_S)
    await site.clock.advance(RETRY_S)
    await site.open(SECOND)
    assert "trying again" in caplog.text


async def test_an_unexpected_error_with_a_request_costs_no_app(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    assert site.running is not None
    await site.open()
    site.broker.errors["read_record"] = TypeError("unexpected")
    await site.ask(SECOND)
    site.broker.errors.clear()
    await site.clock.advance(RETRY_S)
    await site.open(SECOND)
    assert site.placement.load == 2
    assert not site.running.done()
    assert "an unexpected error, requests are taken again" in caplog.text


async def test_an_abandoned_request_is_served(site: Site) -> None:
    assert site.running is not None
    site.wait_in_inbox(INSTANCE, opening())
    request = encode(SpawnRequest(INSTANCE.dump(), ""))
    site.broker.spawn_requests = asyncio.Queue()
    site.broker.spawn_requests.put_nowait(SpawnEntry("s9", request))
    await site.placement.take_abandoned()
    assert site.placement.load == 1
    assert site.settled == ["s9"]
    assert site.broker.of("take_abandoned") == [(min(3, TAKE_COUNT),)]


async def test_no_abandoned_request_is_taken_without_room(site: Site) -> None:
    for number in range(3):
        await site.open(InstanceId(f"{number:032x}", "m.App"))
    await site.placement.take_abandoned()
    assert site.broker.of("take_abandoned") == []


async def test_no_abandoned_request_is_taken_while_draining(site: Site) -> None:
    site.placement.drain()
    await site.placement.take_abandoned()
    assert site.broker.of("take_abandoned") == []


# After an instance


async def test_an_instance_that_ended_is_forgotten(site: Site) -> None:
    owned = await site.open()
    owned.handle_gone("exit code 0")
    await turns()
    assert site.placement.load == 0
    assert site.broker.owned[ME] == set()
    assert site.broker.of("remove_inbox") == [(INSTANCE,)]


async def test_what_the_broker_takes_for_ours_and_is_not_is_ended(site: Site) -> None:
    await site.open()
    site.broker.owned[ME].add(SECOND)
    site.broker.records[SECOND] = Record("1-0123abcd", ME, 3, None)
    await site.placement.disown()
    assert site.broker.records[SECOND].owner == ""
    assert site.broker.owned[ME] == {INSTANCE}
    assert site.broker.records[INSTANCE].owner == ME


async def test_requests_with_other_parameters_are_served_by_the_next_generation(site: Site) -> None:
    first = await site.open()
    site.bring(INSTANCE, opening("r2", OTHER))
    first.handle_gone("exit code 0")
    await turns()
    second = site.placement.instances[INSTANCE]
    assert second is not first
    assert second.generation.startswith("2-")
    start = site.processes[-1].sent[0]
    assert isinstance(start, frames.Start)
    assert (start.request, start.args) == ("r2", ["other"])
    assert site.broker.of("note_released") == []


async def test_the_next_generation_that_cannot_be_claimed_is_logged_and_ends_nothing_else(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    first, other = await site.open(), await site.open(SECOND)
    site.bring(INSTANCE, opening("r2", OTHER))
    site.broker.errors["claim"] = BrokerUnavailable("away")
    first.handle_gone("exit code 0")
    await turns()
    assert list(site.placement.instances.values()) == [other]
    assert "not started anew" in caplog.text


@pytest.mark.parametrize("asked", [False, True], ids=["not delivered", "asked again"])
async def test_a_page_that_is_asked_for_while_its_app_is_given_up_is_served_at_once(
    site: Site, asked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await site.open()
    release = site.broker.ownership.release

    async def slow(*args: Any) -> int:
        waiting = await release(*args)
        site.wait_in_inbox(INSTANCE, opening("r2"))
        if asked:  # by a worker that saw no owner, before this supervisor has the answer to its release
            await site.ask(expected=first.generation)
        return waiting

    monkeypatch.setattr(site.broker.ownership, "release", slow)
    first.handle_gone("exit code 0")
    await turns(100)
    second = site.placement.instances[INSTANCE]
    assert second.generation.startswith("2-")
    assert isinstance(start := site.processes[-1].sent[0], frames.Start)
    assert start.request == "r2"
    assert site.broker.owned[ME] == {INSTANCE}


@pytest.mark.parametrize("error", [LaunchError("no such app"), LookupError("nobody expected this")])
async def test_an_app_that_cannot_be_started_is_tried_once_for_each_request(
    site: Site, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(app: str, *, debug: bool) -> None:
        raise error

    monkeypatch.setattr(site.templates, "get", fail)
    for number in (1, 2):
        site.wait_in_inbox(INSTANCE, opening(f"r{number}"))
        generation = record.generation if (record := site.broker.records.get(INSTANCE)) else ""
        await site.ask(expected=generation)
        await turns()
        assert len(site.broker.of("claim")) == number
    assert site.placement.load == 0
    assert site.broker.of("spawn") == []


async def test_entries_for_an_instance_that_is_not_here_are_nobodys(site: Site) -> None:
    site.placement.deliver(INSTANCE, [Entry("5-0", encode(opening()), "")])
    assert site.placement.load == 0


async def test_an_unexpected_error_ends_one_instance_and_no_other(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    broken, other = await site.open(), await site.open(SECOND)

    def fail(now: float) -> None:
        raise LookupError("nobody expected this")

    monkeypatch.setattr(broken, "tick", fail)
    site.placement.tick(site.clock.now())
    assert [process.signals for process in site.processes] == [[9], []]
    assert "nobody expected this" in caplog.text
    assert other in site.placement.instances.values()


async def test_an_unexpected_error_while_writing_tells_the_page_that_its_app_is_lost(site: Site) -> None:
    broken, other = await site.open(), await site.open(SECOND)
    site.broker.errors["renew"] = LookupError("nobody expected this")
    broken.renew()
    await turns()
    assert list(site.placement.instances.values()) == [other]
    assert site.broker.records[INSTANCE].reason == "lost"
    assert [process.signals for process in site.processes] == [[9], []]


async def test_after_a_drain_nothing_is_taken_and_run_returns_with_the_last_instance(site: Site) -> None:
    owned = await site.open()
    site.placement.drain()
    await site.ask(SECOND)
    assert site.placement.load == 1
    assert site.running is not None
    assert not site.running.done()
    owned.handle_gone("exit code 0")
    await asyncio.wait_for(site.running, 1)


# The dead


async def test_taking_over_ends_what_the_dead_one_still_owned_and_forgets_it(site: Site) -> None:
    site.broker.owned["dead"] = {INSTANCE, SECOND}
    site.broker.records[INSTANCE] = Record("1-0123abcd", "dead", 3, None)
    site.broker.records[SECOND] = Record("4-0123abcd", "living", 3, None)
    assert await site.placement.take_over("dead") == 1
    assert site.broker.records[INSTANCE] == Record("1-0123abcd", "", 4, "lost")
    assert site.broker.records[SECOND].owner == "living"
    assert site.broker.of("forget") == [("dead",)]
