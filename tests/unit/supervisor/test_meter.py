"""Which apps take too much, by numbers that the test makes up."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from htagweb.supervisor.allowance import CPU_WINDOW_S, MIB, Allowance
from htagweb.supervisor.cgroups import Cgroups, CgroupsUnavailable
from htagweb.supervisor.meter import CPU_STEP_S, Excess, Meter
from htagweb.supervisor.usage import Usage

ALLOWANCE = Allowance(memory_bytes=100 * MIB, cpu_s=60, processes=10)


class Apps:
    """What the apps take."""

    def __init__(self, allowance: Allowance = ALLOWANCE) -> None:
        self.usage: dict[int, Usage] = {}
        self.private: Mapping[tuple[int, ...], int] = {}
        self.cgroups = FakeCgroups()
        self.meter = Meter(allowance, self._find, lambda pids: self.usage, lambda pids: self.private[pids])

    def _find(self, memory_bytes: int, processes: int) -> Cgroups:
        if self.cgroups.refusal:
            raise CgroupsUnavailable(self.cgroups.refusal)
        return self.cgroups

    def take(self, pid: int, mib: int = 0, cpu_s: float = 0, processes: int = 1) -> None:
        self.usage[pid] = Usage((pid,), mib * MIB, cpu_s, processes)

    async def look(self, now: float = 0.0) -> dict[int, Excess]:
        return await self.meter.exceeded(set(self.usage), now)


class FakeCgroups(Cgroups):
    """Notes what it is told."""

    def __init__(self) -> None:
        self.refusal = ""
        self.entered: list[int] = []
        self.killed_for_memory: set[int] = set()

    def enter(self, pid: int) -> None:
        self.entered.append(pid)

    def leave(self, pid: int) -> bool:
        self.entered.remove(pid)
        return pid in self.killed_for_memory

    def sweep(self) -> None:
        """Nothing is left here."""


@pytest.fixture
def apps() -> Apps:
    return Apps()


async def test_apps_within_their_limits_are_left_alone(apps: Apps) -> None:
    apps.take(1, mib=100, processes=10)
    assert await apps.look() == {}


async def test_memory_counts_only_as_far_as_it_is_not_shared(apps: Apps) -> None:
    apps.take(1, mib=300)
    apps.take(2, mib=300)
    apps.private = {(1,): 90 * MIB, (2,): 101 * MIB}
    assert await apps.look() == {2: Excess("memory", "101 MiB of memory, the limit is 100")}


async def test_processes_and_threads_are_counted(apps: Apps) -> None:
    apps.take(1, processes=11)
    assert await apps.look() == {1: Excess("processes", "11 processes and threads, the limit is 10")}


async def test_cpu_time_counts_from_when_an_app_is_first_seen(apps: Apps) -> None:
    apps.take(1, cpu_s=1000)
    assert await apps.look() == {}
    apps.take(1, cpu_s=1061)
    found = await apps.look(90)
    assert found == {1: Excess("cpu", "61 CPU seconds in 300 s, the limit is 60")}


async def test_cpu_time_of_long_ago_is_forgotten(apps: Apps) -> None:
    for now in range(3000):
        apps.take(1, cpu_s=now * 0.19)  # 57 s in the window
        assert await apps.look(float(now)) == {}
    for second in range(int(CPU_WINDOW_S + CPU_STEP_S)):
        apps.take(1, cpu_s=3000 * 0.19 + second * 0.25)
        if await apps.look(3000.0 + second):
            return
    pytest.fail("75 s in the window are too much")


async def test_an_app_that_was_not_measured_for_long_is_no_error(apps: Apps) -> None:
    apps.take(1, cpu_s=1)
    await apps.look()
    apps.take(1, cpu_s=2)
    assert await apps.look(10 * CPU_WINDOW_S) == {}


async def test_a_process_id_that_comes_again_begins_anew(apps: Apps) -> None:
    apps.take(1, cpu_s=100)
    await apps.look()
    apps.meter.leave(1)
    apps.take(1, cpu_s=200)
    assert await apps.look(1) == {}


async def test_a_restart_in_place_gives_no_app_new_cpu_time(apps: Apps) -> None:
    apps.take(1, cpu_s=1000)
    await apps.look()
    again = Apps()
    again.meter.resume(1, apps.meter.dump(1))
    again.meter.resume(2, apps.meter.dump(2))  # it was not measured yet
    again.take(1, cpu_s=1061)
    again.take(2, cpu_s=1061)
    assert list(await again.look(90)) == [1]


async def test_without_limits_nothing_is_too_much() -> None:
    apps = Apps(Allowance())
    apps.take(1, mib=10**6, cpu_s=0, processes=10**5)
    await apps.look()
    apps.take(1, mib=10**6, cpu_s=10**6, processes=10**5)
    assert await apps.look(1) == {}


def test_it_says_what_keeps_the_limits(apps: Apps) -> None:
    assert apps.meter.begin() == "cgroups, rlimits and a look each second"
    apps.cgroups.refusal = "there is no cgroup v2"
    assert apps.meter.begin() == "rlimits and a look each second: there is no cgroup v2"


def test_an_app_that_the_kernel_ended_for_its_memory_has_that_reason(apps: Apps) -> None:
    apps.meter.begin()
    apps.meter.enter(1)
    apps.meter.enter(2)
    apps.cgroups.killed_for_memory = {2}
    assert (apps.meter.leave(1), apps.meter.leave(2)) == (None, "memory")


def test_without_cgroups_an_end_has_no_reason_of_its_own(apps: Apps) -> None:
    apps.meter.enter(1)
    assert apps.meter.leave(1) is None
    assert apps.meter.leave(None) is None
