"""What is told of a run holds for its plan, and a run that something disturbed says so."""

from __future__ import annotations

import re
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import __main__ as main
from benchmarks import figures as names
from benchmarks import report
from benchmarks.contestants import ALL
from benchmarks.disturbance import find_disturbance
from benchmarks.figures import Figures
from benchmarks.goals import Goal, Results, Value
from benchmarks.plan import FLOOR, FULL, OURS, OURS_TCP, QUICK, Plan
from benchmarks.report import Report
from benchmarks.tables import NONE, Row

NOTHING = Results({}, {})
FACTS = ["machine: one"]
GROWN = Results({each.key: Figures() for each in ALL}, {size: Figures() for size in FULL.growth.sizes})


def floor_of(*, clicks: tuple[float, ...] = (), rates: tuple[float, ...] = ()) -> Results:
    """Return a run in which the floor measured this in each round."""
    figures = Figures()
    for click in clicks:
        figures.add(names.click(1), click, click, 9.0)
    for rate in rates:
        figures.add(names.rate(30), rate)
    return Results({FLOOR: figures}, {})


def page(plan: Plan = FULL, results: Results = GROWN, load_before: float = 0.0) -> str:
    """Return the page of a run, without line breaks in its sentences."""
    return " ".join(report.document(FACTS, Report(plan, ALL, results, load_before), 60).split())


# Disturbance


@pytest.mark.parametrize(
    "results",
    [NOTHING, floor_of(), floor_of(clicks=(1e-3,), rates=(900.0,)), floor_of(clicks=(1e-3, 1.5e-3))],
)
def test_a_run_with_too_little_of_the_floor_or_a_calm_one_tells_nothing(results: Results) -> None:
    assert find_disturbance(results, 30, 0.5) is None


def test_a_machine_that_was_busy_before_is_told() -> None:
    assert find_disturbance(NOTHING, 30, 4.07) == "the load average was 4.07 before the first turn"


def test_clicks_a_second_of_the_floor_that_differ_are_told_by_round() -> None:
    found = find_disturbance(floor_of(rates=(900.0, 590.0, 910.0)), 30, 0.0)
    assert found == "the floor's clicks/s differed between rounds: 900, 590, 910 (30 users)"


def test_clicks_of_the_floor_that_differ_are_told_by_round() -> None:
    found = find_disturbance(floor_of(clicks=(0.5e-3, 0.8e-3)), 30, 0.0)
    assert found == "the floor's click differed between rounds: 0.50, 0.80 ms (one user, p50)"


def test_a_disturbed_run_is_written_with_all_that_disturbed_it_in_bold() -> None:
    results = replace(GROWN, figures={**GROWN.figures, **floor_of(rates=(900.0, 500.0)).figures})
    (bold,) = re.findall(r"\*\*(Disturbed: .*?)\*\*", page(results=results, load_before=4.07))
    assert "4.07 before the first turn; the floor's clicks/s" in bold
    assert bold.endswith("These numbers are a draft.")


def test_an_undisturbed_run_is_no_draft() -> None:
    assert "draft" not in page()


# Words


def test_the_page_tells_how_many_turns_have_a_burst_and_a_crowd() -> None:
    told = page()
    every = [turn for mine in FULL.turns.values() for turn in mine]
    bursts, crowds = sum(bool(turn.burst) for turn in every), sum(bool(turn.crowd) for turn in every)
    assert f"Planned with a burst: {bursts} of the {len(every)} turns." in told
    assert f"Planned with {FULL.crowd} users: {crowds} of the {len(every)} turns." in told
    assert "weighs more on those with fewer" in told
    assert "With fewer than 30 live apps nobody opens" in told


def test_the_page_of_a_quick_run_tells_nothing_of_what_it_does_not_plan() -> None:
    told = page(QUICK, replace(GROWN, grown={size: Figures() for size in QUICK.growth.sizes}))
    for absent in ("burst:", "300 users", "weighs more", "1000"):
        assert absent not in told


def test_the_page_of_a_run_without_growth_does_not_explain_it() -> None:
    assert "Growth" not in page(results=replace(GROWN, grown={}))


# Ratios


def goal_of(most: float) -> Goal:
    """Return a goal with a limit."""
    return Goal("g", "ms", lambda results: Value("o", 0.0), lambda results: Value("a", 1.0), most=most)


@pytest.mark.parametrize(
    ("ratio", "most", "told"),
    [(0.04, 0.04, "1/25"), (0.05, 0.04, "1/20"), (0.5, 0.7, "0.5"), (1.2, 0.04, "1.2"), (0.0, 0.04, "0")],
)
def test_a_ratio_is_told_as_a_fraction_where_its_limit_is_one(ratio: float, most: float, told: str) -> None:
    assert report._as_fraction(ratio, goal_of(most)) == told


def test_growth_divides_the_most_by_the_fewest_that_have_a_figure() -> None:
    grown = [Figures(), Figures(), Figures()]
    grown[1].add(names.REOPEN, 2.0)
    grown[2].add(names.REOPEN, 3.0)
    assert report._ratio(Row("r", names.REOPEN, "ms"), grown) == "1.50"
    assert report._ratio(Row("r", names.REOPEN, "ms"), grown[:2]) == NONE


def test_the_time_until_all_live_is_not_divided() -> None:
    grown = [Figures(), Figures()]
    for figures in grown:
        figures.add(names.ALL_LIVE, 1.0)
    assert report._ratio(Row("r", names.ALL_LIVE, "s"), grown) == NONE


# Where it is written


def options(quick: bool = False, only: str = "", output: Path | None = None) -> Namespace:
    """Return what the command line gave."""
    return Namespace(quick=quick, only=only, output=output)


@pytest.mark.parametrize(
    ("given", "failed", "written"),
    [
        (options(), False, main.RESULTS),
        (options(), True, None),
        (options(quick=True), False, None),
        (options(only="ours"), False, None),
        (options(output=Path("f")), True, Path("f")),
        (options(quick=True, output=Path("f")), False, Path("f")),
    ],
    ids=["whole", "failed", "quick", "some", "failed and named", "quick and named"],
)
def test_only_a_whole_run_that_did_not_fail_is_written_unless_a_file_is_named(
    given: Namespace, failed: bool, written: Path | None
) -> None:
    assert main._output(given, failed) == written


@pytest.mark.parametrize(("key", "failed"), [(OURS, True), (OURS_TCP, True), (FLOOR, False)])
def test_this_project_failed_when_one_of_its_turns_did(key: str, failed: bool) -> None:
    assert main.ours_failed(Results({key: Figures(failures=["it ended"])}, {})) is failed


def test_this_project_failed_when_its_growth_did() -> None:
    assert main.ours_failed(Results({OURS: Figures()}, {30: Figures(failures=["it ended"])}))
