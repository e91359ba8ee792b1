"""What Python programs load under libfaketime, whose ``clock_nanosleep`` refuses what ``time.sleep`` asks."""

import select
import time
from typing import SupportsIndex


def sleep(duration_s: float | SupportsIndex, /) -> None:
    """Wait as ``time.sleep`` does, by another call of the system."""
    select.select((), (), (), float(duration_s))


time.sleep = sleep  # noqa: TID251 - it is replaced, not called
