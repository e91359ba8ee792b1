"""What is measured when: the rounds, the turns in them, and how much a turn measures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

OURS = "ours"
FLOOR = "floor"
HTAG2 = "htag2"
RELEASED = ("htagweb-1.0.0", "htagweb-0.60.3")
"""The releases to beat, the latest first."""
MAIN = (OURS, *RELEASED, FLOOR)
OTHERS = ("ours-tcp", "ours-4", HTAG2, "nicegui", "streamlit")


@dataclass(frozen=True, slots=True)
class Turn:
    """How much is measured of one contestant between its start and its end."""

    clicks: int = 800
    opens: int = 29
    """New users, one after the other, so that ``users`` are there."""
    users: int = 30
    many: int = 100
    """So many come then, and all click; none: it is not measured."""
    rate_s: float = 2.0
    updates: int = 200
    update_pause_s: float = 0.002
    update_users: int = 10
    update_rate_s: float = 1.0
    browser_clicks: int = 100
    burst: int = 0
    """So many users open at once while one clicks; none: it is not measured."""
    crowd: int = 0
    """Everybody clicks when so many are there; none: it is not measured."""
    crowd_limit_s: float = 15.0
    """A crowd that needs longer is left out."""
    at_once: int = 20


@dataclass(frozen=True, slots=True)
class Growth:
    """How this project is measured with few and many live apps."""

    steps: tuple[tuple[int, ...], ...]
    """One stack each, with so many live apps one after the other, each time ``users`` more at least.

    The smallest comes before and after the others.
    """
    clicks: int = 800
    users: int = 30
    rate_s: float = 2.0
    updates: int = 200
    update_pause_s: float = 0.002
    at_once: int = 20

    @property
    def sizes(self) -> list[int]:
        """How many live apps there are, the fewest first."""
        return sorted({size for step in self.steps for size in step})


@dataclass(frozen=True, slots=True)
class Plan:
    """Who has a turn in which round. Every round takes each of its contestants once: drift hits all alike."""

    turns: Mapping[str, tuple[Turn, ...]]
    """By contestant: what is measured in round 1, 2 …; who has fewer is not in the last rounds."""
    growth: Growth

    @property
    def rounds(self) -> int:
        """How many there are."""
        return max(map(len, self.turns.values()))

    @property
    def crowd(self) -> int:
        """How many users a crowd has; 0 when no turn has one."""
        return max(turn.crowd for mine in self.turns.values() for turn in mine)


_SHORT = Turn(clicks=200, rate_s=1.5, crowd=300)
_CHROMIUM = replace(_SHORT, many=0, crowd=0)
FULL = Plan(
    turns={
        **dict.fromkeys(MAIN, (Turn(burst=20), Turn(), Turn(crowd=300))),
        **dict.fromkeys(OTHERS, (_SHORT,)),
        HTAG2: (_SHORT, _CHROMIUM, _CHROMIUM),  # a goal needs as many of its clicks in Chromium as of ours
        "streamlit": (replace(_SHORT, clicks=60, browser_clicks=40),),
    },
    growth=Growth(steps=((1,), (100, 1000), (1,))),
)

_QUICK = Turn(
    clicks=200, opens=9, users=10, many=30, rate_s=0.7, updates=50, update_rate_s=0.2, browser_clicks=40
)
QUICK = Plan(
    turns=dict.fromkeys((*MAIN, *OTHERS), (_QUICK,)),
    growth=Growth(steps=((1,), (100,)), clicks=200, rate_s=0.7, updates=50),
)
