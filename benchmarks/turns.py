"""A turn: everything that is measured of one contestant between its start and its end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import monotonic

from benchmarks import figures as names
from benchmarks.browser import measure as measure_in_browser
from benchmarks.contestants import Contestant
from benchmarks.figures import Figures
from benchmarks.plan import Growth, Plan, Turn
from benchmarks.stack import APP, BenchmarkError, Memory, Stack


def take_turn(stack: Stack, turn: Turn, figures: Figures) -> None:
    """Measure a stack that was just started; BenchmarkError ends it, what was measured before stays.

    An update is measured next to the click that it is compared with.
    """
    figures.add(names.START_UP, stack.ask("first_page") - stack.started)
    _click(stack, turn.clicks, figures)
    if stack.contestant.updates:
        updates = stack.ask("updates", count=turn.updates, pause_s=turn.update_pause_s)
        figures.add(names.UPDATE, *updates["waits"])
    alone = _private(stack.memory())
    if turn.browser_clicks:
        _use_browser(stack, turn.browser_clicks, figures)
    figures.add(names.FIRST_OPEN, *stack.ask("open", count=turn.opens))
    _rate(stack, turn.users, turn.rate_s, figures)
    live = turn.users + bool(turn.browser_clicks)
    _weigh(stack, live, figures)
    if not stack.contestant.app_processes:
        figures.add(names.PRIVATE, (_private(figures.memory) - alone) / (live - 1))
    if stack.contestant.updates:
        updates = stack.ask("update_rate", users=turn.update_users, seconds=turn.update_rate_s)
        figures.add(names.UPDATE_RATE, updates["rate"])
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
    """Measure a stack that was just started with so many live apps, the fewest first; tell each when done."""
    stack.ask("first_page")
    opening_s = 0.0
    for size in sizes:
        figures = grown[size]
        newcomers = growth.users - 1
        if size == 1:  # measured before anybody else is there
            _click(stack, growth.clicks, figures)
            _weigh(stack, size, figures)
        else:
            began = monotonic()
            stack.ask("gather", count=size - newcomers, at_once=growth.at_once)
            opening_s += monotonic() - began
        began = monotonic()
        figures.add(names.FIRST_OPEN, *stack.ask("open", count=newcomers))
        opening_s += monotonic() - began
        if size > 1:
            figures.add(names.ALL_LIVE, opening_s)
            _click(stack, growth.clicks, figures)
        _rate(stack, growth.users, growth.rate_s, figures)
        updates = stack.ask("updates", count=growth.updates, pause_s=growth.update_pause_s)
        figures.add(names.UPDATE, *updates["waits"])
        if size > 1:
            _weigh(stack, size, figures)
        yield size


def _click(stack: Stack, count: int, figures: Figures) -> None:
    with _charged(stack, 1, figures) as clicks:
        answer = stack.ask("click", count=count)
        clicks.append(answer["clicks"])
    figures.add(names.click(1), *answer["waits"])
    figures.add(names.cpu(1, names.LOAD), answer["own"])


def _rate(stack: Stack, users: int, seconds: float, figures: Figures) -> None:
    with _charged(stack, users, figures) as clicks:
        answer = stack.ask("rate", users=users, seconds=seconds)
        clicks.append(answer["clicks"])
    figures.add(names.rate(users), answer["rate"])
    figures.add(names.click(users), *answer["waits"])
    figures.add(names.cpu(users, names.LOAD), answer["own"])


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


def _use_browser(stack: Stack, clicks: int, figures: Figures) -> None:
    """Note a failure and go on: the load has nothing to do with it."""
    try:
        figures.add(names.BROWSER, *measure_in_browser(stack.port, clicks))
    except BenchmarkError as exc:
        figures.failures.append(str(exc))


def _weigh(stack: Stack, live: int, figures: Figures) -> None:
    figures.memory = memory = stack.memory()
    if stack.contestant.app_processes:
        apps = memory.get(APP, [])
        if len(apps) != live:
            raise BenchmarkError(f"expected {live} app processes, there are {len(apps)}")
        figures.add(names.PRIVATE, *(app.private for app in apps))
    figures.add(names.SHARE, _whole(memory) / live)


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
        f"{turn.crowd} users: {turn.crowd - turn.many} more would need about {coming_s:.0f} s to come and "
        f"{clicking_s:.0f} s to click twice; left out from {turn.crowd_limit_s:.0f} s on"
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
    if not any(turn.crowd for turn in mine):
        figures.left_out |= dict.fromkeys(_of_crowd(plan.crowd), "")
    if not contestant.updates:
        figures.left_out |= dict.fromkeys((names.UPDATE, names.UPDATE_RATE), "no updates by itself")
    return figures


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
        (names.rate(growth.users), f"{growth.users} users {{:.0f}}/s", 1),
    )


def _told(figures: Figures, *facts: tuple[names.Measure, str, float]) -> str:
    told = [
        text.format(names.percentile(figures.rounds[measure][-1], 50) * scale)
        for measure, text, scale in facts
        if figures.has(measure)
    ]
    return ", ".join(told) or "nothing was measured"
