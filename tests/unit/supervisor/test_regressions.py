"""Faults that were found once and must not come back."""

import asyncio

import pytest
from htagweb_broker import Launch

from htagweb.host import frames
from tests.support.fakes import FakeProcess, turns
from tests.unit.supervisor.harness import LAUNCH, OTHER, Rig, opening


async def test_what_comes_while_the_process_is_attached_follows_the_start(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    attached, going_on = asyncio.Event(), asyncio.Event()
    attach = FakeProcess.attach

    async def slow(self: FakeProcess, ends: object) -> None:
        await attach(self, ends)  # type: ignore[arg-type]
        attached.set()
        await going_on.wait()

    monkeypatch.setattr(FakeProcess, "attach", slow)
    rig.own()
    await rig.run()
    await attached.wait()
    await rig.bring(opening("r2"))
    going_on.set()
    await turns()
    start, render = rig.process.sent
    assert isinstance(start, frames.Start)
    assert render == frames.Render("r2")


async def test_the_last_request_that_waited_decides_about_the_limits(rig: Rig) -> None:
    newer = Launch(LAUNCH.args, LAUNCH.kargs, False, 99.0, 0.0)
    rig.own(opening("r2", newer))
    rig.owned.begin_inbox("1-0", [opening("r1")])
    await rig.run()
    assert rig.owned.life.times.interaction_s == 99.0


async def test_a_request_that_only_the_next_generation_can_answer_stays_in_the_inbox(rig: Rig) -> None:
    await rig.start()
    (before,) = await rig.bring(opening("r2"))
    await rig.bring(opening("r3", OTHER))
    await rig.bring(opening("r4"))
    await rig.gone()
    assert rig.broker.of("release")[0][3] == before.id
