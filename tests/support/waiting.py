"""Waiting for a condition, with a description: what tests do in place of sleeping."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")
POLL_S = 0.01


async def until(condition: Callable[[], Any], what: str, timeout_s: float = 15.0) -> Any:
    """Return the condition's first true value; fail with the description when there is none in time."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if inspect.isawaitable(value):
            value = await value
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout_s} s in vain: {what}")
        await asyncio.sleep(POLL_S)  # noqa: TID251 - the one place of the tests


def until_sync(condition: Callable[[], T], what: str, timeout_s: float = 15.0) -> T:
    """As ``until``, outside an event loop."""
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout_s} s in vain: {what}")
        time.sleep(POLL_S)  # noqa: TID251 - the one place of the tests
    return value
