"""The numbers of one contestant: by measure, a list for each round."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field
from statistics import median

from benchmarks.stack import Memory

Measure = str
"""What was measured, e.g. ``first open``; seconds, bytes, or something per second."""

START_UP = "start-up"
"""Until the first page was there."""
FIRST_OPEN = "first open"
REOPEN = "re-open"
BROWSER = "browser"
"""From the click to the changed page, in Chromium."""
UPDATE = "update"
"""From the app's clock, just before its ``update()``, to the frame at the client."""
UPDATE_RATE = "updates per second"
PRIVATE = "private memory per app"
"""Of each app process; where there are none what the server grew by, divided by the users who came."""
SHARE = "whole stack per app"
"""All processes' memory, shared pages too, divided by the live apps."""
WHOLE = "whole stack"
BURST_CLICK = "click in a burst"
BURST = "burst"
"""Until all pages of a burst were there."""
ALL_LIVE = "all live"
"""Until as many users had come as a crowd has, or as many as live in a row of the growth table."""
LOAD = "load"
"""The role of the load itself, among those that need CPU."""


def click(users: int) -> Measure:
    """Return the name of: one click, while so many users click."""
    return f"click, {users} users"


def rate(users: int) -> Measure:
    """Return the name of: clicks per second of so many users."""
    return f"clicks per second, {users} users"


def cpu(users: int, role: str) -> Measure:
    """Return the name of: CPU time per click of one part, while so many users click."""
    return f"CPU, {users} users, {role}"


def percentile(values: list[float], percent: float) -> float:
    """Return the nearest-rank percentile."""
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]


@dataclass(slots=True)
class Figures:
    """All that was measured of one contestant, and what was not."""

    rounds: dict[Measure, list[list[float]]] = field(default_factory=lambda: defaultdict(list))
    last_round: dict[Measure, list[float]] = field(default_factory=dict)
    """What was measured since the last round began."""
    roles: dict[str, None] = field(default_factory=dict)
    """The parts whose CPU was measured, in the order of the stack."""
    memory: dict[str, list[Memory]] = field(default_factory=dict)
    """Of each process by role, in the last round."""
    failures: list[str] = field(default_factory=list)
    left_out: dict[Measure, str] = field(default_factory=dict)
    """What was not measured on purpose, and why; empty where the plan says so."""

    def begin_round(self) -> None:
        """Forget what the last round was, not what it measured."""
        self.last_round.clear()

    def add(self, measure: Measure, *values: float) -> None:
        """Add what a round measured; no values at all are no round."""
        if values:
            self.last_round[measure] = list(values)
            self.rounds[measure].append(list(values))

    def has(self, measure: Measure) -> bool:
        """Return whether some round has it."""
        return bool(self.rounds.get(measure))

    def at(self, measure: Measure, percent: float = 50) -> float:
        """Return the median over the rounds of each round's percentile; LookupError when there is none.

        So one round that something disturbed does not decide a p99, as it would if all values were one heap.
        """
        if not self.has(measure):
            raise LookupError(f"{measure} was not measured")
        return median(percentile(values, percent) for values in self.rounds[measure])

    def worst(self, measure: Measure) -> float:
        """Return the largest value of all rounds; LookupError when there is none."""
        if not self.has(measure):
            raise LookupError(f"{measure} was not measured")
        return max(max(values) for values in self.rounds[measure])
