"""What the users do together is counted and measured as the order says, and only while it says so."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import pytest

from benchmarks.load import orders
from benchmarks.load.errors import BadAnswer, NotReady
from benchmarks.load.orders import Load
from tests.support.fakes import turns

STEP_S = 0.125
"""What a click takes, and an update: a power of two, so that sums are exact."""


class Crowd:
    """All users of a contestant without the contestant, and the time: only what they do takes any."""

    def __init__(self) -> None:
        self.now = 100.0
        self.users: list[FakeUser] = []
        self.opening = 0
        self.most_opening = 0
        self.failures: Iterator[Exception] = iter(())
        """What the next opens raise."""
        self.names_clicks = True

    def monotonic(self) -> float:
        """Return the time."""
        return self.now

    def __call__(self, port: int) -> FakeUser:
        """Make a user, as the load does."""
        self.users.append(FakeUser(self))
        return self.users[-1]


class FakeUser:
    """One of them."""

    def __init__(self, crowd: Crowd) -> None:
        self._crowd = crowd
        self.opens = self.connects = self.clicks = self.left = 0
        self.is_closed = False

    async def open(self) -> float:
        """Come, or fail as the crowd says."""
        if failure := next(self._crowd.failures, None):
            raise failure
        self._crowd.opening += 1
        self._crowd.most_opening = max(self._crowd.most_opening, self._crowd.opening)
        await turns(3)
        self._crowd.opening -= 1
        self.opens += 1
        self._crowd.now += STEP_S
        return STEP_S

    async def connect(self) -> None:
        """Take note of it."""
        self.connects += 1

    async def click(self) -> float:
        """Take a step of the time; return which click it was, or the wait."""
        await turns(1)
        self._crowd.now += STEP_S
        self.clicks += 1
        return float(self.clicks) if self._crowd.names_clicks else STEP_S

    async def push(self, count: int, pause_s: float) -> None:
        """Push so many."""
        self.left = count

    async def next_push(self) -> float | None:
        """Take a step of the time for each."""
        if self.left == 0:
            return None
        self.left -= 1
        self._crowd.now += STEP_S
        return STEP_S

    async def close(self) -> None:
        """Take note of it."""
        self.is_closed = True


@pytest.fixture
def crowd(monkeypatch: pytest.MonkeyPatch) -> Crowd:
    """Give users to come."""
    made = Crowd()
    monkeypatch.setattr(orders, "monotonic", made.monotonic)
    monkeypatch.setattr(orders, "POLL_S", 0.0)
    return made


@pytest.fixture
async def load(crowd: Crowd) -> Load:
    """Give a load with one user."""
    made = Load(8000, crowd)
    await made.carry_out("first_page")
    return made


# Coming and going


async def test_the_first_page_is_asked_for_until_there_is_one(crowd: Crowd) -> None:
    crowd.failures = iter([ConnectionRefusedError(), NotReady("503"), ConnectionRefusedError()])
    at = await Load(8000, crowd).carry_out("first_page")
    assert (at, crowd.now) == (100.0 + STEP_S, 100.0 + STEP_S)
    (user,) = crowd.users
    assert (user.opens, user.connects) == (1, 1)


async def test_a_wrong_first_page_is_not_asked_for_again(crowd: Crowd) -> None:
    crowd.failures = iter([BadAnswer("500")])
    with pytest.raises(BadAnswer, match="500"):
        await Load(8000, crowd).carry_out("first_page")


async def test_new_users_come_one_after_the_other(load: Load, crowd: Crowd) -> None:
    assert await load.carry_out("open", count=3) == [STEP_S] * 3
    assert crowd.most_opening == 1
    assert [user.connects for user in crowd.users] == [1] * 4


async def test_a_crowd_is_gathered_up_to_its_number_a_few_at_once(load: Load, crowd: Crowd) -> None:
    await load.carry_out("open", count=2)
    answer = await load.carry_out("gather", count=10, at_once=4)
    assert len(crowd.users) == 10
    assert crowd.most_opening == 4
    assert answer == {"seconds": 7 * STEP_S}


async def test_users_who_load_their_page_again_are_no_new_ones(load: Load, crowd: Crowd) -> None:
    await load.carry_out("open", count=2)
    assert await load.carry_out("reopen", count=2) == [STEP_S] * 2
    assert [(user.opens, user.connects) for user in crowd.users] == [(2, 2), (2, 2), (1, 1)]


@pytest.mark.parametrize(
    "order",
    [{"do": "reopen", "count": 2}, {"do": "rate", "users": 2, "seconds": 1.0}],
    ids=lambda order: order["do"],
)
async def test_more_users_than_there_are_cannot_do_anything(load: Load, order: dict[str, object]) -> None:
    with pytest.raises(BadAnswer, match="expected 2 connected users, there are 1"):
        await load.carry_out(**order)  # type: ignore[arg-type]


async def test_all_leave_at_the_end(load: Load, crowd: Crowd) -> None:
    await load.carry_out("open", count=2)
    await load.carry_out("leave")
    assert [user.is_closed for user in crowd.users] == [True] * 3


# Clicks


async def test_clicks_that_warm_up_are_counted_and_not_measured(load: Load, crowd: Crowd) -> None:
    await load.carry_out("open", count=1)
    answer = await load.carry_out("click", count=20)
    assert answer["waits"] == [float(number) for number in range(3, 23)]
    assert answer["clicks"] == 22
    assert [user.clicks for user in crowd.users] == [22, 0]


async def test_the_loads_own_cpu_is_that_of_one_measured_click(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = count()
    monkeypatch.setattr(orders, "process_time", lambda: float(next(ticks)))
    assert (await load.carry_out("click", count=20))["own"] == 1 / 20
    answer = await load.carry_out("rate", users=1, seconds=1.0)
    assert answer["own"] == 1 / len(answer["waits"])


async def test_a_rate_is_clicks_by_the_time_that_they_took(load: Load, crowd: Crowd) -> None:
    answer = await load.carry_out("rate", users=1, seconds=1.0)
    assert answer["rate"] == 1 / STEP_S
    assert answer["waits"] == [float(number) for number in range(4, 12)]  # after 3 in 0.3 s
    assert answer["clicks"] == crowd.users[0].clicks == 11


async def test_clicks_that_end_after_the_time_lengthen_it(load: Load) -> None:
    answer = await load.carry_out("rate", users=1, seconds=0.9)
    assert len(answer["waits"]) == 8
    assert answer["rate"] == 8.0  # and not 8 / 0.9


async def test_the_chosen_users_click_together_and_the_others_look_on(load: Load, crowd: Crowd) -> None:
    await load.carry_out("open", count=3)
    answer = await load.carry_out("rate", users=3, seconds=2.0)
    clicks = [user.clicks for user in crowd.users]
    assert clicks[3] == 0
    assert max(clicks[:3]) - min(clicks[:3]) <= 1
    assert answer["clicks"] == sum(clicks)
    assert answer["rate"] == 1 / STEP_S  # here the time is shared by all


async def test_in_a_burst_only_the_clicks_that_met_it_count(load: Load, crowd: Crowd) -> None:
    crowd.names_clicks = False
    answer = await load.carry_out("burst", count=5)
    met = crowd.users[0].clicks - orders.CLICKS_BEFORE_BURST
    assert met > 0
    assert len(answer["clicks"]) - met in (0, 1)  # one may have ended in the moment in which it began
    assert answer["opens"] == [STEP_S] * 5
    assert crowd.most_opening == 5
    assert [user.connects for user in crowd.users] == [1] * 6


# Updates


async def test_updates_that_warm_up_are_not_measured(load: Load, crowd: Crowd) -> None:
    before = crowd.now
    answer = await load.carry_out("updates", count=30, pause_s=0.0)
    assert answer == {"waits": [STEP_S] * 30}
    assert crowd.now - before == (30 + orders.WARM_UPDATES) * STEP_S


async def test_an_update_rate_counts_what_came_in_time_and_takes_the_rest(load: Load, crowd: Crowd) -> None:
    answer = await load.carry_out("update_rate", users=1, seconds=2.0)
    assert answer == {"rate": 8.0, "waits": [STEP_S] * 16}
    assert crowd.users[0].left == 0


async def test_an_app_is_asked_for_more_updates_while_there_is_time(load: Load) -> None:
    answer = await load.carry_out("update_rate", users=1, seconds=30.0)
    assert len(answer["waits"]) == 240 > orders.PUSHES
