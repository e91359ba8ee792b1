"""A turn and growth ask for what is planned, and know how many apps have to live; no process is started."""

from __future__ import annotations

from itertools import count
from typing import Any, cast

import pytest

from benchmarks import figures as names
from benchmarks import turns
from benchmarks.contestants import ALL
from benchmarks.errors import BenchmarkError
from benchmarks.figures import Figures
from benchmarks.plan import Growth, Turn
from benchmarks.stack import APP, BROKER, SERVER, Memory, Stack
from benchmarks.tables import FAILED, NONE, Row

TURN = Turn(clicks=2, opens=2, users=3, many=5, updates=2, update_users=1, browser_clicks=1)
GROWTH = Growth(steps=((1, 3), (10,)), clicks=2, users=3, crowds=(5, 20), updates=2, browser_clicks=1)
ANSWER = {"clicks": 10, "rate": 100.0, "seconds": 2.0, "waits": [0.001], "own": 1e-5}


class FakeStack:
    """A stack whose users come as they are asked for, and each has an app."""

    port = 8000
    started = 1.0

    def __init__(self, key: str = "ours") -> None:
        (self.contestant,) = (each for each in ALL if each.key == key)
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.users = 0
        self.more = 0
        """Apps of nobody who was asked for, e.g. of the user in Chromium."""
        self._readings = count(1)

    def ask(self, do: str, **parameters: Any) -> Any:
        """Have users come, or measure nothing, always with the same figures."""
        self.asked.append((do, parameters))
        if do == "first_page":
            self.users = 1
            return 1.5
        if do == "open":
            self.users += parameters["count"]
        if do == "gather":
            self.users = parameters["count"]
        return [0.01] * parameters["count"] if do in {"open", "reopen"} else ANSWER

    def cpu(self) -> dict[str, float]:
        """Return 1 ms more each time."""
        return {BROKER: next(self._readings) * 1e-3}

    def memory(self) -> dict[str, list[Memory]]:
        """Return 10 bytes for each app, shared by nobody."""
        apps = self.users + self.more
        if not self.contestant.app_processes:
            return {SERVER: [Memory(10 * apps, 10 * apps)]}
        return {APP: [Memory(10, 10)] * apps}

    def told(self, do: str, parameter: str) -> list[Any]:
        """Return a parameter of all orders of a kind."""
        return [parameters[parameter] for asked, parameters in self.asked if asked == do]


@pytest.fixture
def stack() -> FakeStack:
    """Give a stack of this project."""
    return FakeStack()


