"""What is told about a run: its tables, on the terminal and as a page."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import figures as names
from benchmarks import tables
from benchmarks.contestants import Contestant
from benchmarks.figures import Figures
from benchmarks.goals import Goal, Results, Value, goals
from benchmarks.plan import Growth, Plan, Turn
from benchmarks.tables import NONE, Row, latencies, markdown, shown


@dataclass(frozen=True, slots=True)
class Report:
    """A run's results, and how they are shown."""

    plan: Plan
    contestants: Sequence[Contestant]
    results: Results

    def text(self) -> str:
        """Return all tables with their titles, as Markdown."""
        turn = self.plan.turns[self.contestants[0].key][0]
        columns = [(each.name, self.results.figures[each.key]) for each in self.contestants]
        parts = [
            ("Goals", self._goals(turn)),
            ("Measures", tables.measures(_rows(turn, self.plan.crowd), columns, "measure") + self._notes()),
            ("CPU time per click, one user clicks", tables.cpu(1, columns)),
            (f"CPU time per click, {turn.users} users click", tables.cpu(turn.users, columns)),
            (f"Private memory with {turn.users} users", tables.memory(columns)),
        ]
        if self.results.grown:
            parts.append(("Growth of this project", self._growth()))
        return "\n\n".join(f"## {title}\n\n{text}" for title, text in parts)

    def _goals(self, turn: Turn) -> str:
        lines = [self._goal(goal) for goal in goals(turn, self.plan.growth)]
        return markdown(["measure", "this project", "against", "ratio", "wanted", "met"], lines)

    def _goal(self, goal: Goal) -> list[str]:
        try:
            ours = goal.ours(self.results)
            against = goal.against(self.results) if goal.against else None
            verdict = "yes" if goal.is_met(self.results) else "**NO**"
        except LookupError:
            return [goal.label, NONE, NONE, NONE, self._wanted(goal), "not measured"]
        ratio = f"{goal.ratio(self.results):.3g}" if against else ""
        other = self._whose(against, goal.unit) if against else ""
        return [goal.label, shown(ours.number, goal.unit), other, ratio, self._wanted(goal), verdict]

    def _wanted(self, goal: Goal) -> str:
        if goal.most is None:
            return f"≥ {goal.least:g}"
        return f"≤ {goal.most:g}" if goal.against else f"≤ {shown(goal.most, goal.unit)}"

    def _whose(self, value: Value, unit: str) -> str:
        named = {each.key: each.name for each in self.contestants}
        return f"{named.get(value.whose, value.whose)}: {shown(value.number, unit)}"

    def _notes(self) -> str:
        notes = [
            f"- {each.name}: {reason}"
            for each in self.contestants
            for figures in [self.results.figures[each.key]]
            for reason in dict.fromkeys([*figures.left_out.values(), *map(_short, figures.failures)])
            if reason
        ]
        return "\n\n" + "\n".join(notes) if notes else ""

    def _growth(self) -> str:
        growth, grown = self.plan.growth, self.results.grown
        columns = [(f"{size} live", grown[size]) for size in growth.sizes]
        failures = [f"- {name}: {_short(reason)}" for name, figures in columns for reason in figures.failures]
        few, many = columns[0], columns[-1]
        rows = _grown_rows(growth, [figures for _, figures in columns])
        lines = [
            [row.label, *(row.cell(figures) for _, figures in columns), _ratio(row, many[1], few[1])]
            for row in rows
        ]
        head = ["measure", *(name for name, _ in columns), f"{many[0]} / {few[0]}"]
        table = markdown(head, lines)
        weights = tables.memory(columns)
        return "\n\n".join([table, *(["\n".join(failures)] if failures else []), "Private memory:", weights])


def _rows(turn: Turn, crowd: int) -> list[Row]:
    rows = [
        Row("start-up until the first page", names.START_UP, "s"),
        *latencies("first open", names.FIRST_OPEN),
        *latencies("re-open", names.REOPEN),
        *latencies("click, one user", names.click(1)),
    ]
    for users in (turn.users, turn.many, *([crowd] if crowd else [])):
        rows.append(Row(f"clicks/s, {users} users", names.rate(users), "/s"))
        rows += latencies(f"click, {users} users", names.click(users))
    return [
        *rows,
        *latencies("update() to frame", names.UPDATE),
        Row(f"updates/s, {turn.update_users} apps", names.UPDATE_RATE, "/s"),
        *latencies("click to changed page in Chromium", names.BROWSER),
        Row(f"private memory per app, {turn.users} users", names.PRIVATE, "MB"),
        Row(f"whole stack per app, {turn.users} users", names.SHARE, "MB"),
        Row("one clicks while others open at once: its slowest click", names.BURST_CLICK, "ms", 100),
        Row("one clicks while others open at once: all open after", names.BURST, "s"),
        Row(f"{crowd} users: all there after", names.ALL_LIVE, "s"),
        Row(f"{crowd} users: whole stack", names.WHOLE, "MB"),
    ]


