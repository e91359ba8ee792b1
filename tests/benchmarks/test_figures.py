"""A percentile is a value that was measured; a figure is the median of what the rounds measured."""

from __future__ import annotations

import pytest

from benchmarks import figures as names
from benchmarks.figures import Figures, percentile

HUNDRED = [float(number) for number in range(100, 0, -1)]


def figures_of(*rounds: list[float]) -> Figures:
    """Return figures with one measure, "wait"."""
    figures = Figures()
    for values in rounds:
        figures.add("wait", *values)
    return figures


@pytest.mark.parametrize(
    ("percent", "expected"),
    [(0, 1.0), (1, 1.0), (50, 50.0), (95, 95.0), (99, 99.0), (99.5, 100.0), (100, 100.0)],
)
def test_of_a_hundred_values_a_percentile_is_the_one_of_that_rank(percent: float, expected: float) -> None:
    assert percentile(HUNDRED, percent) == expected


@pytest.mark.parametrize(("percent", "expected"), [(50, 2.0), (51, 3.0), (75, 3.0), (76, 4.0), (99, 4.0)])
def test_between_two_values_the_percentile_is_the_larger_and_never_a_mean(
    percent: float, expected: float
) -> None:
    assert percentile([4.0, 1.0, 3.0, 2.0], percent) == expected


def test_the_p99_of_a_turns_clicks_leaves_out_the_slowest_in_a_hundred() -> None:
    assert percentile([float(number) for number in range(1, 801)], 99) == 792.0


@pytest.mark.parametrize("percent", [0, 1, 50, 99, 100])
def test_of_one_value_each_percentile_is_that_value(percent: float) -> None:
    assert percentile([7.0], percent) == 7.0


@pytest.mark.parametrize("percent", [0, 50, 100])
def test_of_no_value_there_is_no_percentile(percent: float) -> None:
    with pytest.raises(LookupError):
        percentile([], percent)


def test_a_figure_is_the_median_of_the_rounds_and_not_their_mean() -> None:
    assert figures_of([9.0], [1.0], [2.0]).at("wait") == 2.0


def test_a_figure_of_two_rounds_is_between_them() -> None:
    assert figures_of([1.0], [2.0]).at("wait") == 1.5


def test_one_disturbed_round_does_not_decide_a_p99() -> None:
    calm, disturbed = [1.0] * 100, [1.0] * 50 + [50.0] * 50
    assert figures_of(calm, disturbed, calm).at("wait", 99) == 1.0


def test_a_long_round_weighs_no_more_than_a_short_one() -> None:
    assert figures_of([9.0] * 1000, [1.0], [2.0]).at("wait") == 2.0


def test_a_figure_is_taken_at_the_percentile_that_was_asked_for() -> None:
    figures = figures_of(HUNDRED, HUNDRED)
    assert [figures.at("wait", percent) for percent in (50, 95, 99)] == [50.0, 95.0, 99.0]
    assert figures.at("wait") == 50.0


def test_the_worst_is_that_of_all_rounds() -> None:
    assert figures_of([1.0, 2.0], [9.0, 3.0], [4.0]).worst("wait") == 9.0


def test_what_was_not_measured_is_said_by_its_name() -> None:
    figures = figures_of([1.0])
    with pytest.raises(LookupError, match="re-open"):
        figures.at(names.REOPEN)
    with pytest.raises(LookupError, match="re-open"):
        figures.worst(names.REOPEN)


def test_asking_for_a_measure_does_not_make_it_measured() -> None:
    figures = Figures()
    with pytest.raises(LookupError):
        figures.at("wait")
    assert not figures.has("wait")
    assert not figures.rounds


def test_each_number_of_users_and_each_part_has_figures_of_its_own() -> None:
    made = [names.click(1), names.click(30), names.rate(1), names.rate(30)]
    made += [names.cpu(1, "broker"), names.cpu(30, "broker"), names.cpu(30, "web worker")]
    assert len({*made}) == len(made)
