"""The supervisor's own life over fakes: heartbeat, the dead, ticks, the drain and its limits."""

import asyncio
import math
from itertools import pairwise
from typing import cast

import msgspec
import pytest
from htagweb_broker import BrokerUnavailable, InstanceId, Record, SpawnEntry, limits

from htagweb.host import frames
from htagweb.supervisor import daemon
from htagweb.supervisor.daemon import DRAIN_SPREAD, ENDING_S, TICK_S
from htagweb.supervisor.instance import OwnedInstance
from htagweb.supervisor.restart import Restart
from tests.support.fakes import turns
from tests.unit.supervisor.daemons import Daemon, Running
from tests.unit.supervisor.harness import INSTANCE

SETTLE_BEATS = limits.BEATS_PER_LIFE
GENERATION = "1-0123abcd"


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


async def test_the_dead_are_taken_over_when_heartbeats_have_worked_for_the_life_of_one(
    running: Running,
) -> None:
    it, _ = running
    it.broker.dead = frozenset({"dead-1-aa"})
    it.broker.owned["dead-1-aa"] = {INSTANCE}
    it.broker.records[INSTANCE] = Record(GENERATION, "dead-1-aa", 3, None)
    await it.beats(SETTLE_BEATS)
    assert it.broker.of("take_over") == []
    await it.beats(1)
    assert it.broker.records[INSTANCE].reason == "lost"
    assert it.broker.of("forget") == [("dead-1-aa",)]
    assert it.broker.of("leave") == [("dead-1-aa",)]


async def test_after_an_outage_nobody_is_called_dead_until_each_could_have_come_back(
    running: Running,
) -> None:
    it, _ = running
    await it.beats(2 * SETTLE_BEATS)
    it.broker.away = True
    await it.beats(2)
    it.broker.away = False
    it.broker.dead = frozenset({"slow-1-aa"})
    await it.beats(SETTLE_BEATS)
    it.broker.dead = frozenset()
    await it.beats(SETTLE_BEATS)
    assert it.broker.of("forget") == []


async def test_heartbeats_wait_for_no_take_over(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    it, _ = running

    async def hang(dead: str) -> int:
        await asyncio.get_running_loop().create_future()
        return 0

    monkeypatch.setattr(it.supervisor.placement, "take_over", hang)
    it.broker.dead = frozenset({"dead-1-aa"})
    await it.beats(SETTLE_BEATS + 1)
    before = len(it.broker.of("beat"))
    await it.beats(3)
    assert len(it.broker.of("beat")) == before + 3


async def test_abandoned_requests_are_looked_for_with_each_heartbeat(running: Running) -> None:
    it, _ = running
    await it.beats(SETTLE_BEATS + 2)
    assert len(it.broker.of("take_abandoned")) == 3


async def test_instances_are_renewed_now_and_then(running: Running) -> None:
    it, _ = running
    await it.open()
    await it.bring(it.supervisor.placement.instances[INSTANCE], 1)
    await it.clock.advance(limits.INSTANCE_RENEW_S)
    assert ({},) in it.broker.of("renew")


# The drain


async def test_a_restart_that_is_under_way_holds_up_no_end(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    it, task = running

    async def hang(*args: object) -> None:
        await asyncio.get_running_loop().create_future()

    for step in ("check", "wait_for_starts", "run"):
        monkeypatch.setattr(Restart, step, hang if step == "run" else _nothing)
    it.supervisor.restart()
    await turns()
    it.broker.spawn_requests.put_nowait(SpawnEntry("s9", b"not a request"))
    await turns()
    it.supervisor.stop()
    await turns()
    assert task.done()


async def _nothing(*args: object) -> None: ...


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


class Idle:
    """An instance that nobody waits for, and that never quite ends."""

    is_busy = False
    pid = None

    def __init__(self) -> None:
        self.is_ending = False

    def end(self, reason: str) -> None:
        self.is_ending = True

    def tick(self, now: float) -> None:
        """Nothing is due."""

    def renew(self) -> None:
        """Nothing expires."""


async def test_a_drain_ends_a_few_apps_at_a_time_and_all_before_its_time_is_over(running: Running) -> None:
    it, task = running
    idle = [Idle() for _ in range(200)]
    instances = {InstanceId(f"{number:064x}", "m.App"): one for number, one in enumerate(idle)}
    it.supervisor.placement.instances = cast(dict[InstanceId, OwnedInstance], instances)
    it.supervisor.stop()
    await turns()
    ended = [sum(one.is_ending for one in idle)]
    while ended[-1] < len(idle):
        await it.clock.advance(TICK_S)
        ended.append(sum(one.is_ending for one in idle))
    steps = [after - before for before, after in pairwise([0, *ended])]
    least = math.ceil(200 * TICK_S / (3.0 * DRAIN_SPREAD))
    assert all(least <= step <= 2 * least for step in steps[:-1])
    assert len(set(steps)) > 1, "of random size"
    assert len(steps) * TICK_S <= 3.0 * DRAIN_SPREAD
    it.supervisor.placement.instances.clear()
    await it.clock.advance(TICK_S)
    assert task.done()


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
