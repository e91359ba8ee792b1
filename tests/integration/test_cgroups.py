"""The kernel's own cgroups, as far as this machine gives any: who is in one, and that all of it ends."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from htagweb.supervisor.cgroups import Cgroups
from tests.support.waiting import until_sync


@pytest.fixture
def base() -> Iterator[Path]:
    """Give a new cgroup (v2) of this machine; it has no controllers where those are mounted as v1."""
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    folders = [Path(fields[1]) for fields in mounts if fields[2] == "cgroup2"]
    if not folders or not os.access(folders[0], os.W_OK):
        pytest.skip("no cgroup v2 that this user may write to")
    made = folders[0] / f"htagweb-test-{os.getpid()}"
    try:
        made.mkdir()
    except OSError as exc:
        pytest.skip(f"no cgroup can be made: {exc}")
    yield made
    until_sync(lambda: remove(made), "the test's cgroups are empty and removed")


def remove(base: Path) -> bool:
    """Remove the cgroup and those below; return whether that was possible."""
    try:
        for group in (*base.glob("app-*"), base):
            group.rmdir()
    except OSError:
        return False
    return True


def test_what_detached_from_its_app_ends_with_it_and_the_cgroup_is_removed(base: Path) -> None:
    cgroups = Cgroups(base, 0, 0)
    app = subprocess.Popen(["sh", "-c", "read go; setsid -f sleep 100; read end"], stdin=subprocess.PIPE)
    group, stdin = base / f"app-{app.pid}", app.stdin
    assert stdin is not None

    def members() -> set[str]:
        return set((group / "cgroup.procs").read_text().split())

    cgroups.enter(app.pid)
    assert members() == {str(app.pid)}
    stdin.write(b"go\n")
    stdin.flush()
    until_sync(lambda: len(members()) == 2, "it has started another")
    stdin.close()
    app.wait()
    assert len(members()) == 1, "what has left the process group lives on"
    assert cgroups.leave(app.pid) is False

    def is_gone() -> bool:
        cgroups.sweep()
        return not group.exists()

    until_sync(is_gone, "all of it has ended")
