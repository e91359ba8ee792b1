"""What is told about a run: its tables, on the terminal and as a page."""

from __future__ import annotations

import os
import platform
import subprocess
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import figures as names
from benchmarks import tables
from benchmarks.contestants import ROOT, Contestant
from benchmarks.devtools import find_chromium
from benchmarks.disturbance import BUSY, CALM, find_disturbance
from benchmarks.figures import Figures
from benchmarks.goals import Goal, Results, Value, goals
from benchmarks.plan import Growth, Plan, Turn
from benchmarks.tables import NONE, Row, latencies, markdown, shown

FRACTION = 0.1
"""A limit below this is told as ``1/25``, and so is what was reached: 0.04 says little to a reader."""
_COMMIT = ("git", "-C", str(ROOT), "describe", "--always", "--dirty", "--exclude=*")


@dataclass(frozen=True, slots=True)
class Report:
    """A run's results, and how they are shown."""

    plan: Plan
    contestants: Sequence[Contestant]
    results: Results
    load_before: float
    """The load average before the first turn."""

    @property
    def disturbance(self) -> str | None:
        """What says that something else used the machine; None when nothing does."""
        return find_disturbance(self.results, self.plan.widest.users, self.load_before)

    def text(self) -> str:
        """Return all tables with their titles, as Markdown."""
        turn = self.plan.widest
        columns = [(each.name, self.results.figures[each.key]) for each in self.contestants]
        parts = [
            ("Goals", self._goals(turn)),
            ("Measures", tables.measures(_rows(turn, self.plan.crowd), columns, "measure") + self._notes()),
            *(
                (f"CPU time per click, {_who(users)}", tables.cpu(users, columns))
                for users in (1, turn.users, turn.many, self.plan.crowd)
                if users
            ),
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
        ratio = _as_fraction(goal.ratio(self.results), goal) if against else ""
        other = self._whose(against, goal.unit) if against else ""
        return [goal.label, shown(ours.number, goal.unit), other, ratio, self._wanted(goal), verdict]

    def _wanted(self, goal: Goal) -> str:
        if goal.most is None:
            return f"≥ {goal.least:g}"
        return f"≤ {_as_fraction(goal.most, goal) if goal.against else shown(goal.most, goal.unit)}"

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
        all_grown = [figures for _, figures in columns]
        lines = [
            [row.label, *map(row.cell, all_grown), _ratio(row, all_grown)]
            for row in _grown_rows(growth, all_grown)
        ]
        head = ["measure", *(name for name, _ in columns), f"{columns[-1][0]} / fewest"]
        table = markdown(head, [line for line in lines if {*line[1:]} != {NONE}])
        weights = tables.memory(columns)
        return "\n\n".join([table, *(["\n".join(failures)] if failures else []), "Private memory:", weights])


def _rows(turn: Turn, crowd: int) -> list[Row]:
    rows = [
        Row("start-up until the first page", names.START_UP, "s"),
        *latencies("first open", names.FIRST_OPEN),
        *latencies("re-open", names.REOPEN),
        *_click_rows(1),
    ]
    for users in (turn.users, turn.many, *([crowd] if crowd else [])):
        rows += _click_rows(users)
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


def _click_rows(users: int) -> list[Row]:
    who = _who(users)
    return [
        Row(f"clicks/s, {who}", names.rate(users), "/s"),
        *latencies(f"click, {who}", names.click(users)),
    ]


def _who(users: int) -> str:
    return "one user" if users == 1 else f"{users} users"


def _grown_rows(growth: Growth, grown: Sequence[Figures]) -> list[Row]:
    rows = [
        Row("all live after", names.ALL_LIVE, "s"),
        *latencies("first open", names.FIRST_OPEN),
        *latencies("re-open", names.REOPEN),
        *_click_rows(1),
    ]
    for users in growth.clicking:
        rows += _click_rows(users)
    rows += [
        *latencies("update() to frame", names.UPDATE),
        Row(f"updates/s, {growth.update_users} apps", names.UPDATE_RATE, "/s"),
        *latencies("click to changed page in Chromium", names.BROWSER),
    ]
    for users in (1, *growth.clicking):
        rows += _cpu_rows(users, grown)
    return [
        *rows,
        Row("private memory per app", names.PRIVATE, "MB"),
        Row("whole stack per app", names.SHARE, "MB"),
    ]


def _cpu_rows(users: int, grown: Sequence[Figures]) -> list[Row]:
    parts = tables.busy(users, grown)
    return [Row(f"CPU per click, {_who(users)}: {role}", names.cpu(users, role), "µs") for role in parts]


def _ratio(row: Row, grown: Sequence[Figures]) -> str:
    """Return the figure with the most live apps, divided by that with the fewest that have one."""
    if row.measure == names.ALL_LIVE:
        return NONE  # more users take longer to come, whatever the stack
    measured = [row.number(figures) for figures in grown if figures.has(row.measure)]
    if len(measured) < 2 or not grown[-1].has(row.measure) or measured[0] == 0:
        return NONE
    return f"{measured[-1] / measured[0]:.2f}"


def _as_fraction(ratio: float, goal: Goal) -> str:
    is_fraction = goal.most is not None and goal.most < FRACTION and 0 < ratio < 1
    return f"1/{1 / ratio:.3g}" if is_fraction else f"{ratio:.3g}"


def _short(reason: str) -> str:
    """Return what fits into a list: of what the load and the server wrote the last line each."""
    load, _, server = reason.partition("\nThe server's last lines:\n")
    first, *more = load.strip().splitlines() or ["no reason"]
    return " … ".join([first, *more[-1:], *server.strip().splitlines()[-1:]])


def machine(load_before: float) -> list[str]:
    """Return what the numbers depend on, one fact a line."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9
    return [
        f"date: {datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        f"machine: {os.cpu_count()} x {_processor()}, {memory:.0f} GB",
        f"kernel: {platform.system()} {platform.release()}",
        f"python: {platform.python_version()}",
        f"browser: {_output(find_chromium() or '', '--version') or 'none'}",
        f"commit of this project: {_output(*_COMMIT) or 'unknown'}",
        f"load average before the first turn: {load_before:.2f}",
    ]


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _output(*command: str) -> str:
    """Return what a program says; nothing where it is not installed or refuses."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def versions(contestant: Contestant) -> str:
    """Return a line with the contestant's versions."""
    return f"{contestant.name}: " + ", ".join(f"{k} {v}" for k, v in contestant.versions().items())


def document(facts: Sequence[str], report: Report, took_s: float) -> str:
    """Return the results as a page."""
    turn = report.plan.widest
    return f"""# Results of the benchmark
{_warning(report.disturbance)}
Written by `python -m benchmarks` in {took_s / 60:.1f} min. A turn starts its contestant anew, as its users
start it; this project with two limits raised, for so many users of one address: 2000 apps, and any number
of new sessions.

{_explain_turns(report)}

{chr(10).join(f"- {fact}" for fact in facts)}

The load is one process beside the contestant on the same machine, the same code for all; it takes its
part of the cores, and of each click's time. Absolute times drift with the machine; the ratios are what
counts. Before each turn the memory that it may need is written to and given back: the host below a virtual
machine may take back what is free, and a page that it has to give again is dear.

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
- A p99 of few values is their slowest: {turn.opens} first opens in a turn, {turn.browser_clicks} clicks in
  Chromium, {report.plan.growth.browser_clicks} with many live apps.
- A dash: not measured, or there is no such thing. The user in Chromium has an app too.
{_explain_growth(report)}

{report.text()}
"""


def _warning(disturbance: str | None) -> str:
    if disturbance is None:
        return ""
    return (
        f"\n**Disturbed: {disturbance}. Up to {BUSY:g} of load, and {CALM:g} times between rounds, is "
        "usual. These numbers are a draft.**\n"
    )


def _explain_turns(report: Report) -> str:
    plan = report.plan
    counts = {each.name: len(plan.turns[each.key]) for each in report.contestants}
    told = [
        f"Rounds: {plan.rounds}; each takes its contestants one after the other. Turns of each: "
        f"{'; '.join(f'{name}: {count}' for name, count in counts.items())}."
    ]
    if len({*counts.values()}) > 1:
        told.append("A slow minute of the machine weighs more on those with fewer.")
    every = [turn for each in report.contestants for turn in plan.turns[each.key]]
    bursts, crowds = sum(turn.burst > 0 for turn in every), sum(turn.crowd > 0 for turn in every)
    for what, count in (("a burst", bursts), (f"{plan.crowd} users", crowds)):
        if count:
            told.append(f"Planned with {what}: {count} of the {len(every)} turns.")
    return _wrapped(" ".join(told))


def _explain_growth(report: Report) -> str:
    growth = report.plan.growth
    if not report.results.grown:
        return ""
    stacks = [
        f"one with {', then '.join(map(str, step))} live apps"
        + (" again" if step in growth.steps[:number] else "")
        for number, step in enumerate(growth.steps)
    ]
    return _wrapped(
        f"- Growth: {len(stacks)} stacks, one after the other: {'; '.join(stacks)}. With fewer than "
        f"{growth.users} live apps nobody opens, as that would be one number, and only one clicks; the "
        f"other figures begin with {growth.fewest_clicked}. The last column divides by the first figure of "
        f"its row. The last {growth.users - 1} of the live ones come one after the other, and their first "
        f"opens count; the others come {growth.at_once} at a time. The user in Chromium comes when all else "
        "is measured, on top of the live ones."
    )


def _wrapped(text: str) -> str:
    indent = "  " if text.startswith("- ") else ""
    return textwrap.fill(text, 105, subsequent_indent=indent, break_on_hyphens=False)
