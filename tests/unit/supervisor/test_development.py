"""Apps in development: their templates are watched, and a change ends those that are developed, no others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import cast

import pytest
from htagweb_broker import Entry, InstanceId, Launch, SpawnEntry, SpawnRequest
from htagweb_broker.messages import encode

from htagweb.host import frames
from htagweb.supervisor.instance import OwnedInstance
from htagweb.supervisor.sources import LOOK_S, Watch
from htagweb.supervisor.templates import Template
from tests.support.fakes import turns
from tests.unit.supervisor.daemons import Daemon
from tests.unit.supervisor.harness import LAUNCH, Rig, opening
from tests.unit.supervisor.test_sources import FakeFiles

DEBUG = Launch([], {}, True, 10.0, 100.0)


@dataclass
class FakeTemplate:
    """Stands for the one that forked the apps."""

    app: str


@pytest.fixture
async def daemon(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Daemon]:
    """Give a supervisor that runs."""
    async with asyncio.TaskGroup() as tasks:
        made = Daemon(monkeypatch)
        task = tasks.create_task(made.run())
        await turns()
        yield made
        task.cancel()


async def opened(daemon: Daemon, session: str, app: str, launch: Launch) -> OwnedInstance:
    """Have a page opened and answered."""
    instance = InstanceId(session * 16, app)
    daemon.broker.entries[instance] = [Entry("1-0", encode(opening(launch=launch)), "")]
    request = encode(SpawnRequest(instance.dump(), ""))
    daemon.broker.spawn_requests.put_nowait(SpawnEntry(f"{session}{app}", request))
    await turns()
    owned = daemon.supervisor.placement.instances[instance]
    owned.handle_frame(frames.Page("r1", "<html>"))
    await turns()
    return owned


async def test_a_change_ends_the_apps_instances_in_debug_and_discards_the_template(daemon: Daemon) -> None:
    developed = [await opened(daemon, session, "m.App", DEBUG) for session in "ab"]
    others = [await opened(daemon, "c", "m.App", LAUNCH), await opened(daemon, "a", "m.Other", DEBUG)]
    files = FakeFiles()
    watch = Watch(dict(files.there), files)
    daemon.templates.developed.append((cast(Template, FakeTemplate("m.App")), watch))
    files.there["/p/app.py"] = (2, 10)
    await daemon.clock.advance(LOOK_S)
    assert not any(owned.life.is_ending for owned in developed)
    await daemon.clock.advance(LOOK_S)
    assert [owned.life.reason for owned in developed] == ["changed", "changed"]
    assert [owned.life.is_ending for owned in others] == [False, False]
    assert daemon.templates.developed == []


@pytest.mark.parametrize(("launch", "expected"), [(DEBUG, ["m.App"]), (LAUNCH, [])], ids=["debug", "public"])
async def test_a_template_is_told_whether_its_app_is_developed(
    rig: Rig, launch: Launch, expected: list[str]
) -> None:
    rig.own(opening(launch=launch))
    await rig.run()
    assert rig.templates.wanted_with_debug == expected


async def test_the_app_is_told_that_it_is_developed(rig: Rig) -> None:
    rig.own(opening(launch=DEBUG))
    await rig.run()
    (start,) = rig.process.sent
    assert isinstance(start, frames.Start)
    assert start.debug
