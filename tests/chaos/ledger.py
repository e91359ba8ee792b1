"""The account of a run: what pages asked, what they were told, and every promise that was broken."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, TextIO

from htagweb_broker.clock import SystemClock


class Broken(Enum):
    """What must never be; the words are the rows of the table."""

    TWICE = "interactions run twice"
    LOST = "interactions lost without the page being told"
    ORDER = "actions or interactions out of order, repeated or with a gap"
    OWNERS = "instances with two committing owners"
    SESSION = "session writes lost after their answer"
    DIED = "apps or programs that died, and nobody had killed them"
    PERSON = "pages that needed a person to reload"
    STUCK = "pages without an answer long after the fault was over"
    LEFT = "orphan processes, sockets, keys without a TTL"


class Outcome(Enum):
    """What became of an interaction, as its page knows it."""

    WAITING = "waiting"
    ANSWERED = "answered"
    REFUSED = "refused, and told"
    TOLD_END = "told that it may not have been carried out"
    TOLD_STALE = "told so after the page loaded itself anew"


@dataclass
class Click:
    """One interaction."""

    label: str
    user: str
    tab: str
    generation: str
    asked_at: float
    outcome: Outcome = Outcome.WAITING
    settled_at: float = 0.0
    life: str = ""


@dataclass(frozen=True, slots=True)
class Leads:
    """What a fault may lead to at the program that it hits; anything else that happens there is accused."""

    ends: frozenset[str] = frozenset()
    """The ends that the pages of a supervisor's apps may be told of."""
    codes: frozenset[str] = frozenset()
    """How the program may end."""
    takes_broker: bool = False
    """Whether a program that starts may find no broker; all programs, if it hits the broker."""


@dataclass
class FaultTimes:
    """One fault that happened."""

    kind: str
    what: str
    began_at: float
    leads: Leads = Leads()
    hit_at: float = 0.0
    """When it was on."""
    healed_at: float = 0.0
    answered_after_s: dict[str, float] = field(default_factory=dict)
    """For each tab: from the fault's beginning to the first answer to a click that was made after it."""

    def hits(self, program: str) -> bool:
        """Return whether it touches a program: all of them, where it is the broker's."""
        return self.what == program or self.what.startswith("broker")


@dataclass(frozen=True, slots=True)
class End:
    """An end that a page was told of."""

    tab: str
    home: str
    """The supervisor that ran its app; "" where that is not known."""
    reason: str
    at: float


class Ledger:
    """Written by pages and faults; read by the checks."""

    def __init__(self, log: Path) -> None:
        self.clock = SystemClock()
        self.clicks: dict[str, Click] = {}
        self.faults: list[FaultTimes] = []
        self.without_broker: list[FaultTimes] = []
        """Programs that ended because there was no broker when they started: that ends their apps."""
        self.broken: dict[Broken, list[str]] = {kind: [] for kind in Broken}
        self.notes: Counter[str] = Counter()
        self.lives: dict[tuple[str, str], set[str]] = {}
        """The app processes that answered, by user and generation."""
        self.killed: set[int] = set()
        """The app processes that a fault killed."""
        self.crashed: set[str] = set()
        """The app processes whose pages were told that they crashed."""
        self.ends: list[End] = []
        self.homes: dict[str, str] = {}
        """The supervisors of the app processes that answered."""
        self.find_home: Callable[[int], str] = lambda pid: ""
        """Says which supervisor runs an app process."""
        self._log: TextIO = log.open("a")

    def close(self) -> None:
        """Close the log."""
        self._log.close()

    def log(self, event: str, **facts: Any) -> None:
        """Write one line of the run's log."""
        line = {"at": round(self.clock.now(), 3), "ms": self.clock.epoch_ms(), "event": event, **facts}
        self._log.write(json.dumps(line) + "\n")
        self._log.flush()

    def accuse(self, kind: Broken, text: str) -> None:
        """Write down a broken promise."""
        self.broken[kind].append(text)
        self.log("BROKEN", kind=kind.name, text=text)

    def note(self, what: str) -> None:
        """Count something that breaks no promise."""
        self.notes[what] += 1

    def note_life(self, user: str, generation: str, life: str, pid: int) -> None:
        """Note that an app process answers for a generation."""
        self.lives.setdefault((user, generation), set()).add(life)
        if not self.homes.get(life):
            self.homes[life] = self.find_home(pid)

    def note_end(self, tab: str, life: str, reason: str) -> None:
        """Note that a page was told of an end."""
        end = End(tab, self.homes.get(life, ""), reason, self.clock.now())
        self.ends.append(end)
        self.log("end", tab=tab, home=end.home, life=life, reason=reason)
        self.note(f"pages told of an end: {reason}")
        if reason == "crashed":
            self.crashed.add(life)

    # Clicks

    def ask(self, label: str, user: str, tab: str, generation: str) -> Click:
        """Note that a page asks something."""
        click = Click(label, user, tab, generation, self.clock.now())
        self.clicks[label] = click
        self.log("ask", label=label, tab=tab, generation=generation)
        return click

    def settle(self, label: str, outcome: Outcome) -> None:
        """Note what became of it."""
        click = self.clicks.get(label)
        if click is None or click.outcome is not Outcome.WAITING:
            return
        click.outcome, click.settled_at = outcome, self.clock.now()
        self.log("settle", label=label, outcome=outcome.name)
        if outcome is Outcome.ANSWERED:
            for fault in self.faults:
                if fault.began_at < click.asked_at and click.tab not in fault.answered_after_s:
                    fault.answered_after_s[click.tab] = click.settled_at - fault.began_at

    def answered_since(self, tab: str, asked_after: float) -> bool:
        """Return whether a tab has an answer to a click that it made after a moment."""
        return any(
            click.tab == tab and click.outcome is Outcome.ANSWERED and click.asked_at > asked_after
            for click in reversed(self.clicks.values())
            if click.asked_at > asked_after
        )

    def waiting(self) -> list[Click]:
        """Return the clicks that nobody knows anything of."""
        return [click for click in self.clicks.values() if click.outcome is Outcome.WAITING]


