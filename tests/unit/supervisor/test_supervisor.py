"""The supervisor's own life over fakes: heartbeat, the dead, ticks, the drain and its limits."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from htagweb_broker import BrokerUnavailable, Entry, Record, SpawnEntry, SpawnRequest, limits
from htagweb_broker.messages import encode

from htagweb.host import frames
from htagweb.settings import Settings
from htagweb.supervisor import daemon
from htagweb.supervisor import instance as instance_module
from htagweb.supervisor.daemon import ENDING_S, Supervisor
from htagweb.supervisor.instance import OwnedInstance
from tests.support.fakes import FakeBroker, FakeClock, FakeProcess, FakeTemplates, turns
from tests.unit.supervisor.harness import INSTANCE, interaction, opening

BEAT_S = limits.BEAT_INTERVAL_S
GENERATION = "1-0123abcd"


class Daemon:
    """A supervisor over fakes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.broker, self.clock, self.templates = FakeBroker(), FakeClock(), FakeTemplates()
        self.processes: list[FakeProcess] = []
        self.ready: list[bool] = []
        monkeypatch.setattr(daemon, "SupervisorBroker", lambda *args: self.broker)
        monkeypatch.setattr(daemon, "Templates", lambda app_dirs: self.templates)
        monkeypatch.setattr(daemon, "become_subreaper", lambda: None)
        monkeypatch.setattr(daemon, "reap_strangers", lambda own: None)
        monkeypatch.setattr(instance_module, "AppProcess", self._make_process)
        settings = Settings.load({}, redis_url="redis://nowhere", drain_s=3.0, name="s")
        self.supervisor = Supervisor(settings, [], self.clock)

    def _make_process(self, *args: Any) -> FakeProcess:
        self.processes.append(FakeProcess(*args))
        return self.processes[-1]

    async def run(self) -> None:
        await self.supervisor.run(lambda: self.ready.append(True))

    async def open(self) -> OwnedInstance:
        """Have a page opened and answered."""
        request = encode(SpawnRequest(INSTANCE.dump(), ""))
        self.broker.entries[INSTANCE] = [Entry("1-0", encode(opening()), "")]
        self.broker.spawn_requests.put_nowait(SpawnEntry("s1", request))
        await turns()
        owned = self.supervisor.placement.instances[INSTANCE]
        owned.handle_frame(frames.Page("r1", "<html>"))
        await turns()
        return owned

    async def bring(self, owned: OwnedInstance, number: int) -> None:
        body = encode(interaction(number, generation=owned.generation))
        self.supervisor.placement.deliver(INSTANCE, [Entry(f"{number + 1}-0", body, "")])
        await turns()

    async def beats(self, count: int) -> None:
        for _ in range(count):
            await self.clock.advance(BEAT_S)


@pytest.fixture
async def idle(monkeypatch: pytest.MonkeyPatch) -> Daemon:
    """Give a supervisor that does not run yet."""
    return Daemon(monkeypatch)


@pytest.fixture
async def running(idle: Daemon) -> AsyncIterator[tuple[Daemon, asyncio.Task[None]]]:
    """Give a supervisor that runs, and its task."""
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(idle.run())
        await turns()
        yield idle, task
        task.cancel()


Running = tuple[Daemon, asyncio.Task[None]]


async def test_it_is_ready_when_its_group_and_first_heartbeat_are_there(running: Running) -> None:
    it, _ = running
    assert it.broker.verbs()[:3] == ["ping", "create_group", "beat"]
    assert it.ready == [True]


async def test_a_broker_that_is_away_at_the_start_is_an_error(idle: Daemon) -> None:
    idle.broker.away = True
    with pytest.raises(BrokerUnavailable):
        await idle.run()
    assert idle.ready == []
    assert idle.templates.stopped


async def test_a_heartbeat_says_how_much_it_runs(running: Running) -> None:
    it, _ = running
    await it.open()
    await it.beats(1)
    supervisor, beat = it.broker.of("beat")[-1]
    assert supervisor == it.supervisor.id
    assert (beat.load, beat.capacity, beat.draining) == (1, 1000, False)


async def test_a_missed_heartbeat_is_not_fatal(running: Running, caplog: pytest.LogCaptureFixture) -> None:
    it, task = running
    await it.open()
    it.broker.away = True
    await it.beats(3)
    assert "apps keep running" in caplog.text
    assert not task.done()
    it.broker.away = False
    await it.beats(1)
    assert it.supervisor.placement.load == 1


async def test_the_dead_are_taken_over_after_two_good_heartbeats(running: Running) -> None:
    it, _ = running
    it.broker.dead = frozenset({"dead-1-aa"})
    it.broker.owned["dead-1-aa"] = {INSTANCE}
    it.broker.records[INSTANCE] = Record(GENERATION, "dead-1-aa", 3, None)
    await it.beats(2)
    assert it.broker.of("take_over") == []
    await it.beats(1)
    assert it.broker.records[INSTANCE].reason == "lost"
    assert it.broker.of("forget") == [("dead-1-aa",)]
    assert it.broker.of("leave") == [("dead-1-aa",)]


