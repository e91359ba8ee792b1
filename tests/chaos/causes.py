"""Which fault explains an end: of an app that its page was told of, and of a program."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from htagweb.supervisor.exit_codes import ExitCode
from tests.chaos.ledger import Broken, End, FaultTimes, Leads, Ledger
from tests.chaos.programs import Ending

ANOTHER_CHECK = frozenset({"crashed", "never_connected"})
"""Ends that other checks look at: who was killed; what a page that never connected is told, harms nobody."""
NEWS_S = 20.0
"""So long after a fault a page may be told of an end by it, not counting times when other faults are on: a
drain takes 10 s, a heartbeat lives 4 s, and is missed twice."""
NO_BROKER, STOPPED_NOW = (str(code.value) for code in (ExitCode.NO_BROKER, ExitCode.STOPPED_NOW))
YOUNG_S = 5.0
"""A program that is younger may not handle its signals yet."""
START_S = 30.0
"""So long a program that starts may wait for the broker."""


def check_ends(ledger: Ledger) -> None:
    """Accuse every end that no fault at the app's supervisor explains; after ``check_endings``."""
    faults = [*ledger.faults, *ledger.without_broker]
    for end in ledger.ends:
        if end.reason in ANOTHER_CHECK or any(explains(fault, end, ledger.faults) for fault in faults):
            continue
        where = end.home or "a supervisor"
        text = f"{end.tab} was told {end.reason!r} of its app at {where}, and no fault led to that"
        ledger.accuse(Broken.DIED, text)


def explains(fault: FaultTimes, end: End, faults: Iterable[FaultTimes]) -> bool:
    """Return whether a fault may have led to an end of which a page heard."""
    if end.reason not in fault.leads.ends or fault.began_at > end.at:
        return False
    hits = fault.hits(end.home) if end.home else fault.what.startswith(("supervisor", "broker"))
    return hits and (not fault.healed_at or _quiet_s(fault.healed_at, end.at, faults) <= NEWS_S)


def _quiet_s(since: float, until: float, faults: Iterable[FaultTimes]) -> float:
    """Return how long of a time no fault was on: meanwhile news may wait, in a frozen web worker say."""
    quiet_s, at = 0.0, since
    for fault in sorted(faults, key=lambda each: each.began_at):
        if at < until:
            quiet_s += max(0.0, min(fault.began_at, until) - at)
            at = max(at, fault.healed_at or until)
    return quiet_s + max(0.0, until - at)


def check_endings(ledger: Ledger, program: str, endings: Sequence[Ending]) -> None:
    """Accuse every end of a program that no fault since its last one had ordered."""
    since = 0.0
    for ending in endings:
        ledger.note(f"{program} ended with {ending.code}")
        if not _is_ordered(ledger.faults, program, ending, since):
            text = f"{program} ended with {ending.code} at {ending.at:.1f}, and no fault had ordered that"
            ledger.accuse(Broken.DIED, text)
        elif ending.code == NO_BROKER:
            led = Leads(frozenset({"lost"}))
            ledger.without_broker.append(
                FaultTimes("no broker", program, ending.at - START_S, led, ending.at, ending.at)
            )
        since = ending.at


def _is_ordered(faults: Sequence[FaultTimes], program: str, ending: Ending, since: float) -> bool:
    orders = [fault for fault in faults if fault.what == program and since < fault.hit_at <= ending.at]
    match ending.code:
        case "-1":
            # It restarts in place, once it handles the signal: before, that is its end.
            orders = [fault for fault in orders if fault.hit_at - ending.started_at < YOUNG_S]
        case code if code == NO_BROKER:
            return any(
                fault.leads.takes_broker
                and fault.hits(program)
                and fault.began_at < ending.at
                and (not fault.healed_at or fault.healed_at > ending.at - START_S)
                for fault in faults
            )
        case code if code == STOPPED_NOW:
            return sum("0" in fault.leads.codes for fault in orders) > 1
    return any(ending.code in fault.leads.codes for fault in orders)