def read_audit(path: Path) -> list[dict[str, Any]]:
    """Return what the apps wrote, in the order in which they wrote it."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def check(ledger: Ledger, audit: Iterable[dict[str, Any]]) -> None:
    """Compare what the apps ran with what the pages were told."""
    lines = list(audit)
    runs = Counter(line["label"] for line in lines if line["event"] == "run")
    for label, count in runs.items():
        if count > 1:
            ledger.accuse(Broken.TWICE, f"{label} ran {count} times")
    for click in ledger.clicks.values():
        if click.outcome is Outcome.ANSWERED and not runs[click.label]:
            ledger.accuse(Broken.LOST, f"{click.label} was answered, and no app ran it")
        if click.outcome is Outcome.WAITING:
            did = "ran" if runs[click.label] else "did not run"
            ledger.accuse(Broken.LOST, f"{click.label} of {click.tab} {did}, its page was told nothing")
    _check_start_order(ledger, lines)
    _check_owners(ledger, lines)
    for line in lines:
        if line["event"] == "born" and line["life"] in ledger.crashed and line["pid"] not in ledger.killed:
            ledger.accuse(Broken.DIED, f"app process {line['pid']} of {line['user']}")


def _check_start_order(ledger: Ledger, lines: list[dict[str, Any]]) -> None:
    """A page's interactions start in its order, and none is left out but one that was refused."""
    last: dict[str, int] = {}
    for line in lines:
        if line["event"] != "run":
            continue
        page, _, text = line["label"].rpartition(":")
        number, before = int(text), last.get(page, 0)
        last[page] = max(number, before)
        if number <= before:
            ledger.accuse(Broken.ORDER, f"{line['label']} started after {before}")
        for skipped in range(before + 1, number):
            click = ledger.clicks.get(f"{page}:{skipped}")
            if click is not None and click.outcome is Outcome.ANSWERED:
                ledger.accuse(Broken.ORDER, f"{page}: {number} started before {skipped}")


def _check_owners(ledger: Ledger, lines: list[dict[str, Any]]) -> None:
    """A generation is one process; nothing that a process did after its successor's birth is committed."""
    for (user, generation), lives in ledger.lives.items():
        if len(lives) > 1:
            ledger.accuse(Broken.OWNERS, f"{user}, generation {generation}: answered by {sorted(lives)}")
    born = {line["life"]: line["at"] for line in lines if line["event"] == "born"}
    done = {line["label"]: line["at"] for line in lines if line["event"] == "done"}
    number = {
        (user, life): int(generation.partition("-")[0])
        for (user, generation), lives in ledger.lives.items()
        for life in lives
    }
    for click in ledger.clicks.values():
        if not click.life or click.outcome is not Outcome.ANSWERED or click.label not in done:
            continue
        own = number.get((click.user, click.life), 0)
        for (user, life), later in number.items():
            if user == click.user and later > own and born.get(life, 1e18) < done[click.label]:
                text = f"{click.label} was done by generation {own} after {later} was born, and committed"
                ledger.accuse(Broken.OWNERS, text)
