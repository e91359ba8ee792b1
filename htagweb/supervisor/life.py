"""The life of an app process, as a pure function: no process, no clock, no broker in here.

::

    STARTING ──first page──► RUNNING
        │                       │
        ├───────────────────────┴── end wanted ──► ASKED ──────┐
        │                       │                              │ each step when
        └── interaction late, ──┴────────────────► DUMPED ─────┤ its grace is over
            or it takes too much                               │
                                                               ▼
                                              TERMINATED ──► KILLED
    any phase ── process gone ──► GONE
"""

from __future__ import annotations

from enum import Enum
from typing import Final

import msgspec
from htagweb_broker import EndReason
from msgspec.structs import replace

ASK_GRACE_S = 1.0
DUMP_GRACE_S = 0.5
TERM_GRACE_S = 1.0
KILL_AGAIN_S = 5.0
NEVER: Final = float("inf")
TOO_MUCH: Final = frozenset[EndReason]({"memory", "cpu", "processes"})
"""Ends of an app that takes more than it may: it is not asked, as it would take more meanwhile."""


class Phase(Enum):
    """Where an app process is in its life."""

    STARTING = "starting"
    RUNNING = "running"
    ASKED = "asked"
    """To save its session and exit."""
    DUMPED = "dumped"
    """It was late, or took too much: its stack is being written to the log."""
    TERMINATED = "terminated"
    KILLED = "killed"
    GONE = "gone"


class Command(Enum):
    """What the mechanism has to do after a step."""

    ASK = "ask"
    DUMP = "dump"
    TERMINATE = "terminate"
    KILL = "kill"
    RELEASE = "release"


class Times(msgspec.Struct, frozen=True):
    """The limits of one app, in seconds; 0 for none."""

    interaction_s: float
    inactivity_s: float
    never_connected_s: float


class Life(msgspec.Struct, frozen=True):
    """An app process as the supervisor sees it."""

    phase: Phase
    times: Times
    born: float
    last_activity: float
    connected: bool
    """Whether a browser ever showed that it looks at the page."""
    deadlines: dict[str, float]
    """Work in flight: what, and when it is late. Never changed in place."""
    reason: EndReason | None = None
    grace_ends: float = NEVER

    @property
    def is_ending(self) -> bool:
        """Whether the end was decided."""
        return self.phase not in (Phase.STARTING, Phase.RUNNING)

    def with_times(self, times: Times) -> Life:
        """Return the same life under other limits; work in flight keeps its deadline."""
        return replace(self, times=times)


# Events


class Started(msgspec.Struct, frozen=True):
    """The first page was rendered."""


class Taken(msgspec.Struct, frozen=True):
    """Work was handed to the app."""

    work: str


class Done(msgspec.Struct, frozen=True):
    """The app answered."""

    work: str


class Connected(msgspec.Struct, frozen=True):
    """A browser connected."""


class EndWanted(msgspec.Struct, frozen=True):
    """Someone decided that the app has to end."""

    reason: EndReason


class Tick(msgspec.Struct, frozen=True):
    """Time has passed."""


class ProcessGone(msgspec.Struct, frozen=True):
    """The process ended; by whom, when the kernel says that it did it for that reason."""

    reason: EndReason | None = None


Event = Started | Taken | Done | Connected | EndWanted | Tick | ProcessGone
Step = tuple[Life, tuple[Command, ...]]


def begin(times: Times, now: float) -> Life:
    """Return the life of a process that is about to be started."""
    return Life(Phase.STARTING, times, now, now, False, {})


def step(life: Life, event: Event, now: float) -> Step:
    """Return the life after the event, and what has to be done."""
    match event:
        case ProcessGone(reason):
            return _gone(life, reason)
        case Started() if life.phase is Phase.STARTING:
            return replace(life, phase=Phase.RUNNING), ()
        case Taken(work):
            late = now + life.times.interaction_s if life.times.interaction_s else NEVER
            return replace(life, last_activity=now, deadlines={**life.deadlines, work: late}), ()
        case Done(work):
            rest = {key: late for key, late in life.deadlines.items() if key != work}
            return replace(life, last_activity=now, deadlines=rest), ()
        case Connected():
            return (life if life.connected else replace(life, connected=True)), ()
        case EndWanted(reason) if not life.is_ending and reason in TOO_MUCH:
            return _dump(life, reason, now)
        case EndWanted(reason) if not life.is_ending:
            ends = now + ASK_GRACE_S
            return replace(life, phase=Phase.ASKED, reason=reason, grace_ends=ends), (Command.ASK,)
        case Tick():
            return _tick(life, now)
    return life, ()


def _dump(life: Life, reason: EndReason, now: float) -> Step:
    ends = now + DUMP_GRACE_S
    return replace(life, phase=Phase.DUMPED, reason=reason, grace_ends=ends), (Command.DUMP,)


def _gone(life: Life, why: EndReason | None) -> Step:
    if life.phase is Phase.GONE:
        return life, ()
    reason = life.reason or why or "crashed"
    return replace(life, phase=Phase.GONE, reason=reason, grace_ends=NEVER, deadlines={}), (Command.RELEASE,)


def _tick(life: Life, now: float) -> Step:
    if now < next_deadline(life):
        return life, ()
    match life.phase:
        case Phase.STARTING | Phase.RUNNING:
            return _decide(life, now)
        case Phase.ASKED | Phase.DUMPED:
            ends = now + TERM_GRACE_S
            return replace(life, phase=Phase.TERMINATED, grace_ends=ends), (Command.TERMINATE,)
        case Phase.TERMINATED | Phase.KILLED:
            # Again and again: a process in the kernel's hands ends when it comes out of there.
            return replace(life, phase=Phase.KILLED, grace_ends=now + KILL_AGAIN_S), (Command.KILL,)
    return life, ()


def _decide(life: Life, now: float) -> Step:
    if any(late <= now for late in life.deadlines.values()):
        return _dump(life, "interaction_timeout", now)
    if _never_connected_at(life) <= now:
        return step(life, EndWanted("never_connected"), now)
    return step(life, EndWanted("inactivity"), now)


def _never_connected_at(life: Life) -> float:
    if life.connected or life.deadlines or not life.times.never_connected_s:
        return NEVER
    return life.last_activity + life.times.never_connected_s


def _inactive_at(life: Life) -> float:
    # A browser that waits for an answer is not idle, however long the app takes.
    if life.deadlines or not life.times.inactivity_s:
        return NEVER
    return life.last_activity + life.times.inactivity_s


def next_deadline(life: Life) -> float:
    """Return when a ``Tick`` changes something, if nothing else happens before; NEVER when it never does."""
    if life.is_ending:
        return life.grace_ends
    return min((_never_connected_at(life), _inactive_at(life), *life.deadlines.values()))


class Due:
    """Whether a ``Tick`` changes something. Reckoned when a life has changed: most are idle."""

    __slots__ = ("_at", "_life")

    def __init__(self) -> None:
        self._life: Life | None = None
        self._at = NEVER

    def is_reached(self, life: Life, now: float) -> bool:
        """Return whether a ``Tick`` at ``now`` changes something."""
        if life is not self._life:
            self._life, self._at = life, next_deadline(life)
        return now >= self._at
