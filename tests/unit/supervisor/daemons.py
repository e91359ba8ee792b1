"""A whole supervisor over fakes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from htagweb_broker import Entry, SpawnEntry, SpawnRequest, limits
from htagweb_broker.messages import encode

from htagweb.host import frames
from htagweb.settings import Settings
from htagweb.supervisor import daemon
from htagweb.supervisor import instance as instance_module
from htagweb.supervisor.daemon import Supervisor
from htagweb.supervisor.instance import OwnedInstance
from tests.support.fake_meter import FakeMeter
from tests.support.fakes import FakeBroker, FakeClock, FakeProcess, FakeTemplates, turns
from tests.unit.supervisor.harness import INSTANCE, interaction, opening

BEAT_S = limits.BEAT_INTERVAL_S


class Daemon:
    """A supervisor over fakes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.broker, self.clock, self.templates = FakeBroker(), FakeClock(), FakeTemplates()
        self.processes: list[FakeProcess] = []
        self.ready: list[bool] = []
        monkeypatch.setattr(daemon, "SupervisorBroker", lambda *args, **named: self.broker)
        monkeypatch.setattr(daemon, "Templates", lambda *args: self.templates)
        self.meter = FakeMeter()
        monkeypatch.setattr(daemon, "Meter", lambda allowance: self.meter)
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

    def begin_open(self) -> None:
        """Have a page asked for."""
        request = encode(SpawnRequest(INSTANCE.dump(), ""))
        self.broker.entries[INSTANCE] = [Entry("1-0", encode(opening()), "")]
        self.broker.spawn_requests.put_nowait(SpawnEntry("s1", request))

    async def open(self) -> OwnedInstance:
        """Have a page opened and answered."""
        self.begin_open()
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


Running = tuple[Daemon, asyncio.Task[None]]
