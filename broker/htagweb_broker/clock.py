"""Time, as something that can be passed: what waits takes a ``Clock``, so that tests can turn it."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """Monotonic seconds, wall-clock milliseconds, and a way to wait."""

    def now(self) -> float:
        """Return monotonic seconds."""
        ...

    def epoch_ms(self) -> int:
        """Return milliseconds since 1970, for what people read; never for a duration."""
        ...

    async def sleep(self, delay_s: float) -> None:
        """Wait for ``delay_s`` seconds."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> float:
        """Return monotonic seconds."""
        return time.monotonic()

    def epoch_ms(self) -> int:
        """Return milliseconds since 1970."""
        return time.time_ns() // 1_000_000

    async def sleep(self, delay_s: float) -> None:
        """Wait for ``delay_s`` seconds."""
        await asyncio.sleep(delay_s)  # noqa: TID251 - the one place


async def wait_event(event: asyncio.Event, timeout_s: float) -> bool:
    """Wait until the event is set or the time is over; return whether it is set."""
    try:
        async with asyncio.timeout(timeout_s):
            await event.wait()
    except TimeoutError:
        return event.is_set()
    return True
