"""The orders: what the users of one contestant do together, and what of it is measured."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from math import inf
from time import monotonic, process_time
from typing import Any

from benchmarks.load.errors import BadAnswer, NotReady
from benchmarks.load.users import User

POLL_S = 0.005
CLICKS_BEFORE_BURST = 20
WARM_UP_S = 0.3
WARM_UPDATES = 10
PUSHES = 200
"""So many updates are asked of an app at once, and again when the last of them is there."""


class Load:
    """The users of one contestant, all connected; the first one opened the first page."""

    def __init__(self, port: int, kind: Callable[[int], User]) -> None:
        self._port = port
        self._kind = kind
        self._users: list[User] = []
        self._orders: dict[str, Callable[..., Awaitable[Any]]] = {
            "first_page": self.first_page,
            "open": self.open,
            "gather": self.gather,
            "reopen": self.reopen,
            "click": self.click,
            "rate": self.rate,
            "updates": self.updates,
            "update_rate": self.update_rate,
            "burst": self.burst,
            "leave": self.leave,
        }

    async def carry_out(self, do: str, **parameters: Any) -> Any:
        """Carry out an order and return its answer."""
        return await self._orders[do](**parameters)

    # Coming and going

    async def first_page(self) -> float:
        """Ask for a page until one is served; return when it was there, by the monotonic clock."""
        user = self._kind(self._port)
        while True:
            try:
                await user.open()
            except (ConnectionRefusedError, NotReady):
                await asyncio.sleep(POLL_S)
            else:
                break
        at = monotonic()
        await self._join(user)
        return at

    async def _join(self, user: User) -> None:
        await user.connect()
        self._users.append(user)

    async def open(self, count: int) -> list[float]:
        """Bring new users, one after the other; return how long each waited for the page."""
        waits = []
        for _ in range(count):
            user = self._kind(self._port)
            waits.append(await user.open())
            await self._join(user)
        return waits

    async def gather(self, count: int, at_once: int) -> dict[str, float]:
        """Bring users until ``count`` are connected, a few at once."""
        room = asyncio.Semaphore(at_once)

        async def come() -> None:
            async with room:
                user = self._kind(self._port)
                await user.open()
                await self._join(user)

        began = monotonic()
        await asyncio.gather(*(come() for _ in range(count - len(self._users))))
        return {"seconds": monotonic() - began}

    async def reopen(self, count: int) -> list[float]:
        """Have users load their page again, as with F5, one after the other."""
        waits = []
        for user in self._chosen(count):
            waits.append(await user.open())
            await user.connect()
        return waits

    async def leave(self) -> None:
        """Close all WebSockets."""
        await asyncio.gather(*(user.close() for user in self._users))

    def _chosen(self, count: int) -> list[User]:
        if len(self._users) < count:
            raise BadAnswer(f"expected {count} connected users, there are {len(self._users)}")
        return self._users[:count]

    # Clicks

    async def click(self, count: int) -> dict[str, Any]:
        """One user clicks, all others look on; return its waits, their rate, and the load's CPU time of each.

        ``clicks`` counts those before the measure too.
        """
        user = self._users[0]
        before_it = max(1, count // 10)
        for _ in range(before_it):
            await user.click()
        before, began = process_time(), monotonic()
        waits = [await user.click() for _ in range(count)]
        rate, own = count / (monotonic() - began), (process_time() - before) / count
        return {"rate": rate, "waits": waits, "own": own, "clicks": before_it + count}

    async def rate(self, users: int, seconds: float) -> dict[str, Any]:
        """Users click, each again as soon as its answer is there; return all their waits, and clicks/s.

        ``clicks`` counts those before the measure too.
        """
        chosen = self._chosen(users)
        before_it = len(await _click_all(chosen, WARM_UP_S))
        before, began = process_time(), monotonic()
        waits = await _click_all(chosen, seconds)
        took = monotonic() - began
        own = (process_time() - before) / len(waits)
        return {"rate": len(waits) / took, "waits": waits, "own": own, "clicks": before_it + len(waits)}

    async def burst(self, count: int) -> dict[str, Any]:
        """Have new users open at once while another one clicks; return its waits, and theirs."""
        clicks: list[tuple[float, float]] = []
        warm, over = asyncio.Event(), asyncio.Event()

        async def click_on() -> None:
            while not over.is_set():
                began = monotonic()
                clicks.append((began, await self._users[0].click()))
                if len(clicks) == CLICKS_BEFORE_BURST:
                    warm.set()

        newcomers = [self._kind(self._port) for _ in range(count)]
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(click_on())
            await warm.wait()
            started = monotonic()
            opens = await asyncio.gather(*(user.open() for user in newcomers))
            took = monotonic() - started
            over.set()
        for user in newcomers:
            await self._join(user)
        during = [wait for began, wait in clicks if began + wait >= started]
        return {"clicks": during, "opens": opens, "seconds": took}

    # Updates

    async def updates(self, count: int, pause_s: float) -> dict[str, Any]:
        """One user's app pushes; return how long each update took from the app to here."""
        user = self._users[0]
        await _receive_pushes(user, WARM_UPDATES, pause_s)
        return {"waits": await _receive_pushes(user, count, pause_s)}

    async def update_rate(self, users: int, seconds: float) -> dict[str, Any]:
        """Apps push as fast as they can; return the updates per second seen here, and their waits."""
        end = monotonic() + seconds

        async def watch(user: User) -> list[float]:
            waits: list[float] = []
            while monotonic() < end:
                waits += await _receive_pushes(user, PUSHES, 0.0, until=end)
            return waits

        waits = _flat(await asyncio.gather(*map(watch, self._chosen(users))))
        return {"rate": len(waits) / seconds, "waits": waits}


async def _click_all(users: list[User], seconds: float) -> list[float]:
    end = monotonic() + seconds

    async def click_on(user: User) -> list[float]:
        waits = []
        while monotonic() < end:
            waits.append(await user.click())
        return waits

    return _flat(await asyncio.gather(*map(click_on, users)))


async def _receive_pushes(user: User, count: int, pause_s: float, until: float = inf) -> list[float]:
    """Return the waits of those that were there until then; all are taken, so that none comes later."""
    waits = []
    await user.push(count, pause_s)
    while (wait := await user.next_push()) is not None:
        if monotonic() <= until:
            waits.append(wait)
    return waits


def _flat(waits: Sequence[list[float]]) -> list[float]:
    return [wait for each in waits for wait in each]
