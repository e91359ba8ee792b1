"""Whether something else used the machine during a run: the floor tells, which does the same each round."""

from __future__ import annotations

from benchmarks import figures as names
from benchmarks.goals import Results
from benchmarks.plan import FLOOR

CALM = 1.5
"""Up to this factor the floor's clicks/s differ between the rounds of a run that counts."""


def find_disturbance(results: Results, users: int) -> str | None:
    """Return what to say of the floor's clicks/s with so many users in each round; None when they are alike.

    Growth comes after the rounds, with no floor beside it: nothing is known of that time.
    """
    floor = results.figures.get(FLOOR)
    rates = [rate for values in floor.rounds.get(names.rate(users), []) for rate in values] if floor else []
    if len(rates) < 2 or max(rates) <= CALM * min(rates):
        return None
    told = ", ".join(f"{rate:.0f}" for rate in rates)
    return f"disturbed: the floor's clicks/s differed between rounds: {told} ({users} users)"
