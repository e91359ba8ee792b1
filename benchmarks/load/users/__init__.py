"""The users of each wire: what they ask of a page and its WebSocket, the same for all contestants."""

from __future__ import annotations

from typing import Protocol

from benchmarks.load.users.floor import FloorUser
from benchmarks.load.users.htag import HtagUser
from benchmarks.load.users.htag2 import Htag2User
from benchmarks.load.users.nicegui import NiceGuiUser
from benchmarks.load.users.streamlit import StreamlitUser


class User(Protocol):
    """A browser with one tab that shows a counter. BadAnswer for all that is not the counter."""

    def __init__(self, port: int) -> None: ...

    async def open(self) -> float:
        """Ask for the page; return the seconds until it was there. OSError while nobody listens.

        Of a user that is connected it is F5: the page is another one from then on.
        """

    async def connect(self) -> None:
        """Open what the page would open; returns when a click can be sent."""

    async def click(self) -> float:
        """Click once, see that the next number comes; return the seconds that it took."""

    async def push(self, count: int, pause_s: float) -> None:
        """Have the app push so many updates by itself."""

    async def next_push(self) -> float | None:
        """Return how long the next update took from the app to here; None after the last."""

    async def close(self) -> None:
        """Leave; again is harmless."""


WIRES: dict[str, type[User]] = {
    "htag": HtagUser,
    "htag2": Htag2User,
    "nicegui": NiceGuiUser,
    "streamlit": StreamlitUser,
    "floor": FloorUser,
}
