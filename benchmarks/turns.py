"""A turn: everything that is measured of one contestant between its start and its end; and growth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic
from typing import Any

from benchmarks import figures as names
from benchmarks.browser import measure as measure_in_browser
from benchmarks.contestants import Contestant
from benchmarks.errors import BenchmarkError
from benchmarks.figures import Figures
from benchmarks.plan import Growth, Plan, Turn
from benchmarks.stack import APP, ROLES, Memory, Stack


@dataclass(frozen=True, slots=True)
class Visitors:
    """The users in Chromium, whose apps stay: where Chromium failed, its user may have come all the same."""

    fewest: int
    most: int

    def and_also(self, other: Visitors) -> Visitors:
        """Return all of both."""
        return Visitors(self.fewest + other.fewest, self.most + other.most)

    def beside(self, users: int) -> range:
        """Return how many apps may live with those of so many users, the fewest first."""
        return range(users + self.fewest, users + self.most + 1)


NOBODY, ONE, UNKNOWN = Visitors(0, 0), Visitors(1, 1), Visitors(0, 1)


def take_turn(stack: Stack, turn: Turn, figures: Figures) -> None:
    """Measure a stack that was just started; BenchmarkError ends it, what was measured before stays.

    An update is measured next to the click that it is compared with.
    """
    figures.begin_round()
    figures.add(names.START_UP, stack.ask("first_page") - stack.started)
    _click(stack, turn.clicks, figures)
    if stack.contestant.updates:
        _update(stack, turn, figures)
    alone = _private(stack.memory())
    visitors = _use_browser(stack, turn.browser_clicks, figures)
    figures.add(names.FIRST_OPEN, *stack.ask("open", count=turn.opens))
    _rate(stack, turn.users, turn.rate_s, figures)
    live = visitors.beside(turn.users)
    _weigh(stack, live, figures)
    if not stack.contestant.app_processes:
        figures.add(names.PRIVATE, (_private(figures.memory) - alone) / (live[0] - 1))
    if stack.contestant.updates:
        _rate_updates(stack, turn, figures)
    figures.add(names.REOPEN, *stack.ask("reopen", count=turn.users))
    if turn.many:
        stack.ask("gather", count=turn.many, at_once=turn.at_once)
        _rate(stack, turn.many, turn.rate_s, figures)
    if turn.crowd and _crowd_fits(turn, figures):
        crowd = stack.ask("gather", count=turn.crowd, at_once=turn.at_once)
        figures.add(names.ALL_LIVE, crowd["seconds"])
        _rate(stack, turn.crowd, turn.rate_s, figures)
        figures.add(names.WHOLE, _whole(stack.memory()))
    if turn.burst:
        burst = stack.ask("burst", count=turn.burst)
        figures.add(names.BURST_CLICK, *burst["clicks"])
        figures.add(names.BURST, burst["seconds"])


def take_growth(
    stack: Stack, sizes: tuple[int, ...], growth: Growth, grown: Mapping[int, Figures]
) -> Iterator[int]:
    """Measure a stack that was just started with so many live apps, the fewest first; tell each when done.

    The user in Chromium comes last, on top of the others, and the app stays.
    """
    stack.ask("first_page")
    opening_s, visitors = 0.0, NOBODY
    for size in sizes:
        figures = grown[size]
        figures.begin_round()
        if size >= growth.users:
            opening_s += _grow(stack, size, growth, figures)
            figures.add(names.ALL_LIVE, opening_s)
        _click(stack, growth.clicks, figures)
        _update(stack, growth, figures)
        for users in growth.clicking:
            if users <= size:
                _rate(stack, users, growth.rate_s, figures)
        if size >= growth.users:
            _rate_updates(stack, growth, figures)
            figures.add(names.REOPEN, *stack.ask("reopen", count=growth.users))
        _weigh(stack, visitors.beside(size), figures)
        visitors = visitors.and_also(_use_browser(stack, growth.browser_clicks, figures))
        yield size


def _grow(stack: Stack, size: int, growth: Growth, figures: Figures) -> float:
    """Bring users until so many are there, the last of them one after the other; return the seconds."""
    began = monotonic()
    newcomers = growth.users - 1
    stack.ask("gather", count=size - newcomers, at_once=growth.at_once)
    figures.add(names.FIRST_OPEN, *stack.ask("open", count=newcomers))
    return monotonic() - began


def _click(stack: Stack, count: int, figures: Figures) -> None:
    with _charged(stack, 1, figures) as clicks:
        answer = stack.ask("click", count=count)
        clicks.append(answer["clicks"])
    _note_clicks(answer, 1, figures)


def _rate(stack: Stack, users: int, seconds: float, figures: Figures) -> None:
    with _charged(stack, users, figures) as clicks:
        answer = stack.ask("rate", users=users, seconds=seconds)
        clicks.append(answer["clicks"])
    _note_clicks(answer, users, figures)


def _note_clicks(answer: Mapping[str, Any], users: int, figures: Figures) -> None:
    figures.add(names.rate(users), answer["rate"])
    figures.add(names.click(users), *answer["waits"])
    figures.add(names.cpu(users, names.LOAD), answer["own"])


def _update(stack: Stack, extent: Turn | Growth, figures: Figures) -> None:
    updates = stack.ask("updates", count=extent.updates, pause_s=extent.update_pause_s)
    figures.add(names.UPDATE, *updates["waits"])


def _rate_updates(stack: Stack, extent: Turn | Growth, figures: Figures) -> None:
    updates = stack.ask("update_rate", users=extent.update_users, seconds=extent.update_rate_s)
    figures.add(names.UPDATE_RATE, updates["rate"])


@contextmanager
def _charged(stack: Stack, users: int, figures: Figures) -> Iterator[list[int]]:
    """Note what CPU each part used for the clicks, whose number the block appends.

    A process that ends meanwhile takes along what it used before; less than nothing counts as nothing.
    """
    clicks: list[int] = []
    before = stack.cpu()
    yield clicks
    for role, used_s in stack.cpu().items():
        figures.roles.setdefault(role)
        figures.add(names.cpu(users, role), max(0.0, used_s - before.get(role, 0.0)) / sum(clicks))


def _use_browser(stack: Stack, clicks: int, figures: Figures) -> Visitors:
    """Return who came. A failure is noted: the load has nothing to do with it."""
    if not clicks:
        return NOBODY
    try:
        figures.add(names.BROWSER, *measure_in_browser(stack.port, clicks))
    except BenchmarkError as exc:
        figures.failures.append(str(exc))
        return UNKNOWN
    return ONE


def _weigh(stack: Stack, live: range, figures: Figures) -> None:
    figures.memory = memory = stack.memory()
    count = live[0]
    if stack.contestant.app_processes:
        apps = memory.get(APP, [])
        count = len(apps)
        if count not in live:
            expected = " or ".join(map(str, live))
            raise BenchmarkError(f"expected {expected} app processes, there are {count}")
        figures.add(names.PRIVATE, *(app.private for app in apps))
    figures.add(names.SHARE, _whole(memory) / count)


def _whole(memory: Mapping[str, Sequence[Memory]]) -> float:
    return sum(process.share for group in memory.values() for process in group)


def _private(memory: Mapping[str, Sequence[Memory]]) -> float:
    return sum(process.private for group in memory.values() for process in group)


def _crowd_fits(turn: Turn, figures: Figures) -> bool:
    """Return whether a crowd can come and click in time; says why it was left out otherwise."""
    coming_s = (turn.crowd - turn.many) * figures.at(names.FIRST_OPEN)
    # Everybody clicks at least once to warm up, and once for the measure.
    clicking_s = 2 * turn.crowd / figures.at(names.rate(turn.many))
    if coming_s + clicking_s <= turn.crowd_limit_s:
        return True
    reason = (
        f"{turn.crowd} users: {turn.crowd - turn.many} more would need about {coming_s:.1f} s to come and "
        f"{clicking_s:.1f} s to click twice; left out from {turn.crowd_limit_s:.0f} s on"
    )
    figures.left_out |= dict.fromkeys(_of_crowd(turn.crowd), reason)
    return False


def _of_crowd(users: int) -> list[names.Measure]:
    return [names.ALL_LIVE, names.WHOLE, names.click(users), names.rate(users)]


def begin(plan: Plan, contestant: Contestant) -> Figures:
    """Return figures for all turns of a contestant, without those that none of them measures."""
    figures = Figures()
    mine = plan.turns[contestant.key]
    if not any(turn.browser_clicks for turn in mine):
        figures.left_out[names.BROWSER] = ""
    if not any(turn.burst for turn in mine):
        figures.left_out |= dict.fromkeys((names.BURST, names.BURST_CLICK), "")
    if not any(turn.many for turn in mine):
        many = plan.widest.many
        reason = f"{many} users and more: left out, as they would take too long"
        figures.left_out |= dict.fromkeys((names.rate(many), names.click(many)), reason)
    if not any(turn.crowd for turn in mine):
        figures.left_out |= dict.fromkeys(_of_crowd(plan.crowd), "")
    if not contestant.updates:
        figures.left_out |= dict.fromkeys((names.UPDATE, names.UPDATE_RATE), "no updates by itself")
    return figures


def begin_growth(growth: Growth) -> dict[int, Figures]:
    """Return figures for each size, without those that so few users cannot have."""
    grown = {size: Figures() for size in growth.sizes}
    for size, figures in grown.items():
        if size < growth.users:
            few = (names.FIRST_OPEN, names.ALL_LIVE, names.REOPEN, names.UPDATE_RATE)
            figures.left_out |= dict.fromkeys(few, "")
        for users in growth.clicking:
            if users > size:
                cpu = (names.cpu(users, role) for role in (*ROLES, names.LOAD))
                figures.left_out |= dict.fromkeys((names.rate(users), names.click(users), *cpu), "")
    return grown


def summary(figures: Figures, turn: Turn) -> str:
    """Return what the last turn measured in one line."""
    return _told(
        figures,
        (names.START_UP, "started in {:.2f} s", 1),
        (names.FIRST_OPEN, "first open {:.2f} ms", 1e3),
        (names.click(1), "click {:.2f} ms", 1e3),
        (names.BROWSER, "in Chromium {:.2f} ms", 1e3),
        (names.rate(turn.users), f"{turn.users} users {{:.0f}}/s", 1),
        (names.rate(turn.many), f"{turn.many} users {{:.0f}}/s", 1),
        (names.PRIVATE, "{:.1f} MB per app", 1e-6),
        (names.UPDATE, "update {:.2f} ms", 1e3),
    )


def grown_summary(figures: Figures, growth: Growth) -> str:
    """Return the same of a row of the growth table."""
    return _told(
        figures,
        (names.ALL_LIVE, "all live after {:.1f} s", 1),
        (names.FIRST_OPEN, "first open {:.2f} ms", 1e3),
        (names.click(1), "click {:.2f} ms", 1e3),
        *((names.rate(users), f"{users} users {{:.0f}}/s", 1) for users in growth.clicking),
        (names.BROWSER, "in Chromium {:.2f} ms", 1e3),
    )


def _told(figures: Figures, *facts: tuple[names.Measure, str, float]) -> str:
    told = [
        text.format(names.percentile(figures.last_round[measure], 50) * scale)
        for measure, text, scale in facts
        if measure in figures.last_round
    ]
    return ", ".join(told) or "nothing was measured"
