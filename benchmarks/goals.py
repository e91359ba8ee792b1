"""What this project is to reach, each as a ratio of two figures of the same run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from benchmarks import figures as names
from benchmarks.figures import Figures, Measure
from benchmarks.plan import FLOOR, HTAG2, OURS, RELEASED, Growth, Turn
from benchmarks.stack import BROKER

BROKER_CPU_S = 60e-6
FLAT = 1.15
"""Up to this factor a figure counts as one that does not grow."""


@dataclass(frozen=True, slots=True)
class Results:
    """All that a run measured."""

    figures: Mapping[str, Figures]
    """By the contestant's key."""
    grown: Mapping[int, Figures]
    """Of this project, by the number of live apps."""


@dataclass(frozen=True, slots=True)
class Value:
    """One side of a ratio: whose it is, and the number."""

    whose: str
    number: float


Side = Callable[[Results], Value]
"""Raises LookupError when the run did not measure it."""


@dataclass(frozen=True, slots=True)
class Goal:
    """A ratio that must not be passed, or must be reached."""

    label: str
    unit: str
    """A key of the report's units."""
    ours: Side
    against: Side | None = None
    """Without it ``most`` is a limit of our own figure."""
    most: float | None = None
    least: float | None = None

    def ratio(self, results: Results) -> float:
        """Return ours divided by the other; LookupError when one was not measured, or the other is 0."""
        mine = self.ours(results).number
        if self.against is None:
            return mine
        other = self.against(results).number
        if not other:
            raise LookupError(f"{self.label}: expected more than 0 of {self.against(results).whose}")
        return mine / other

    def is_met(self, results: Results) -> bool:
        """Return whether it is reached; LookupError as above."""
        ratio = self.ratio(results)
        return (self.most is None or ratio <= self.most) and (self.least is None or ratio >= self.least)


def _of(key: str, measure: Measure, percent: float = 50) -> Side:
    return lambda results: Value(key, results.figures[key].at(measure, percent))


def _grown(size: int, measure: Measure) -> Side:
    return lambda results: Value(f"{size} live", results.grown[size].at(measure))


def _better(measure: Measure, percent: float, choose: Callable[..., Value]) -> Side:
    def side(results: Results) -> Value:
        measured = [
            Value(key, results.figures[key].at(measure, percent))
            for key in RELEASED
            if key in results.figures and results.figures[key].has(measure)
        ]
        if not measured:
            raise LookupError(f"{measure} was not measured of {' and '.join(RELEASED)}")
        return choose(measured, key=lambda value: value.number)

    return side


def goals(turn: Turn, growth: Growth) -> list[Goal]:
    """Return all goals, in the order in which they are told."""
    return [*_against_others(turn), *_against_ourselves(growth), *_of_the_broker(turn, growth)]


def _against_others(turn: Turn) -> list[Goal]:
    one, latest = names.click(1), RELEASED[0]
    first_open, private, browser = names.FIRST_OPEN, names.PRIVATE, names.BROWSER
    rates = {f"clicks/s, {users} users": names.rate(users) for users in (turn.users, turn.many)}
    return [
        Goal("first open, p50", "ms", _of(OURS, first_open), _of(latest, first_open), most=1 / 25),
        *(
            Goal(f"click, one user, p{at}", "ms", _of(OURS, one, at), _better(one, at, min), most=1.0)
            for at in (50, 99)
        ),
        *(
            Goal(label, "/s", _of(OURS, rate), _better(rate, 50, max), least=2.0)
            for label, rate in rates.items()
        ),
        Goal("click, one user, p50", "ms", _of(OURS, one), _of(FLOOR, one), most=1.4),
        *(Goal(label, "/s", _of(OURS, rate), _of(FLOOR, rate), least=0.7) for label, rate in rates.items()),
        Goal("private memory per app", "MB", _of(OURS, private), _of(latest, private), most=0.5),
        Goal("click to changed page, p50", "ms", _of(OURS, browser), _of(HTAG2, browser), most=1.1),
    ]


def _against_ourselves(growth: Growth) -> list[Goal]:
    one, first_open = names.click(1), names.FIRST_OPEN
    single, few, many = growth.sizes[0], growth.fewest_clicked, growth.sizes[-1]
    return [
        Goal(
            "update() to frame, against click, p50", "ms", _of(OURS, names.UPDATE), _of(OURS, one), most=0.7
        ),
        Goal(f"click, one user, p50, {many} live", "ms", _grown(many, one), _grown(single, one), most=FLAT),
        Goal(
            f"first open, p50, {many} live", "ms", _grown(many, first_open), _grown(few, first_open), most=1.5
        ),
    ]


def _of_the_broker(turn: Turn, growth: Growth) -> list[Goal]:
    label, together = "broker server's CPU per click", f"{growth.users} users"
    alone, cpu = names.cpu(1, BROKER), names.cpu(growth.users, BROKER)
    single, few, many = growth.sizes[0], growth.fewest_clicked, growth.sizes[-1]
    clicking = {"one user": 1, f"{turn.users} users": turn.users, f"{turn.many} users": turn.many}
    return [
        *(
            Goal(f"{label}, {who}", "µs", _of(OURS, names.cpu(users, BROKER)), most=BROKER_CPU_S)
            for who, users in clicking.items()
        ),
        *(
            Goal(f"{label}, {together}, {size} live", "µs", _grown(size, cpu), most=BROKER_CPU_S)
            for size in growth.sizes
            if size >= few
        ),
        Goal(f"{label}, one user, {many} live", "µs", _grown(many, alone), _grown(single, alone), most=FLAT),
        Goal(f"{label}, {together}, {many} live", "µs", _grown(many, cpu), _grown(few, cpu), most=FLAT),
    ]