@pytest.fixture(autouse=True)
def chromium(stack: FakeStack, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the user in Chromium come and click."""
    use_chromium(monkeypatch, stack)


def use_chromium(
    monkeypatch: pytest.MonkeyPatch, stack: FakeStack, comes: bool = True, fails: bool = False
) -> None:
    """Say whether the user in Chromium comes, and whether that is told."""

    def measure(port: int, clicks: int) -> list[float]:
        stack.more += comes
        if fails:
            raise BenchmarkError("Chromium ended")
        return [0.003] * clicks

    monkeypatch.setattr(turns, "measure_in_browser", measure)


def take_turn(stack: FakeStack, turn: Turn = TURN, figures: Figures | None = None) -> Figures:
    """Return what a turn measured."""
    figures = figures or Figures()
    turns.take_turn(cast(Stack, stack), turn, figures)
    return figures


def take_growth(stack: FakeStack, *sizes: int) -> dict[int, Figures]:
    """Return what a stack measured that grew to these sizes."""
    grown = turns.begin_growth(GROWTH)
    assert list(turns.take_growth(cast(Stack, stack), sizes, GROWTH, grown)) == list(sizes)
    return grown


# A turn


def test_a_turn_measures_with_few_users_before_many_come(stack: FakeStack) -> None:
    figures = take_turn(stack)
    assert stack.told("rate", "users") == [3, 5]
    assert [figures.at(names.rate(users)) for users in (3, 5)] == [100.0, 100.0]
    assert figures.at(names.START_UP) == 0.5


def test_the_cpu_between_two_readings_is_divided_by_the_clicks_between_them(stack: FakeStack) -> None:
    assert take_turn(stack).at(names.cpu(1, BROKER)) == pytest.approx(1e-4)


def test_a_contestant_without_updates_is_asked_for_none() -> None:
    stack = FakeStack("htagweb-1.0.0")
    take_turn(stack, Turn(users=3, opens=2, many=0, browser_clicks=0))
    assert not {"updates", "update_rate"} & {do for do, _ in stack.asked}


def test_where_users_have_no_process_an_app_is_what_the_server_grew_by() -> None:
    assert take_turn(FakeStack("htag2"), Turn(users=3, opens=2, browser_clicks=0)).at(names.PRIVATE) == 10


def test_the_user_in_chromium_has_an_app_too(stack: FakeStack) -> None:
    assert len(take_turn(stack).rounds[names.PRIVATE][0]) == 4


@pytest.mark.parametrize("comes", [False, True])
def test_where_chromium_failed_its_user_may_have_come_or_not(
    stack: FakeStack, monkeypatch: pytest.MonkeyPatch, comes: bool
) -> None:
    use_chromium(monkeypatch, stack, comes=comes, fails=True)
    figures = take_turn(stack)
    assert figures.failures == ["Chromium ended"]
    assert len(figures.rounds[names.PRIVATE][0]) == 3 + comes
    assert figures.at(names.SHARE) == 10


def test_where_chromium_failed_no_two_users_have_come(
    stack: FakeStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_chromium(monkeypatch, stack, fails=True)
    stack.more = 1
    with pytest.raises(BenchmarkError, match="expected 3 or 4 app processes, there are 5"):
        take_turn(stack)


@pytest.mark.parametrize("more", [-1, 1])
def test_a_failure_of_an_earlier_round_does_not_excuse_another_number_of_apps(
    stack: FakeStack, more: int
) -> None:
    stack.more = more
    with pytest.raises(BenchmarkError, match=f"expected 4 app processes, there are {4 + more}"):
        take_turn(stack, figures=Figures(failures=["round 1: Chromium ended"]))


def test_what_only_an_earlier_round_measured_is_not_told_of_the_last(
    stack: FakeStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = take_turn(stack)
    assert "in Chromium 3.00 ms" in turns.summary(figures, TURN)
    again = FakeStack()
    use_chromium(monkeypatch, again, fails=True)
    take_turn(again, figures=figures)
    assert "in Chromium" not in turns.summary(figures, TURN)
    assert "click 1.00 ms" in turns.summary(figures, TURN)


def test_a_crowd_that_would_need_too_long_is_left_out_with_the_reason(stack: FakeStack) -> None:
    figures = take_turn(stack, Turn(users=3, opens=2, many=5, crowd=3000, crowd_limit_s=15))
    assert "left out from 15 s on" in figures.left_out[names.rate(3000)]
    assert 3000 not in stack.told("gather", "count")


# Growth


def test_growth_takes_its_sizes_in_their_order_and_few_click_before_many(stack: FakeStack) -> None:
    grown = take_growth(stack, 1, 3, 10)
    assert stack.told("rate", "users") == [3, 3, 5]
    assert stack.told("open", "count") == [2, 2]  # the last of 3, and of 10
    assert stack.told("gather", "count") == [1, 8]
    assert [grown[size].has(names.BROWSER) for size in (1, 3, 10)] == [True, True, True]


def test_the_users_in_chromium_stay_while_a_stack_grows(stack: FakeStack) -> None:
    grown = take_growth(stack, 1, 3, 10)
    assert [len(grown[size].rounds[names.PRIVATE][0]) for size in (1, 3, 10)] == [1, 4, 12]


@pytest.mark.parametrize(("comes", "apps"), [(False, 3), (True, 4)])
def test_a_user_in_chromium_of_whom_nothing_is_known_costs_no_later_size(
    stack: FakeStack, monkeypatch: pytest.MonkeyPatch, comes: bool, apps: int
) -> None:
    use_chromium(monkeypatch, stack, comes=comes, fails=True)
    grown = take_growth(stack, 1, 3)
    assert len(grown[3].rounds[names.PRIVATE][0]) == apps
    assert [grown[size].failures for size in (1, 3)] == [["Chromium ended"]] * 2


def test_an_app_too_many_ends_growth_at_its_size(stack: FakeStack) -> None:
    growing = turns.take_growth(cast(Stack, stack), (1, 3), GROWTH, turns.begin_growth(GROWTH))
    assert next(growing) == 1
    stack.more += 1
    with pytest.raises(BenchmarkError, match="expected 4 app processes, there are 5"):
        next(growing)


def test_growth_leaves_out_what_so_few_users_cannot_have() -> None:
    grown = turns.begin_growth(GROWTH)
    assert {names.FIRST_OPEN, names.ALL_LIVE, names.REOPEN, names.UPDATE_RATE} <= {*grown[1].left_out}
    assert not {names.FIRST_OPEN, names.click(3), names.cpu(3, BROKER)} & {*grown[3].left_out}
    for size, missing in ((1, (3, 5, 20)), (3, (5, 20)), (10, (20,))):
        for users in missing:
            measures = {names.rate(users), names.click(users), names.cpu(users, BROKER)}
            assert measures <= {*grown[size].left_out}


def test_after_a_failure_only_what_was_planned_is_told_as_failed() -> None:
    figures = turns.begin_growth(GROWTH)[3]
    figures.failures.append("it ended")
    cells = [Row("r", names.cpu(users, APP), "µs").cell(figures) for users in (3, 5, 20)]
    assert cells == [FAILED, NONE, NONE]
