"""The event loop of app processes and supervisors: uvloop's, where it is installed.

For an app it takes a third off the CPU time of a click (127 µs instead of 186 µs), for 0.06 MB of memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

new_event_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop

with suppress(ImportError):  # not on every platform
    import uvloop

    new_event_loop = uvloop.new_event_loop
