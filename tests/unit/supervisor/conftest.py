"""Fixtures for the supervisor's unit tests."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.support.fakes import turns
from tests.unit.supervisor.daemons import Daemon
from tests.unit.supervisor.harness import Rig
from tests.unit.supervisor.sites import Site


@pytest.fixture
async def rig(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Rig]:
    """Give an instance's surroundings; what still runs is ended with the test."""
    async with asyncio.TaskGroup() as tasks:
        made = Rig(tasks, monkeypatch)
        yield made
        if made.running is not None:
            made.running.cancel()


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


@pytest.fixture
async def site(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    """Give a placement that runs; its apps end with the test."""
    made = Site(monkeypatch)
    async with asyncio.TaskGroup() as tasks:
        made.running = tasks.create_task(made.placement.run())
        await turns()
        yield made
        made.running.cancel()
