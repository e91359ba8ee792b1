"""One owned instance over fakes: the test is its inbox, its app and its time."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from htagweb_broker import (
    Answered,
    Connect,
    Entry,
    FailureReply,
    InstanceId,
    Interact,
    Launch,
    Open,
    PageReply,
    SessionData,
)
from htagweb_broker.messages import Message, encode

from htagweb.host import frames
from htagweb.supervisor import instance as instance_module
from htagweb.supervisor import process
from htagweb.supervisor.instance import OwnedInstance
from htagweb.supervisor.services import Services
from tests.support.fakes import FakeBroker, FakeClock, FakeProcess, FakeTemplates, turns

INSTANCE = InstanceId("00ff" * 8, "m.App")
GENERATION = "1-aaaaaaaa"
LAUNCH = Launch(["arg"], {"k": "v"}, False, 10.0, 100.0)
OTHER = Launch(["other"], {}, False, 10.0, 100.0)
NOTHING = msgspec.Raw(b"{}")


def opening(request: str = "r1", launch: Launch = LAUNCH) -> Open:
    return Open(request, f"worker of {request}", launch)


def interaction(number: int, page: str = "page", generation: str = GENERATION, worker: str = "") -> Interact:
    return Interact(generation, page, number, msgspec.Raw(b'{"id":1}'), worker)


class Rig:
    """The instance and everything around it."""

    def __init__(self, tasks: asyncio.TaskGroup, monkeypatch: pytest.MonkeyPatch) -> None:
        self.broker = FakeBroker()
        self.clock = FakeClock()
        self.templates = FakeTemplates()
        self.processes: list[FakeProcess] = []
        self.services = Services(
            self.broker.supervisor_side, self.templates.real, self.clock, 4, 60.0, "me-1-aa", "h"
        )
        self.running: asyncio.Task[None] | None = None
        self._tasks = tasks
        self._entries = 0
        monkeypatch.setattr(instance_module, "AppProcess", self._make_process)
        monkeypatch.setattr(process.Ends, "handed", lambda state: None)

    def _make_process(self, *args: Any) -> FakeProcess:
        self.processes.append(FakeProcess(*args))
        return self.processes[-1]

    @property
    def process(self) -> FakeProcess:
        return self.processes[-1]

    def own(self, opened: Open | None = None, session: SessionData | None = None) -> OwnedInstance:
        """Make the instance; it does not run yet."""
        given = session or SessionData({}, "")
        self.owned = OwnedInstance(self.services, INSTANCE, GENERATION, opened or opening(), given)
        return self.owned

    async def run(self) -> OwnedInstance:
        """Run it until its process has its first frames."""
        self.running = self._tasks.create_task(self.owned.run())
        await turns()
        return self.owned

    def take_over_running(self) -> None:
        """Run ``owned`` in the place of the one that ran before."""
        assert self.running is not None
        self.running.cancel()
        self.running = self._tasks.create_task(self.owned.run())

    async def start(self, **options: Any) -> OwnedInstance:
        """Own, run and answer the first page."""
        self.own(**options)
        await self.run()
        self.owned.handle_frame(frames.Page("r1", "<html>"))
        await turns()
        self.process.sent.clear()
        return self.owned

    async def bring(self, *messages: Message, version: str = "") -> list[Entry]:
        """Bring inbox entries."""
        entries = []
        for message in messages:
            self._entries += 1
            entries.append(Entry(f"{self._entries}-0", encode(message), version))
        self.owned.handle_entries(entries)
        await turns()
        return entries

    async def connect(self) -> None:
        """Have a browser look at the page."""
        await self.bring(Connect(GENERATION))

    async def answer(self, number: int, page: str = "page", **changed: bytes) -> None:
        """Answer an interaction, as the app does."""
        raw = {key: msgspec.Raw(value) for key, value in changed.items()}
        self.owned.handle_frame(frames.Answer(page, number, NOTHING, NOTHING, changed=raw))
        await turns()

    async def gone(self, status: str = "exit code 0") -> None:
        """Let the process end."""
        self.owned.handle_gone(status)
        await turns()

    async def advance(self, seconds: float) -> None:
        """Let time pass in steps, each with a tick."""
        for _ in range(round(seconds * 4)):
            await self.clock.advance(0.25)
            self.owned.tick(self.clock.now())
        await turns()

    @property
    def replies(self) -> dict[str, PageReply | FailureReply]:
        """The replies, by request."""
        return {request: reply for request, _, reply, _ in self.broker.of("reply")}

    @property
    def answers(self) -> list[Answered]:
        """The answers that were emitted."""
        return [action for _, action, *_ in self.broker.of("emit") if isinstance(action, Answered)]

    def ended(self) -> str | None:
        """Return why the instance was released."""
        released = self.broker.of("release")
        return released[0][2] if released else None
