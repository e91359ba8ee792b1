"""Finds the app processes that take more than they may, and knows why the kernel ended one."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from htagweb_broker import EndReason

from htagweb.supervisor.allowance import CPU_WINDOW_S, MIB, Allowance
from htagweb.supervisor.cgroups import Cgroups, CgroupsUnavailable
from htagweb.supervisor.usage import Usage, read_private_bytes, read_usage

CPU_STEP_S = CPU_WINDOW_S / 10
"""How fine the window of CPU time moves."""


class Excess(NamedTuple):
    """What an app took too much of."""

    reason: EndReason
    detail: str
    """How much, for the log."""


class Meter:
    """Measures the apps of one supervisor, from their fork to their end."""

    def __init__(
        self,
        allowance: Allowance,
        find_cgroups: Callable[[int, int], Cgroups] = Cgroups.find,
        read: Callable[[set[int]], dict[int, Usage]] = read_usage,
        read_private: Callable[[tuple[int, ...]], int] = read_private_bytes,
    ) -> None:
        self._allowance = allowance
        self._find_cgroups = find_cgroups
        self._read = read
        self._read_private = read_private
        self._cgroups: Cgroups | None = None
        self._cpu: dict[int, deque[tuple[float, float]]] = {}
        """Of each app, when it had used how many CPU seconds."""

    def begin(self) -> str:
        """Take cgroups where they can be had; return what keeps the limits, for the log."""
        try:
            self._cgroups = self._find_cgroups(self._allowance.memory_bytes, self._allowance.processes)
        except CgroupsUnavailable as exc:
            return f"rlimits and a look each second: {exc}"
        return "cgroups, rlimits and a look each second"

    def enter(self, pid: int) -> None:
        """Take in a process that was forked, and runs no code of its app yet."""
        if self._cgroups is not None:
            self._cgroups.enter(pid)

    def leave(self, pid: int | None) -> EndReason | None:
        """Forget a process that is gone (None: it was never forked), and end what it left.

        Return why the kernel ended it, if it did.
        """
        if pid is None:
            return None
        self._cpu.pop(pid, None)
        if self._cgroups is not None and self._cgroups.leave(pid):
            return "memory"
        return None

    def dump(self, pid: int) -> list[tuple[float, float]]:
        """Return when an app had used how many CPU seconds, as far as that counts."""
        return list(self._cpu.get(pid, ()))

    def resume(self, pid: int, cpu: list[tuple[float, float]]) -> None:
        """Go on with an app that another program measured."""
        if cpu:
            self._cpu[pid] = deque(cpu)

    async def exceeded(self, pids: set[int], now: float) -> dict[int, Excess]:
        """Return which of these apps take too much now."""
        if self._cgroups is not None:
            self._cgroups.sweep()
        if not pids:
            return {}
        # One that ends while it is measured is forgotten with the next look.
        self._cpu = {pid: history for pid, history in self._cpu.items() if pid in pids}
        # In a thread: to read of a thousand apps takes 15 ms and more.
        usage = await asyncio.to_thread(self._read, pids)
        found = {pid: await self._judge(pid, taken, now) for pid, taken in usage.items()}
        return {pid: excess for pid, excess in found.items() if excess is not None}

    async def _judge(self, pid: int, usage: Usage, now: float) -> Excess | None:
        most = self._allowance
        if most.processes and usage.processes > most.processes:
            detail = f"{usage.processes} processes and threads, the limit is {most.processes}"
            return Excess("processes", detail)
        if most.memory_bytes and usage.resident_bytes > most.memory_bytes:
            private = await asyncio.to_thread(self._read_private, usage.pids)
            if private > most.memory_bytes:
                detail = f"{private // MIB} MiB of memory, the limit is {most.memory_bytes // MIB}"
                return Excess("memory", detail)
        used = self._used_cpu_s(pid, usage.cpu_s, now)
        if most.cpu_s and used > most.cpu_s:
            return Excess("cpu", f"{used:.0f} CPU seconds in {CPU_WINDOW_S:g} s, the limit is {most.cpu_s}")
        return None

    def _used_cpu_s(self, pid: int, cpu_s: float, now: float) -> float:
        history = self._cpu.setdefault(pid, deque([(now, cpu_s)]))
        if now - history[-1][0] >= CPU_STEP_S:
            history.append((now, cpu_s))
        while len(history) > 1 and now - history[0][0] > CPU_WINDOW_S:
            history.popleft()
        return cpu_s - history[0][1]
