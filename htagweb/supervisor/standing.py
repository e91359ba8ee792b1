"""Where a supervisor stands among the living: the freest wait for requests, others leave those to them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

from htagweb_broker import Beat, Presence, Supervisors

MARGIN = 0.05
"""So much fuller than the freest, as a part of its capacity, a supervisor gives way to it."""
BACK = 0.02
"""Who gave way waits again when it is no fuller than this: between the two nothing changes."""

assert BACK < MARGIN, "a supervisor at the margin would change its mind with every app"


def fullness(beat: Beat) -> float:
    """Return which part of its capacity is taken."""
    return beat.load / max(beat.capacity, 1)


def excess(mine: Beat, other: Beat) -> float:
    """Return how much more pressed one supervisor is than another: its apps, and how busy its host is.

    Apps count against the capacity, processors up to 1. On one host that is the same for both.
    """
    apart = fullness(mine) - fullness(other)
    if mine.host != other.host:
        apart += min(mine.cpu, 1.0) - min(other.cpu, 1.0)
    return apart


def gives_way(mine: Beat, others: Iterable[Beat], gave_way: bool) -> bool:
    """Return whether a supervisor leaves requests to a clearly freer one that takes some."""
    margin = BACK if gave_way else MARGIN
    return any(
        excess(mine, other) > margin for other in others if not other.draining and other.load < other.capacity
    )


class Standing:
    """Compares this supervisor with what the others said with their last heartbeats."""

    def __init__(
        self, presence: Presence, me: str, describe: Callable[[], Beat], beat: Callable[[], Awaitable[object]]
    ) -> None:
        """``describe`` is what this supervisor says of itself now, ``beat`` says it to the others."""
        self._presence = presence
        self._me = me
        self._describe = describe
        self._beat = beat
        self._others: list[Beat] = []
        self._said = 0.0
        self._gave_way = False

    def note(self, supervisors: Supervisors) -> None:
        """Take note of who lives."""
        self._others = [beat for name, beat in supervisors.living.items() if name != self._me]

    async def gives_way(self) -> bool:
        """Return whether requests are to be left to others; BrokerError when they cannot be asked for.

        Who begins to give way tells the others, and waits once more: they hear it with
        their next look, and somebody waits all the time.
        """
        behind = gives_way(self._describe(), self._others, self._gave_way)
        if behind:
            # What is known of the others may be a beat old: if all believed that, nobody would wait.
            self.note(await self._presence.supervisors())
            behind = gives_way(self._describe(), self._others, self._gave_way)
        gave_way, self._gave_way = self._gave_way, behind
        if behind and not gave_way:
            await self._say()
        return behind and gave_way

    def most(self, room: int) -> int:
        """Return how many requests may be taken at once: where there are others, few enough to stay even."""
        if not self._others:
            return room
        return min(room, max(1, int(self._describe().capacity * MARGIN)))

    async def tell(self) -> None:
        """Have the others know at once when apps took or freed a clear part; BrokerError."""
        if abs(fullness(self._describe()) - self._said) >= MARGIN:
            await self._say()

    async def _say(self) -> None:
        self._said = fullness(self._describe())
        await self._beat()
