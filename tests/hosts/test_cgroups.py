"""Apps in cgroups that a kernel heeds: it ends what takes too much, pages are told, others live on."""

from __future__ import annotations

from typing import Any

import pytest

from tests.hosts.kernel import run_in_kernel

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Give what happened in ``cgroup_guest.py``: a kernel takes long to start, so it is played once."""
    return run_in_kernel("tests.hosts.cgroup_guest", tmp_path_factory.mktemp("kernel"), 200)


def test_a_supervisor_without_rights_uses_the_cgroup_that_is_delegated_to_it(played: dict[str, Any]) -> None:
    assert len(played["starts"]) == 2, "one line each from before and after its restart"
    assert all("kept by cgroups" in line for line in played["starts"])


def test_each_app_has_its_limits(played: dict[str, Any]) -> None:
    memory = str(100 * 1024 * 1024)
    expected = {"memory.max": memory, "memory.swap.max": "0", "memory.oom.group": "1", "pids.max": "30"}
    # A kernel without swap has no file for it.
    assert {name: limit for name, limit in played["limits"].items() if limit} == expected


@pytest.mark.parametrize("who", ["handler", "child", "after the restart"])
def test_whose_memory_the_kernel_takes_away_is_told_so(played: dict[str, Any], who: str) -> None:
    assert played[who] == "memory"


def test_the_kernel_ended_it_and_the_log_says_so(played: dict[str, Any]) -> None:
    assert len(played["kills"]) == 3
    assert all(line.endswith("it took more memory than it may") for line in played["kills"])


def test_a_process_too_many_is_the_handlers_error(played: dict[str, Any]) -> None:
    assert played["processes"] == ["[Errno 11] Resource temporarily unavailable"]


def test_nobody_else_notices(played: dict[str, Any]) -> None:
    assert played["others"] == [[0], [0]]