def _grown_rows(growth: Growth, grown: Sequence[Figures]) -> list[Row]:
    users = growth.users
    return [
        Row("all live after", names.ALL_LIVE, "s"),
        *latencies("first open", names.FIRST_OPEN),
        *latencies("click, one user", names.click(1)),
        Row(f"clicks/s, {users} users", names.rate(users), "/s"),
        *latencies(f"click, {users} users", names.click(users)),
        *latencies("update() to frame", names.UPDATE),
        *_cpu_rows("one user", 1, grown),
        *_cpu_rows(f"{users} users", users, grown),
        Row("private memory per app", names.PRIVATE, "MB"),
        Row("whole stack per app", names.SHARE, "MB"),
    ]


def _cpu_rows(label: str, users: int, grown: Sequence[Figures]) -> list[Row]:
    parts = tables.busy(users, grown)
    return [Row(f"CPU per click, {label}: {role}", names.cpu(users, role), "µs") for role in parts]


def _ratio(row: Row, many: Figures, few: Figures) -> str:
    try:
        return f"{row.number(many) / row.number(few):.2f}"
    except (LookupError, ZeroDivisionError):
        return NONE


def _short(reason: str) -> str:
    """Return what fits into a list: of what the load and the server wrote the last line each."""
    load, _, server = reason.partition("\nThe server's last lines:\n")
    first, *more = load.strip().splitlines() or ["no reason"]
    return " … ".join([first, *more[-1:], *server.strip().splitlines()[-1:]])


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


def document(facts: Sequence[str], report: Report, took_s: float) -> str:
    """Return the results as a page."""
    plan = report.plan
    steps = ", ".join(" and then ".join(map(str, step)) for step in plan.growth.steps)
    return f"""# Results of the benchmark

Written by `python -m benchmarks` in {took_s / 60:.1f} min. There are {plan.rounds} rounds, each takes its
contestants one after the other. This project, the two releases of htagweb and the floor have a turn in
each; the others have fewer (TCP, 4 workers, NiceGUI and Streamlit: one), so that a slow minute of the
machine weighs more on them. Bursts are measured in round 1, 300 users in one round. A turn starts its
contestant anew, as its users start it; this project with two limits raised, for so many users of one
address: 2000 apps, and any number of new sessions.

{chr(10).join(f"- {fact}" for fact in facts)}

The load is one process beside the contestant on the same machine, the same code for all; it takes its
part of the cores, and of each click's time. Absolute times drift with the machine; the ratios are what
counts.

- **A percentile is the median over the rounds of each round's percentile**, not that of all values in
  one heap, where one disturbed round would decide the p99. Ratios compare these medians.
- First open: a new user's GET until the whole page is there. Re-open: the same by somebody whose app lives.
- Click: from sending the message on the WebSocket to the frame with the next number. "N users": each
  clicks again as soon as its answer is there.
- Update: from the app's clock just before `update()` to the frame's arrival. Some coalesce: what they
  send in one frame counts once.
- Streamlit's page is there when its first run over the WebSocket has ended, and its user clicks again
  when the run has; the click is measured until the number. A re-open of NiceGUI and Streamlit is a new page.
- In Chromium: from `click()` in the page to the change of the page, by the page's clock. The others
  compress as their defaults have it; the load offers no compression.
- Private memory is USS. "Whole stack" is PSS, shared pages too, of all processes. Where users have no
  process of their own, an app's private memory is what the server grew by, divided by the users who came.
- CPU is user and system time of all processes of a part, between two readings, divided by the clicks.
- A dash: not measured, or there is no such thing. The user in Chromium has an app too.
- Growth: one stack after the other, with {steps} live apps, of which {plan.growth.users} are clicked.
  In the column "1 live" only the click of one user and the memory are measured with one app; the rest with
  {plan.growth.users}, and the first opens while those come. The last {plan.growth.users - 1} of the live
  ones come one after the other, the others {plan.growth.at_once} at a time. Left out: 100 and 300 users,
  re-open, Chromium.

{report.text()}
"""