async def test_after_an_outage_nobody_is_called_dead_until_two_heartbeats_have_worked(
    running: Running,
) -> None:
    it, _ = running
    await it.beats(5)
    it.broker.away = True
    await it.beats(2)
    it.broker.away = False
    it.broker.dead = frozenset({"slow-1-aa"})
    await it.beats(1)
    it.broker.dead = frozenset()
    await it.beats(2)
    assert it.broker.of("forget") == []


async def test_abandoned_requests_are_looked_for_with_each_heartbeat(running: Running) -> None:
    it, _ = running
    await it.beats(4)
    assert len(it.broker.of("take_abandoned")) == 3


async def test_instances_are_renewed_now_and_then(running: Running) -> None:
    it, _ = running
    await it.open()
    await it.bring(it.supervisor.placement.instances[INSTANCE], 1)
    await it.clock.advance(limits.INSTANCE_RENEW_S)
    assert ({},) in it.broker.of("renew")


# The drain


async def test_without_apps_a_stop_is_an_end_at_once(running: Running) -> None:
    it, task = running
    it.supervisor.stop()
    await turns()
    assert task.done()
    assert it.broker.verbs()[-1] == "close"
    assert ("leave", it.supervisor.id) in it.broker.done
    assert it.templates.stopped


async def test_an_app_that_nobody_waits_for_ends_at_once_as_drained(running: Running) -> None:
    it, task = running
    owned = await it.open()
    it.supervisor.stop()
    await turns()
    assert it.processes[0].sent[-1] == frames.End()
    owned.handle_gone("exit code 0")
    await it.clock.advance(0.1)
    assert task.done()
    assert it.broker.records[INSTANCE].reason == "drained"


async def test_a_running_interaction_may_finish(running: Running) -> None:
    it, task = running
    owned = await it.open()
    await it.bring(owned, 1)
    it.supervisor.stop()
    for _ in range(10):
        await it.clock.advance(0.1)
    assert not owned.life.is_ending
    raw = msgspec.Raw(b"{}")
    owned.handle_frame(frames.Answer("page", 1, raw, raw))
    await it.clock.advance(0.1)
    assert owned.life.is_ending
    owned.handle_gone("exit code 0")
    await it.clock.advance(0.1)
    assert task.done()
    assert [action.number for _, action, *_ in it.broker.of("emit")] == [1]


async def test_an_interaction_that_takes_too_long_is_not_waited_for(
    running: Running, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(daemon, "ENDING_S", ENDING_S / 1000)
    it, task = running
    owned = await it.open()
    await it.bring(owned, 1)
    it.supervisor.stop()
    for _ in range(32):
        await it.clock.advance(0.1)
    assert owned.life.reason == "drained"
    async with asyncio.timeout(1):
        await asyncio.wait([task])
    assert "1 apps did not end in time" in caplog.text


async def test_an_operators_order_drains_as_a_stop_does(running: Running) -> None:
    it, task = running
    owned = await it.open()
    it.broker.is_drain_ordered = True
    await it.beats(1)
    assert it.processes[0].sent[-1] == frames.End()
    await it.beats(1)
    assert it.broker.of("beat")[-1][1].draining
    owned.handle_gone("exit code 0")
    await it.clock.advance(0.1)
    assert task.done()
    assert it.broker.records[INSTANCE].reason == "drained"


async def test_heartbeats_go_on_during_the_drain_and_say_so(running: Running) -> None:
    it, _ = running
    owned = await it.open()
    await it.bring(owned, 1)
    it.supervisor.stop()
    await it.beats(1)
    assert it.broker.of("beat")[-1][1].draining
    owned.handle_gone("exit code 0")
    await it.clock.advance(0.1)


async def test_leaving_without_a_broker_is_logged(running: Running, caplog: pytest.LogCaptureFixture) -> None:
    it, task = running
    it.broker.away = True
    it.supervisor.stop()
    await turns()
    assert task.done()
    assert task.exception() is None
    assert "left without a word to the broker" in caplog.text


async def test_what_a_leaving_supervisor_still_owns_is_given_up_before_it_is_forgotten(
    running: Running,
) -> None:
    it, _ = running
    me = it.supervisor.id
    it.broker.owned[me] = {INSTANCE}
    it.broker.records[INSTANCE] = Record(GENERATION, me, 3, None)
    it.supervisor.stop()
    await turns()
    assert it.broker.records[INSTANCE] == Record(GENERATION, "", 4, "lost")
    assert it.broker.of("forget") == [(me,)]
