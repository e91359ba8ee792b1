"""A goal is met or not by the figures of a run, and is compared with whom it names."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from benchmarks import figures as names
from benchmarks.contestants import ALL
from benchmarks.figures import Figures, Measure
from benchmarks.goals import Goal, Results, Side, Value, goals
from benchmarks.load.users import WIRES
from benchmarks.plan import FULL, OURS, QUICK, RELEASED, Growth, Plan, Turn

NOTHING = Results({}, {})
LATEST, OLDER = RELEASED
TURN = Turn(users=30, many=100)
GROWTH = Growth(steps=((1, 30), (100, 1000), (1,)), users=30)


def side(number: float) -> Side:
    """Return a side that is always measured."""
    return lambda results: Value("somebody", number)


def absent(results: Results) -> Value:
    """Be a side that the run did not measure."""
    raise LookupError("it was not measured")


def results_of(**measured: Mapping[Measure, float]) -> Results:
    """Return what a run measured of ``latest`` and ``older``."""
    keys = {"latest": LATEST, "older": OLDER}
    made = {keys[key]: Figures() for key in measured}
    for key, values in measured.items():
        for measure, value in values.items():
            made[keys[key]].add(measure, value)
    return Results(made, {})


def others(label: str) -> list[Side]:
    """Return whom the goals of this label are compared with."""
    return [goal.against for goal in goals(TURN, GROWTH) if goal.label == label and goal.against]


def releases(label: str, results: Results) -> list[str]:
    """Return the releases that the goals of this label are compared with; the others are not in the run."""
    found = []
    for other in others(label):
        try:
            found.append(other(results).whose)
        except LookupError:
            continue
    return found


def test_a_ratio_is_ours_divided_by_the_other() -> None:
    assert Goal("g", "ms", side(1.0), side(4.0)).ratio(NOTHING) == 0.25


def test_without_another_our_own_figure_is_limited() -> None:
    goal = Goal("g", "µs", side(60e-6), most=60e-6)
    assert goal.ratio(NOTHING) == 60e-6
    assert goal.is_met(NOTHING)
    assert not Goal("g", "µs", side(61e-6), most=60e-6).is_met(NOTHING)


@pytest.mark.parametrize(("ours", "met"), [(2.9, True), (3.0, True), (3.1, False)])
def test_at_most_is_met_up_to_the_limit_itself(ours: float, met: bool) -> None:
    assert Goal("g", "ms", side(ours), side(2.0), most=1.5).is_met(NOTHING) is met


@pytest.mark.parametrize(("ours", "met"), [(3.9, False), (4.0, True), (4.1, True)])
def test_at_least_is_met_from_the_limit_itself_on(ours: float, met: bool) -> None:
    assert Goal("g", "/s", side(ours), side(2.0), least=2.0).is_met(NOTHING) is met


@pytest.mark.parametrize(("ours", "against"), [(absent, side(1.0)), (side(1.0), absent)])
@pytest.mark.parametrize("limit", [{"most": 1.0}, {"least": 1.0}])
def test_what_was_not_measured_is_neither_met_nor_missed(
    ours: Side, against: Side, limit: dict[str, float]
) -> None:
    goal = Goal("g", "ms", ours, against, **limit)
    with pytest.raises(LookupError):
        goal.is_met(NOTHING)
    with pytest.raises(LookupError):
        goal.ratio(NOTHING)


@pytest.mark.parametrize(("latest", "older", "faster"), [(1.0, 2.0, LATEST), (2.0, 1.0, OLDER)])
@pytest.mark.parametrize("percent", [50, 99])
def test_a_click_is_compared_with_the_release_that_answers_sooner(
    latest: float, older: float, faster: str, percent: int
) -> None:
    one = names.click(1)
    results = results_of(latest={one: latest}, older={one: older})
    assert releases(f"click, one user, p{percent}", results) == [faster]


def test_the_release_is_chosen_for_each_percentile() -> None:
    results = results_of(latest={}, older={names.click(1): 2.0})
    results.figures[LATEST].add(names.click(1), *[1.0] * 98, 9.0, 9.0)
    assert releases("click, one user, p50", results) == [LATEST]
    assert releases("click, one user, p99", results) == [OLDER]


def test_our_own_click_is_taken_at_the_percentile_of_the_release() -> None:
    results = Results({OURS: Figures()}, {})
    results.figures[OURS].add(names.click(1), *[1.0] * 98, 9.0, 9.0)
    ours = {goal.label: goal.ours for goal in goals(TURN, GROWTH) if goal.label.startswith("click, one user")}
    assert ours["click, one user, p50"](results).number == 1.0
    assert ours["click, one user, p99"](results).number == 9.0


@pytest.mark.parametrize(("latest", "older", "faster"), [(900.0, 800.0, LATEST), (800.0, 900.0, OLDER)])
@pytest.mark.parametrize("users", [TURN.users, TURN.many])
def test_a_rate_is_compared_with_the_release_that_does_more(
    latest: float, older: float, faster: str, users: int
) -> None:
    rate = names.rate(users)
    results = results_of(latest={rate: latest}, older={rate: older})
    assert releases(f"clicks/s, {users} users", results) == [faster]


def test_a_release_that_was_not_measured_leaves_the_other_to_compare_with() -> None:
    one = names.click(1)
    assert releases("click, one user, p50", results_of(latest={}, older={one: 2.0})) == [OLDER]
    assert releases("click, one user, p50", results_of(latest={one: 2.0})) == [LATEST]


def test_without_any_release_there_is_nobody_to_compare_with() -> None:
    (other, *_) = others("click, one user, p99")
    with pytest.raises(LookupError, match=r"1\.0\.0 and .*0\.60\.3"):
        other(results_of(latest={}, older={}))


def test_a_first_open_is_compared_with_the_latest_release_even_when_the_older_is_faster() -> None:
    results = results_of(latest={names.FIRST_OPEN: 0.2}, older={names.FIRST_OPEN: 0.1})
    assert releases("first open, p50", results) == [LATEST]


class _Everything(Figures):
    """All that one can ask for was measured: waits so long, and as much a second as they allow."""

    wait = 1.0
    update = 1.0
    """In waits."""

    def has(self, measure: Measure) -> bool:
        return True

    def at(self, measure: Measure, percent: float = 50) -> float:
        if "per second" in measure:
            return 1 / self.wait
        return self.wait * (self.update if measure == names.UPDATE else 1)


def everything(wait: float, update: float = 1.0) -> Figures:
    """Return figures that have every measure."""
    figures = _Everything()
    figures.wait, figures.update = wait, update
    return figures


def run_of(ours: Figures, others: Figures, fewer: Figures, most: Figures) -> Results:
    """Return a run in which all others are alike, and only the most live apps may make a difference."""
    return Results(
        {each.key: ours if each.key == OURS else others for each in ALL},
        {size: most if size == GROWTH.sizes[-1] else fewer for size in GROWTH.sizes},
    )


def test_who_is_better_than_all_others_and_does_not_grow_meets_every_goal() -> None:
    good = everything(1e-6, update=0.1)
    run = run_of(good, everything(1.0), good, good)
    assert [goal.label for goal in goals(TURN, GROWTH) if not goal.is_met(run)] == []


def test_who_is_worse_than_all_others_and_grows_meets_no_goal() -> None:
    run = run_of(everything(1.0, update=9.0), everything(1e-3), everything(1e-3), everything(1.0))
    assert [goal.label for goal in goals(TURN, GROWTH) if goal.is_met(run)] == []


@pytest.mark.parametrize("results", [NOTHING, Results({each.key: Figures() for each in ALL}, {})])
def test_a_run_that_measured_nothing_decides_no_goal(results: Results) -> None:
    for goal in goals(TURN, GROWTH):
        with pytest.raises(LookupError):
            goal.is_met(results)


def test_a_run_without_releases_and_floor_still_tells_our_own_limits() -> None:
    ours = everything(1e-6)
    results = Results({OURS: ours}, dict.fromkeys(GROWTH.sizes, ours))
    assert all(goal.is_met(results) for goal in goals(TURN, GROWTH) if goal.against is None)


@pytest.mark.parametrize("plan", [FULL, QUICK], ids=["full", "quick"])
def test_every_contestant_has_turns_in_a_plan_and_speaks_a_known_wire(plan: Plan) -> None:
    assert {each.key for each in ALL} == {*plan.turns}
    assert {each.wire for each in ALL} == {*WIRES}


@pytest.mark.parametrize("plan", [FULL, QUICK], ids=["full", "quick"])
def test_a_turn_has_all_its_users_there_when_they_click(plan: Plan) -> None:
    for turn in (turn for mine in plan.turns.values() for turn in mine):
        assert 1 + turn.opens == turn.users  # the first one opened the first page
        assert not turn.many or turn.many >= turn.users
        assert not turn.crowd or turn.crowd >= turn.many
