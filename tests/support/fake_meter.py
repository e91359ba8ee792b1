"""A meter that finds what it is told to find."""

from __future__ import annotations

from htagweb_broker import EndReason

from htagweb.supervisor.meter import Excess


class FakeMeter:
    """Measures nothing."""

    def __init__(self) -> None:
        self.found: dict[int, Excess] = {}
        self.failure: Exception | None = None
        self.ended_by_kernel: dict[int, EndReason] = {}
        self.entered: list[int] = []

    def begin(self) -> str:
        return "nothing"

    def enter(self, pid: int) -> None:
        self.entered.append(pid)

    def leave(self, pid: int | None) -> EndReason | None:
        return None if pid is None else self.ended_by_kernel.get(pid)

    def dump(self, pid: int) -> list[tuple[float, float]]:
        return []

    def resume(self, pid: int, cpu: list[tuple[float, float]]) -> None:
        """Nothing to go on with."""

    async def exceeded(self, pids: set[int], now: float) -> dict[int, Excess]:
        if self.failure is not None:
            raise self.failure
        return {pid: excess for pid, excess in self.found.items() if pid in pids}
