"""Fixtures for the supervisor's unit tests."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.unit.supervisor.harness import Rig


@pytest.fixture
async def rig(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Rig]:
    """Give an instance's surroundings; what still runs is ended with the test."""
    async with asyncio.TaskGroup() as tasks:
        made = Rig(tasks, monkeypatch)
        yield made
        if made.running is not None:
            made.running.cancel()
