"""The load: one process with all users of one contestant, told by lines of JSON what to do.

``python -m benchmarks.load PORT`` reads ``{"do": name, ...}`` from standard
input and answers each with one line. What goes wrong ends it with a traceback.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
from collections.abc import Awaitable, Callable
from time import monotonic, process_time
from typing import Any

import uvloop

from benchmarks.user import User

LONGEST_S = 240.0
POLL_S = 0.005
CLICKS_BEFORE_BURST = 20
WARM_UP_S = 0.3


class Load:
    """The users of one contestant; the first one opened the first page."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._users: list[User] = []
        self.orders: dict[str, Callable[..., Awaitable[Any]]] = {
            "first_page": self.first_page,
            "open": self.open,
            "reopen": self.reopen,
            "click": self.click,
            "rate": self.rate,
            "burst": self.burst,
            "crowd": self.crowd,
            "leave": self.leave,
        }

    async def first_page(self) -> float:
        """Ask for a page until one is served; return when it was there, by the monotonic clock."""
        user = User(self._port)
        while True:
            try:
                await user.open()
            except ConnectionRefusedError:
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
            user = User(self._port)
            waits.append(await user.open())
            await self._join(user)
        return waits

    async def reopen(self, count: int) -> list[float]:
        """Have users load their page again, as with F5."""
        return [await user.open() for user in self._users[:count]]

    async def click(self, count: int) -> dict[str, Any]:
        """One user clicks, all others look on; return its waits, and this process' CPU time for each."""
        for _ in range(count // 10):
            await self._users[0].click()
        before = process_time()
        waits = [await self._users[0].click() for _ in range(count)]
        return {"waits": waits, "own": (process_time() - before) / count}

    async def rate(self, seconds: float) -> float:
        """All users click, each again as soon as the answer is there; return clicks per second."""
        await self._click_all(WARM_UP_S)
        started = monotonic()
        clicks = await self._click_all(seconds)
        return clicks / (monotonic() - started)

    async def _click_all(self, seconds: float) -> int:
        end = monotonic() + seconds

        async def click_on(user: User) -> int:
            clicks = 0
            while monotonic() < end:
                await user.click()
                clicks += 1
            return clicks

        return sum(await asyncio.gather(*map(click_on, self._users)))

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

        newcomers = [User(self._port) for _ in range(count)]
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

    async def crowd(self, count: int, at_once: int) -> dict[str, Any]:
        """Bring users until ``count`` are there, a few at once; then each of them clicks."""
        room = asyncio.Semaphore(at_once)

        async def come() -> None:
            async with room:
                user = User(self._port)
                await user.open()
                await self._join(user)

        started = monotonic()
        await asyncio.gather(*(come() for _ in range(count - len(self._users))))
        took = monotonic() - started
        return {"seconds": took, "clicks": [await user.click() for user in self._users]}

    async def leave(self) -> None:
        """Close all sockets."""
        await asyncio.gather(*(user.close() for user in self._users))


def main() -> None:
    """Carry out the orders, one at a time."""
    load = Load(int(sys.argv[1]))
    gc.freeze()
    gc.disable()  # a pause of this process would look like one of the contestant's
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        for line in sys.stdin:
            order = json.loads(line)

            async def carry_out(order: dict[str, Any] = order) -> Any:
                async with asyncio.timeout(LONGEST_S):
                    return await load.orders[order.pop("do")](**order)

            print(json.dumps(runner.run(carry_out())), flush=True)


if __name__ == "__main__":
    main()
