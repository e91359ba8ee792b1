"""The table of both contestants, with the ratios that are wanted."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from benchmarks.contestants import Contestant
from benchmarks.figures import Crowd, Figures, Plan, percentile

Value = Callable[[Figures], float]


@dataclass(frozen=True, slots=True)
class Row:
    """One measure."""

    label: str
    value: Value
    unit: str
    digits: int
    upside: bool = False
    """Whether the ratio is ours / 1.0.0, not 1.0.0 / ours."""
    least: float | None = None
    """What the ratio must reach."""
    most: float | None = None
    """What the ratio may be."""
    limit: float | None = None
    """What our own value may be."""
    bare: bool = False
    """A fact that is no contest: it has no ratio."""

    def cells(self, ours: Figures, theirs: Figures) -> list[str]:
        """Return the row of the table."""
        mine, other = self._measured(ours), self._measured(theirs)
        ratio, wanted, verdict = "", "", ""
        if mine is not None and other is not None and not self.bare:
            number = mine / other if self.upside else other / mine
            ratio = f"{'ours / 1.0.0' if self.upside else '1.0.0 / ours'} = {number:.2f}"
            if self.least is not None:
                wanted, verdict = f"≥ {self.least:g}", _verdict(number >= self.least)
            elif self.most is not None:
                wanted, verdict = f"≤ {self.most:g}", _verdict(number <= self.most)
        if self.limit is not None and mine is not None:
            wanted, verdict = f"ours < {self.limit:g} {self.unit}", _verdict(mine < self.limit)
        return [self.label, self._shown(mine), self._shown(other), ratio, wanted, verdict]

    def _measured(self, figures: Figures) -> float | None:
        try:
            return self.value(figures)
        except LookupError:
            return None

    def _shown(self, value: float | None) -> str:
        return "-" if value is None else f"{value:.{self.digits}f} {self.unit}"


def _verdict(is_met: bool) -> str:
    return "yes" if is_met else "NO"


def _crowd(figures: Figures) -> Crowd:
    if figures.crowd is None:
        raise LookupError("not measured")
    return figures.crowd


def rows(plan: Plan) -> Sequence[Row]:
    """Return all measures."""
    users, crowd = plan.users, plan.crowd
    return (
        Row("start-up until the first page, median", lambda f: median(f.startups), "s", 2),
        Row("first open, p50", lambda f: median(f.opens) * 1e3, "ms", 1, least=10),
        Row("first open, p95", lambda f: percentile(f.opens, 95) * 1e3, "ms", 1),
        Row("re-open, p50", lambda f: median(f.reopens) * 1e3, "ms", 1),
        Row("click, one user, p50", lambda f: median(f.clicks) * 1e3, "ms", 2, upside=True, most=1.5),
        Row("click, one user, p95", lambda f: percentile(f.clicks, 95) * 1e3, "ms", 2, upside=True),
        Row("click, one user, p99", lambda f: percentile(f.clicks, 99) * 1e3, "ms", 2, upside=True),
        Row(
            "  of it the load's own CPU, median", lambda f: median(f.load_per_click) * 1e3, "ms", 2, bare=True
        ),
        Row(f"clicks/s, {users} users, median", lambda f: median(f.rates), "/s", 0, upside=True, least=1),
        Row(
            f"private memory per app, {users} live",
            lambda f: median(f.private) / 1e6,
            "MB",
            2,
            upside=True,
            most=0.7,
        ),
        Row(f"whole stack / {users} live apps", lambda f: median(f.shares) / 1e6, "MB", 2, upside=True),
        Row(
            f"slowest click while {plan.burst} users open at once",
            lambda f: max(f.burst_clicks) * 1e3,
            "ms",
            1,
            limit=50,
        ),
        Row(f"all {plan.burst} of them opened after, median", lambda f: median(f.burst_seconds), "s", 2),
        Row(f"{crowd} live apps: all opened after", lambda f: _crowd(f).seconds, "s", 1),
        Row(f"{crowd} live apps: first click, p50", lambda f: median(_crowd(f).clicks) * 1e3, "ms", 2),
        Row(f"{crowd} live apps: whole stack", lambda f: _crowd(f).share / 1e6, "MB", 0, upside=True),
    )


def table(plan: Plan, ours: Figures, theirs: Figures) -> str:
    """Return the table as Markdown, in columns of even width."""
    head = ["measure", "this project", "htagweb 1.0.0", "ratio", "wanted", "met"]
    return _markdown([head, *(row.cells(ours, theirs) for row in rows(plan))])


def memory_table(ours: Figures, theirs: Figures) -> str:
    """Return what each part of a crowd's stack takes, as Markdown."""
    lines = [["part", "contestant", "processes", "private, each (median)", "private, all"]]
    for name, figures in _named(ours, theirs):
        if figures.crowd is None:
            continue
        for role, group in figures.crowd.memory.items():
            private = [memory.private / 1e6 for memory in group]
            lines.append([role, name, str(len(group)), f"{median(private):.2f} MB", f"{sum(private):.1f} MB"])
    return _markdown(lines)


def _named(ours: Figures, theirs: Figures) -> Sequence[tuple[str, Figures]]:
    return (("this project", ours), ("htagweb 1.0.0", theirs))


def _markdown(lines: list[list[str]]) -> str:
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    texts = ["| " + " | ".join(map(str.ljust, line, widths)) + " |" for line in lines]
    texts.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(texts)


def machine() -> list[str]:
    """Return what the numbers depend on, one fact a line."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9
    return [
        f"date: {datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        f"machine: {os.cpu_count()} x {_processor()}, {memory:.0f} GB",
        f"kernel: {platform.system()} {platform.release()}",
        f"python: {platform.python_version()}",
        f"load average before the first turn: {os.getloadavg()[0]:.2f}",
    ]


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def versions(contestant: Contestant) -> str:
    """Return a line with the contestant's versions."""
    return f"{contestant.name}: " + ", ".join(f"{k} {v}" for k, v in contestant.versions().items())


def document(facts: Sequence[str], plan: Plan, ours: Figures, theirs: Figures) -> str:
    """Return the results as a page."""
    failed = [name for name, figures in _named(ours, theirs) if figures.failure]
    failure = f"\nDid not cope with {plan.crowd} live apps: {' and '.join(failed)}.\n"
    return f"""# Results of the benchmark

Written by `python -m benchmarks`: {plan.rounds} rounds, in each a turn of both contestants, each
started anew as its users start it (`python server.py`: one web worker; this project with its private
broker and one supervisor). The load is one process beside them on the same machine, with the same code
for both; it takes its part of the CPU, and of each click's time. Absolute times drift with the machine;
the ratios are what counts.

{chr(10).join(f"- {fact}" for fact in facts)}

{table(plan, ours, theirs)}

Percentiles are over all rounds. Memory is private (USS); "whole stack" counts shared pages too (PSS),
of all processes. First open: a new user's GET until the whole page is there. Click: from sending the
message on the WebSocket to its answer.

## Memory with {plan.crowd} live apps

{memory_table(ours, theirs)}
{failure if failed else ""}"""
