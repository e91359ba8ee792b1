"""The machine's memory, taken ahead of each turn: else a first open measures the host below the machine."""

from __future__ import annotations

import mmap
from contextlib import suppress
from time import perf_counter

import psutil

from benchmarks.errors import BenchmarkError

PER_APP = 5 * 2**20
"""Bytes that are taken for each user of a turn."""
BESIDE = 2**30
"""Bytes that are taken for all other parts."""
_CHUNK = 64 * 2**20


class Memory:
    """Takes the memory of a turn ahead, and knows what a page of it cost.

    A virtual machine's host may take back what is free (free page reporting), and give it again page by
    page when it is written to. That is dear, and depends on what the machine did before: an app process
    writes a thousand pages when it is forked.
    """

    def __init__(self) -> None:
        self._costs: list[float] = []

    def take(self, users: int) -> None:
        """Write to what a turn with so many users may need, half of what is free at most; give it back.

        It is about 1 GB more than this project then takes: a container needs room for that.
        BenchmarkError when it cannot be had.
        """
        size = min(BESIDE + users * PER_APP, psutil.virtual_memory().available // 2)
        try:
            self.write(size)
        except OSError as exc:
            raise BenchmarkError(f"expected {size >> 20} MB of free memory: {exc}") from exc

    def write(self, size: int) -> None:
        """Write to each page of ``size`` bytes of new memory, and give them back."""
        with mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
            with suppress(OSError):  # a kernel that knows no huge pages
                memory.madvise(mmap.MADV_NOHUGEPAGE)
            for begin in range(0, size, _CHUNK):
                pages = range(begin, min(begin + _CHUNK, size), mmap.PAGESIZE)
                began = perf_counter()
                memory[pages.start : pages.stop : pages.step] = bytes(len(pages))
                self._costs.append((perf_counter() - began) / len(pages))

    def told(self) -> str:
        """Return what the pages cost, as a line; they are measured 64 MB at a time."""
        if not self._costs:
            return "a page of new memory, before the turns: not measured"
        quickest, slowest = min(self._costs) * 1e6, max(self._costs) * 1e6
        return f"a page of new memory, before the turns: {quickest:.1f} to {slowest:.1f} µs"
