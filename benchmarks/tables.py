"""Tables in Markdown: what a figure looks like, rows of one measure, columns of even width."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks import figures as names
from benchmarks.figures import Figures, Measure

_UNITS = {"s": (1.0, 2), "ms": (1e3, 2), "µs": (1e6, 0), "MB": (1e-6, 2), "/s": (1.0, 0)}
"""By unit: what a figure is multiplied by, and its digits."""
LEAST_CPU_S = 0.5e-6
"""What is shown as nothing."""
NONE = "-"
FAILED = "failed"


def shown(number: float, unit: str) -> str:
    """Return a figure with its unit."""
    scale, digits = _UNITS[unit]
    return f"{number * scale:.{digits}f} {unit}"


@dataclass(frozen=True, slots=True)
class Row:
    """One measure; ``percent`` 100 is the worst of all rounds."""

    label: str
    measure: Measure
    unit: str
    percent: float = 50

    def number(self, figures: Figures) -> float:
        """Return the figure; LookupError when there is none."""
        if self.percent == 100:
            return figures.worst(self.measure)
        return figures.at(self.measure, self.percent)

    def cell(self, figures: Figures) -> str:
        """Return the figure as text; where there is none a dash, or ``failed`` when that is why."""
        if figures.has(self.measure):
            return shown(self.number(figures), self.unit)
        return FAILED if figures.failures and self.measure not in figures.left_out else NONE


def latencies(label: str, measure: Measure) -> list[Row]:
    """Return the rows of p50, p95 and p99."""
    return [Row(f"{label}, p{percent}", measure, "ms", percent) for percent in (50, 95, 99)]


def markdown(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Return a table."""
    table = [list(head), *map(list, lines)]
    widths = [max(len(line[column]) for line in table) for column in range(len(head))]
    texts = ["| " + " | ".join(map(str.ljust, line, widths)) + " |" for line in table]
    texts.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(texts)


def measures(rows: Iterable[Row], columns: Sequence[tuple[str, Figures]], first: str) -> str:
    """Return a row for each measure that somebody has, or failed at."""
    lines = [[row.label, *(row.cell(figures) for _, figures in columns)] for row in rows]
    return markdown(
        [first, *(name for name, _ in columns)], [line for line in lines if {*line[1:]} != {NONE}]
    )


def cpu(users: int, columns: Sequence[tuple[str, Figures]]) -> str:
    """Return the CPU time per click of each part, their sum, and the load's own."""
    roles = busy(users, [figures for _, figures in columns])
    lines = [[role, *(_cpu(figures, users, [role]) for _, figures in columns)] for role in roles]
    lines.append(["**all parts**", *(_cpu(figures, users, roles) for _, figures in columns)])
    lines.append(["(the load itself)", *(_cpu(figures, users, [names.LOAD]) for _, figures in columns)])
    return markdown(["part", *(name for name, _ in columns)], lines)


def busy(users: int, group: Sequence[Figures]) -> list[str]:
    """Return the parts that somebody's clicks cost any CPU."""
    return [
        role
        for role in _union(figures.roles for figures in group)
        for measure in [names.cpu(users, role)]
        if any(figures.has(measure) and figures.at(measure) >= LEAST_CPU_S for figures in group)
    ]


def _cpu(figures: Figures, users: int, roles: Iterable[str]) -> str:
    wanted = [names.cpu(users, role) for role in roles]
    used = [figures.at(measure) for measure in wanted if figures.has(measure)]
    return shown(sum(used), "µs") if used else NONE


def memory(columns: Sequence[tuple[str, Figures]]) -> str:
    """Return the private memory of each part: how many processes, and the median of one."""
    roles = _union(figures.memory for _, figures in columns)
    lines = [[role, *(_private(figures, role) for _, figures in columns)] for role in roles]
    lines.append(["**all parts**", *(_all_private(figures) for _, figures in columns)])
    return markdown(["part", *(name for name, _ in columns)], lines)


def _private(figures: Figures, role: str) -> str:
    processes = [process.private for process in figures.memory.get(role, [])]
    if not processes:
        return NONE
    count = f"{len(processes)} x " if len(processes) > 1 else ""
    return count + shown(median(processes), "MB")


def _all_private(figures: Figures) -> str:
    if not figures.memory:
        return NONE
    return shown(sum(process.private for group in figures.memory.values() for process in group), "MB")


def _union(groups: Iterable[Iterable[str]]) -> list[str]:
    return list(dict.fromkeys(role for group in groups for role in group))
