"""What requests share: background loops that survive the broker's absence, and who is watched."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from htagweb_broker import BrokerUnavailable

from htagweb.settings import Settings
from htagweb.web.service import PRESENCE_FRESH_S, WATCH_S, WebService
from tests.support.fakes import FakeBroker, FakeClock
from tests.unit.web.harness import SUPERVISOR, beat


class Watcher:
    """A page that notes what it is told of its owner."""

    def __init__(self, owner: str) -> None:
        self.owner = owner
        self.told: list[bool] = []

    def note_owner(self, lives: bool) -> None:
        self.told.append(lives)


class Watched:
    """A service whose owners are watched."""

    def __init__(self) -> None:
        self.broker = FakeBroker()
        self.clock = FakeClock()
        self.service = WebService(Settings(), self.clock)
        self.service._broker = self.broker.web_side
        self.broker.living[SUPERVISOR] = beat()


@pytest.fixture
async def watched() -> AsyncIterator[Watched]:
    made = Watched()
    async with asyncio.TaskGroup() as tasks:
        watching = tasks.create_task(made.service._keep(made.service._watch_owners))
        yield made
        watching.cancel()


async def test_every_watcher_is_told_of_its_own_supervisor(watched: Watched) -> None:
    living, dead = Watcher(SUPERVISOR), Watcher("other-1-aa")
    watched.service.watchers |= {living, dead}
    await watched.clock.advance(WATCH_S)
    assert (living.told, dead.told) == ([True], [False])


async def test_nobody_is_asked_while_nobody_watches(watched: Watched) -> None:
    await watched.clock.advance(WATCH_S)
    assert watched.broker.done == []


async def test_watching_goes_on_after_the_broker_was_away(
    watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    watcher = Watcher(SUPERVISOR)
    watched.service.watchers.add(watcher)
    watched.broker.away = True
    await watched.clock.advance(WATCH_S)
    assert "the broker is away" in caplog.text
    watched.broker.away = False
    await watched.clock.advance(PRESENCE_FRESH_S)
    await watched.clock.advance(WATCH_S)
    assert watcher.told == [True]


async def test_a_broker_that_is_away_is_no_answer_to_who_lives(watched: Watched) -> None:
    watched.broker.away = True
    with pytest.raises(BrokerUnavailable):
        await watched.service.supervisors()


async def test_each_worker_has_a_name_of_its_own() -> None:
    assert len({WebService(Settings(), FakeClock()).worker for _ in range(10)}) == 10
