"""What is measured when: the rounds, the turns in them, and how much a turn measures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

OURS = "ours"
OURS_TCP = "ours-tcp"
OURS_4 = "ours-4"
ALL_OURS = (OURS, OURS_TCP, OURS_4)
"""This project, each time: none of them may fail."""
FLOOR = "floor"
HTAG2 = "htag2"
NICEGUI = "nicegui"
STREAMLIT = "streamlit"
RELEASED = ("htagweb-1.0.0", "htagweb-0.60.3")
"""The releases to beat, the latest first."""
MAIN = (OURS, *RELEASED, FLOOR)
OTHERS = (OURS_TCP, OURS_4, HTAG2, NICEGUI, STREAMLIT)


@dataclass(frozen=True, slots=True)
class Turn:
    """How much is measured of one contestant between its start and its end."""

    clicks: int = 800
    opens: int = 29
    """New users, one after the other, so that ``users`` are there."""
    users: int = 30
    many: int = 100
    """So many come then, and all click; none: it is not measured."""
    rate_s: float = 1.5
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

    @property
    def most(self) -> int:
        """How many users are there in the end, the one in Chromium aside."""
        return max(self.users, self.many, self.crowd) + self.burst


@dataclass(frozen=True, slots=True)
class Growth:
    """How this project is measured with few and many live apps."""

    steps: tuple[tuple[int, ...], ...]
    """One stack each, with so many live apps one after the other. The few come before and after the many.

    A stack may begin with 1; else there are ``users`` - 1 more at least, who come one after the other.
    """
    clicks: int = 800
    users: int = 30
    """So many open one after the other, and click together; with fewer live apps only one clicks."""
    crowds: tuple[int, ...] = (100, 300)
    """So many click together too, where as many apps live."""
    rate_s: float = 1.5
    updates: int = 200
    update_pause_s: float = 0.002
    update_users: int = 10
    update_rate_s: float = 1.0
    browser_clicks: int = 60
    at_once: int = 20

    @property
    def sizes(self) -> list[int]:
        """How many live apps there are, the fewest first."""
        return sorted({size for step in self.steps for size in step})

    @property
    def clicking(self) -> tuple[int, ...]:
        """How many users click together, where as many apps live."""
        return (self.users, *self.crowds)

    @property
    def fewest_clicked(self) -> int:
        """The fewest live apps with which ``users`` open, and click together."""
        return min((size for size in self.sizes if size >= self.users), default=self.sizes[-1])


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
    def widest(self) -> Turn:
        """The turn with the most users: the tables have rows for all that it measures."""
        return max(self._all(), key=lambda turn: (turn.many, turn.crowd))

    @property
    def crowd(self) -> int:
        """How many users a crowd has; 0 when no turn has one."""
        return max(turn.crowd for turn in self._all())

    def _all(self) -> Iterator[Turn]:
        return (turn for mine in self.turns.values() for turn in mine)


_SHORT = Turn(clicks=200, crowd=300)
_AGAIN = replace(_SHORT, crowd=0, browser_clicks=0)
_CHROMIUM = replace(_SHORT, many=0, crowd=0)
FULL = Plan(
    turns={
        **dict.fromkeys(MAIN, (Turn(burst=20), Turn(), Turn(crowd=300))),
        **dict.fromkeys((OURS_TCP, OURS_4, NICEGUI), (_SHORT, _AGAIN)),
        # A goal needs as many of its clicks in Chromium as of ours. Its crowd comes when those of MAIN do.
        HTAG2: (_CHROMIUM, _CHROMIUM, _SHORT),
        # A hundred users would take half a minute for 13 clicks/s.
        STREAMLIT: (replace(_SHORT, clicks=60, browser_clicks=40, many=0, crowd=0),),
    },
    growth=Growth(steps=((1, 30), (100, 1000), (1, 30))),
)

_QUICK = Turn(
    clicks=200, opens=9, users=10, many=30, rate_s=0.7, updates=50, update_rate_s=0.2, browser_clicks=40
)
QUICK = Plan(
    turns=dict.fromkeys((*MAIN, *OTHERS), (_QUICK,)),
    growth=Growth(
        steps=((1, 30), (100,)), clicks=200, rate_s=0.7, updates=50, update_rate_s=0.2, browser_clicks=20
    ),
)
