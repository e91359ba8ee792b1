"""What becomes of a page that is asked for while its app ends: the next generation, here or elsewhere."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from htagweb_broker import BrokerRefused, BrokerUnavailable, Entry, SpawnEntry, SpawnRequest

from htagweb.host import frames
from htagweb.supervisor.instance import OwnedInstance
from htagweb.supervisor.publisher import REFUSED_TIMEOUT_S
from tests.support.fakes import turns
from tests.unit.supervisor.harness import INSTANCE, OTHER, opening
from tests.unit.supervisor.sites import SECOND, Site


def asked_for(owned: OwnedInstance) -> tuple[SpawnRequest]:
    """Return the spawn request for the generation after an instance's."""
    return (SpawnRequest(owned.id.dump(), owned.generation),)


@pytest.mark.parametrize("delivered", [False, True], ids=["not delivered", "delivered"])
async def test_who_drains_leaves_a_page_that_its_ended_app_did_not_answer_to_others(
    site: Site, delivered: bool
) -> None:
    owned = await site.open()
    site.placement.drain()
    owned.end("drained")
    entries = site.wait_in_inbox(INSTANCE, opening("r2"))
    if delivered:
        site.deliver(INSTANCE, entries)
    owned.handle_gone("exit code 0")
    await turns()
    assert site.broker.of("spawn") == [asked_for(owned)]
    assert len(site.broker.of("claim")) == 1
    # What is known to wait is not looked for.
    assert bool(site.broker.of("read_inbox")) is not delivered


async def hold(site: Site) -> None:
    """Deliver a request that waits for a session that cannot be read."""
    (entry,) = site.wait_in_inbox(INSTANCE, opening("r2"))
    site.broker.errors["read_session"] = BrokerRefused("no such command")
    site.deliver(INSTANCE, [Entry(entry.id, entry.body, "another version")])
    await turns()
    await site.clock.advance(REFUSED_TIMEOUT_S + 1)  # it is given up
    site.broker.errors.clear()


async def break_batch(site: Site) -> None:
    """Deliver a request after an entry with which something unexpected happens."""
    (entry,) = site.wait_in_inbox(INSTANCE, opening("r2"))
    site.deliver(INSTANCE, [Entry("1-5", None, ""), entry])  # type: ignore[arg-type]
    assert site.processes[0].signals == [9]


async def interrupt(site: Site) -> None:
    """Have the inbox be read from its beginning again, and not be read so far."""
    site.broker.inboxes.advance(INSTANCE, "0-0")
    site.placement.deliver(INSTANCE, [])
    site.wait_in_inbox(INSTANCE, opening("r2"))


@pytest.mark.parametrize("happen", [hold, break_batch, interrupt])
async def test_a_page_that_was_delivered_and_not_dealt_with_is_served_by_the_next_generation(
    site: Site, happen: Callable[[Site], Any]
) -> None:
    first = await site.open()
    await happen(site)
    first.handle_gone("exit code 0")
    await turns(100)
    assert site.broker.of("spawn") == [asked_for(first)]
    assert isinstance(start := site.processes[-1].sent[0], frames.Start)
    assert start.request == "r2"


async def test_what_waits_and_is_no_request_stays_without_a_word(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    owned = await site.open()
    site.broker.entries[INSTANCE] = [Entry("5-0", b"nonsense", "")]
    owned.handle_gone("exit code 0")
    await turns()
    assert site.broker.of("read_inbox") == [(INSTANCE,)]
    assert site.broker.of("spawn") == []
    assert "dropped" not in caplog.text


@pytest.mark.parametrize("error", [BrokerUnavailable("away"), LookupError("nobody expected this")])
@pytest.mark.parametrize("verb", ["read_inbox", "spawn"])
async def test_a_page_that_cannot_be_asked_for_is_told_in_the_log_and_harms_nothing_else(
    site: Site, verb: str, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    first, other = await site.open(), await site.open(SECOND)
    site.broker.errors[verb] = error
    waiting = site.wait_in_inbox(INSTANCE, opening("r2"))
    first.handle_gone("exit code 0")
    await turns()
    assert list(site.placement.instances.values()) == [other]
    assert site.broker.entries[INSTANCE] == waiting
    assert "a page that may wait for the next one was not asked for" in caplog.text
    assert str(error) in caplog.text
    assert "not started anew" not in caplog.text
    site.broker.errors.clear()
    await site.ask(expected=first.generation)  # its web worker's next look
    assert site.placement.load == 2


async def test_a_release_that_cannot_be_noted_does_not_keep_a_page_waiting(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    first = await site.open()
    site.broker.errors["note_released"] = BrokerUnavailable("away")
    site.wait_in_inbox(INSTANCE, opening("r2"))
    first.handle_gone("exit code 0")
    await turns(100)
    assert site.placement.instances[INSTANCE] is not first
    assert "noted as owned still: away" in caplog.text


@pytest.mark.parametrize("verb", ["read_session", "note_owned"])
async def test_nothing_is_claimed_after_an_error_before_the_claim(site: Site, verb: str) -> None:
    waiting = list(site.wait_in_inbox(INSTANCE, opening()))
    site.broker.errors[verb] = BrokerUnavailable("away")
    await site.ask()
    assert site.broker.of("claim") == []
    assert site.settled == []
    assert site.broker.entries[INSTANCE] == waiting
    assert site.placement.load == 0


async def test_a_drain_that_begins_while_another_claim_is_waited_for_leaves_the_page_to_others(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    owned = await site.open()
    may_read = asyncio.Event()
    read = site.broker.sessions.read

    async def slow(session: str) -> Any:
        await may_read.wait()
        return await read(session)

    monkeypatch.setattr(site.broker.sessions, "read", slow)
    site.wait_in_inbox(SECOND, opening())
    await site.ask(SECOND)
    site.bring(INSTANCE, opening("r2", OTHER))
    owned.handle_gone("exit code 0")
    await turns()
    assert site.broker.of("spawn") == []
    site.placement.drain()
    may_read.set()
    await turns()
    assert asked_for(owned) in site.broker.of("spawn")
    assert [instance for instance, *_ in site.broker.of("claim")] == [INSTANCE]


async def test_what_ends_while_nothing_is_claimed_is_asked_for_at_once(site: Site) -> None:
    owned = await site.open()
    end_read = SpawnEntry("s9", b"not a request")
    asyncio.get_running_loop().call_soon(site.broker.spawn_requests.put_nowait, end_read)
    async with asyncio.timeout(1), site.placement.paused():
        site.bring(INSTANCE, opening("r2", OTHER))
        owned.handle_gone("exit code 0")
        await turns()
        assert site.broker.of("spawn") == [asked_for(owned)]
        assert len(site.broker.of("claim")) == 1
    await turns(100)
    assert len(site.broker.of("claim")) == 2
    assert site.placement.load == 1
