"""Whether something else used the machine during a run, as far as the run itself can tell."""

from __future__ import annotations

from benchmarks import figures as names
from benchmarks.figures import Figures, Measure, percentile
from benchmarks.goals import Results
from benchmarks.plan import FLOOR

BUSY = 0.5
"""A load average from which on the machine is too busy for numbers that count."""
CALM = 1.5
"""Up to this factor the floor's figures differ between the rounds of a run that counts."""


def find_disturbance(results: Results, users: int, load_before: float) -> str | None:
    """Return what says that the machine was not ours alone; None when nothing does.

    ``load_before`` is the load average before the first turn. From then on only the floor tells, which
    does the same in each round: its click with one user and its clicks/s with ``users``. That sees
    little: nothing between the floor's turns, nothing that is there in all of them, nothing with one
    round or without the floor. Growth comes after the rounds, with no floor beside it: nothing is known
    of that time.
    """
    floor = results.figures.get(FLOOR, Figures())
    clicks = [click * 1e3 for click in _by_round(floor, names.click(1))]
    rates = _by_round(floor, names.rate(users))
    found = []
    if load_before > BUSY:
        found.append(f"the load average was {load_before:.2f} before the first turn")
    if _differ(clicks):
        told = ", ".join(f"{click:.2f}" for click in clicks)
        found.append(f"the floor's click differed between rounds: {told} ms (one user, p50)")
    if _differ(rates):
        told = ", ".join(f"{rate:.0f}" for rate in rates)
        found.append(f"the floor's clicks/s differed between rounds: {told} ({users} users)")
    return "; ".join(found) or None


def _by_round(figures: Figures, measure: Measure) -> list[float]:
    return [percentile(values, 50) for values in figures.rounds.get(measure, [])]


def _differ(numbers: list[float]) -> bool:
    return len(numbers) > 1 and max(numbers) > CALM * min(numbers)
