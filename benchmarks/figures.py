"""What was measured of one contestant, over all rounds; and the plan of the rounds."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median

from benchmarks.stack import APP, BenchmarkError, Memory, Stack


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured."""

    rounds: int
    """Each has a turn of each contestant, which starts it anew."""
    users: int
    clicks: int
    rate_s: float
    burst: int
    crowd: int
    crowd_at_once: int = 20


FULL = Plan(rounds=4, users=30, clicks=1000, rate_s=5.0, burst=20, crowd=300)
QUICK = Plan(rounds=2, users=30, clicks=500, rate_s=1.5, burst=20, crowd=30)


@dataclass(slots=True)
class Crowd:
    """Many live apps at once."""

    seconds: float
    clicks: list[float]
    memory: dict[str, list[Memory]]

    @property
    def share(self) -> int:
        """Memory of the whole stack, in bytes."""
        return sum(memory.share for group in self.memory.values() for memory in group)


@dataclass(slots=True)
class Figures:
    """All measurements of one contestant; seconds and bytes, pooled over the rounds unless told otherwise."""

    startups: list[float] = field(default_factory=list)
    """Until the first page was there; one a round."""
    opens: list[float] = field(default_factory=list)
    reopens: list[float] = field(default_factory=list)
    clicks: list[float] = field(default_factory=list)
    load_per_click: list[float] = field(default_factory=list)
    """CPU time of the load itself; one a round."""
    rates: list[float] = field(default_factory=list)
    """Clicks per second, one a round."""
    private: list[int] = field(default_factory=list)
    """Of each app process."""
    shares: list[float] = field(default_factory=list)
    """Of the whole stack, divided by its live apps; one a round."""
    burst_clicks: list[float] = field(default_factory=list)
    burst_seconds: list[float] = field(default_factory=list)
    """Until all pages of the burst were there; one a round."""
    crowd: Crowd | None = None
    failure: str = ""
    """Why there is no crowd."""

    def take_turn(self, stack: Stack, plan: Plan) -> None:
        """Measure everything but the crowd on a stack that was just started."""
        self.startups.append(stack.ask("first_page") - stack.started)
        clicks = stack.ask("click", count=plan.clicks)
        self.clicks += clicks["waits"]
        self.load_per_click.append(clicks["own"])
        self.opens += stack.ask("open", count=plan.users - 1)
        self.reopens += stack.ask("reopen", count=plan.users)
        self.rates.append(stack.ask("rate", seconds=plan.rate_s))
        memory = stack.memory()
        if len(memory[APP]) != plan.users:
            raise BenchmarkError(f"{plan.users} users have {len(memory[APP])} app processes")
        self.private += [each.private for each in memory[APP]]
        self.shares.append(sum(each.share for group in memory.values() for each in group) / plan.users)
        burst = stack.ask("burst", count=plan.burst)
        self.burst_clicks += burst["clicks"]
        self.burst_seconds.append(burst["seconds"])

    def take_crowd(self, stack: Stack, plan: Plan) -> None:
        """Measure many live apps on a stack that was just started; a failure is noted."""
        try:
            stack.ask("first_page")
            crowd = stack.ask("crowd", count=plan.crowd, at_once=plan.crowd_at_once)
            self.crowd = Crowd(crowd["seconds"], crowd["clicks"], stack.memory())
        except BenchmarkError as exc:
            self.failure = str(exc)

    def summary(self) -> str:
        """Return the last turn in one line."""
        return (
            f"started in {self.startups[-1]:.2f} s, first open {_ms(self.opens)}, click {_ms(self.clicks)}, "
            f"{self.rates[-1]:.0f} clicks/s, {median(self.private) / 1e6:.1f} MB per app"
        )


def _ms(seconds: list[float]) -> str:
    return f"{median(seconds) * 1000:.2f} ms"


def percentile(values: list[float], percent: float) -> float:
    """Return the nearest-rank percentile."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]
