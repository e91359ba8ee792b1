"""A restart in place over fakes: what is waited for, what stops it, and that all goes on where it fails."""

from __future__ import annotations

import asyncio

import pytest
from htagweb_broker import Entry, InstanceId, SpawnEntry, SpawnRequest
from htagweb_broker.messages import encode

from htagweb.supervisor import handover
from htagweb.supervisor.handover import Handover, HandoverError
from htagweb.supervisor.restart import REST_S, STARTS_S
from tests.support.fakes import FakeProcess, turns
from tests.unit.supervisor.daemons import Daemon, Running
from tests.unit.supervisor.harness import INSTANCE, opening


class Successor:
    """Takes note of what it is handed, and takes no place."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.checked: list[Handover] = []
        self.handed: list[Handover] = []
        self.problem = ""
        monkeypatch.setattr(handover, "check", self._check)
        monkeypatch.setattr(handover, "become_successor", lambda state, taken: self.handed.append(state))

    async def _check(self, state: Handover) -> None:
        self.checked.append(state)
        if self.problem:
            raise HandoverError(self.problem)


@pytest.fixture
def successor(monkeypatch: pytest.MonkeyPatch) -> Successor:
    return Successor(monkeypatch)


async def restart(it: Daemon) -> None:
    """Have it restart, when the read that waits for spawn requests is over."""
    it.supervisor.restart()
    await turns()
    it.broker.spawn_requests.put_nowait(SpawnEntry("s9", b"not a request"))
    await turns()
    for _ in range(2):
        await it.clock.advance(0.1)


async def test_an_app_that_rests_is_handed_over_and_held_until_then(
    running: Running, successor: Successor
) -> None:
    it, _ = running
    owned = await it.open()
    await restart(it)
    (handed,) = successor.handed
    assert handed.supervisor == it.supervisor.id
    assert [state.generation for state in handed.instances] == [owned.generation]
    assert handed.instances[0].position == "1-0"
    assert it.templates.discarded
    assert not it.processes[0].held, "the place was not taken: it goes on"


async def test_a_version_that_does_not_start_is_handed_nothing(
    running: Running, successor: Successor, caplog: pytest.LogCaptureFixture
) -> None:
    it, _ = running
    await it.open()
    successor.problem = "no such module"
    await restart(it)
    assert successor.handed == []
    assert "not restarted, goes on as it is: no such module" in caplog.text
    successor.problem = ""
    await restart(it)
    assert len(successor.handed) == 1


async def test_another_try_that_is_wanted_meanwhile_follows_one_that_failed(
    running: Running, successor: Successor, monkeypatch: pytest.MonkeyPatch
) -> None:
    it, _ = running
    seen = asyncio.Event()

    async def fail_late(state: Handover) -> None:
        successor.checked.append(state)
        await seen.wait()
        raise HandoverError("no such module")

    monkeypatch.setattr(handover, "check", fail_late)
    it.supervisor.restart()
    await turns()
    it.supervisor.restart()  # the module is there now
    seen.set()
    await turns()
    assert len(successor.checked) == 2


async def test_a_supervisor_that_fails_during_a_try_ends(
    idle: Daemon, successor: Successor, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BaseExceptionGroup):
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(idle.run())
            await turns()
            await idle.open()
            monkeypatch.setattr(FakeProcess, "is_quiet", False)
            await restart(idle)
            assert idle.processes[0].held
            monkeypatch.setattr(idle.supervisor.placement, "tick", None)
            await idle.clock.advance(0.1)


async def test_what_is_to_be_written_is_waited_for_and_not_for_ever(
    running: Running, successor: Successor, caplog: pytest.LogCaptureFixture
) -> None:
    it, _ = running
    owned = await it.open()
    it.broker.away = True
    owned.renew()
    await restart(it)
    assert successor.handed == []
    assert it.processes[0].held
    await it.clock.advance(REST_S + 1)
    await it.clock.advance(1)
    assert "does not come to rest within 5 s" in caplog.text
    assert not it.processes[0].held
    it.broker.away = False


@pytest.mark.parametrize("ends", ["before", "while others come to rest"])
async def test_an_app_that_ended_is_waited_for_until_nobody_can_wait_for_its_next_one(
    ends: str, running: Running, successor: Successor, monkeypatch: pytest.MonkeyPatch
) -> None:
    it, _ = running
    owned = await it.open()
    looking, look = asyncio.Event(), it.broker.inboxes.waiting

    async def look_late(instance: InstanceId, after: str) -> list[Entry]:
        await looking.wait()
        return await look(instance, after)

    monkeypatch.setattr(it.broker.inboxes, "waiting", look_late)
    monkeypatch.setattr(handover, "become_successor", lambda state, taken: it.broker.note("handed"))
    it.broker.entries[INSTANCE] = [Entry("2-0", encode(opening("r2")), "")]
    if ends == "before":
        owned.handle_gone("exit code 0")
        await restart(it)
    else:
        monkeypatch.setattr(FakeProcess, "is_quiet", False)
        await restart(it)
        assert it.processes[0].held
        owned.handle_gone("exit code 0")
        for _ in range(2):
            await it.clock.advance(0.1)
    assert it.supervisor.placement.load == 0
    assert it.broker.of("handed") == [], "its page would wait for a web worker to look again"
    looking.set()
    for _ in range(2):
        await it.clock.advance(0.1)
        it.broker.spawn_requests.put_nowait(SpawnEntry("s10", b"not a request"))
    told = [details for details in it.broker.done if details[0] in ("spawn", "handed")]
    assert told == [("spawn", SpawnRequest(INSTANCE.dump(), owned.generation)), ("handed",)]


async def test_an_app_that_ended_and_cannot_be_given_up_holds_up_no_restart_for_ever(
    running: Running, successor: Successor, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    it, _ = running
    owned = await it.open()
    looking = asyncio.Event()

    async def look_late(instance: InstanceId, after: str) -> list[Entry]:
        await looking.wait()
        return []

    monkeypatch.setattr(it.broker.inboxes, "waiting", look_late)
    owned.handle_gone("exit code 0")
    await restart(it)
    await it.clock.advance(STARTS_S + 1)
    await it.clock.advance(1)
    assert successor.handed == []
    assert f"{INSTANCE} has ended and is not given up within 30 s" in caplog.text
    looking.set()


async def test_an_app_that_is_being_started_is_waited_for_and_others_run_meanwhile(
    running: Running, successor: Successor
) -> None:
    it, _ = running
    it.templates.may_fork.clear()
    it.begin_open()
    await turns()
    await restart(it)
    assert successor.handed == []
    it.templates.may_fork.set()
    await it.clock.advance(0.1)
    it.broker.spawn_requests.put_nowait(SpawnEntry("s10", b"not a request"))
    await it.clock.advance(0.1)
    await it.clock.advance(0.1)
    assert len(successor.handed) == 1


async def test_an_app_that_does_not_start_holds_up_no_restart_for_ever(
    running: Running, successor: Successor, caplog: pytest.LogCaptureFixture
) -> None:
    it, _ = running
    it.templates.may_fork.clear()
    it.begin_open()
    await turns()
    await restart(it)
    await it.clock.advance(STARTS_S + 1)
    await it.clock.advance(1)
    assert successor.handed == []
    assert "has not started within 30 s" in caplog.text


async def test_a_stop_goes_before_a_restart_that_waits(running: Running, successor: Successor) -> None:
    it, task = running
    owned = await it.open()
    it.broker.away = True
    owned.renew()
    await restart(it)
    it.supervisor.stop()
    await it.clock.advance(0.1)
    it.broker.away = False
    await it.clock.advance(1)
    assert successor.handed == []
    assert owned.is_ending
    owned.handle_gone("exit code 0")
    for _ in range(10):
        await it.clock.advance(0.5)
    await asyncio.wait_for(task, 1)
