"""Cgroups as plain files: what is written where, and when it is left alone. No kernel heeds them here."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from htagweb.supervisor.cgroups import Cgroups, CgroupsUnavailable

ME = str(os.getpid())
FILES = ("memory.max", "memory.swap.max", "memory.oom.group", "pids.max", "cgroup.kill")


class Host:
    """A cgroup v2 tree of plain files, with the supervisor in a unit of its own."""

    def __init__(self, path: Path) -> None:
        self.mount = path / "cgroup"
        self.base = self.mount / "system.slice/htagweb.service"
        self.base.mkdir(parents=True)
        self.own = path / "own"
        self.own.write_text("0::/system.slice/htagweb.service\n")
        (self.base / "cgroup.controllers").write_text("cpu memory pids\n")
        (self.base / "cgroup.procs").write_text(f"{ME}\n")

    def find(self, memory_bytes: int = 1000, processes: int = 5) -> Cgroups:
        return Cgroups.find(memory_bytes, processes, self.mount, self.own)

    def why_not(self) -> str:
        with pytest.raises(CgroupsUnavailable) as caught:
            self.find()
        return str(caught.value)

    def read(self, path: str) -> str:
        return (self.base / path).read_text()

    def group(self, pid: int) -> Path:
        return self.base / f"app-{pid}"

    def end(self, pid: int) -> None:
        """Empty the cgroup, as the kernel does when its last process is gone: then it can be removed."""
        for file in self.group(pid).iterdir():
            file.unlink()


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    mkdir = Path.mkdir

    def mkdir_with_files(
        path: Path, mode: int = 0o777, parents: bool = False, exist_ok: bool = False
    ) -> None:
        mkdir(path, mode, parents, exist_ok)
        if path.name.startswith("app-"):
            for name in FILES:
                (path / name).write_text("")
            (path / "memory.events").write_text("low 0\noom 0\noom_kill 0\n")

    monkeypatch.setattr(Path, "mkdir", mkdir_with_files)
    return Host(tmp_path)


def test_the_supervisor_moves_down_and_its_cgroup_gives_limits_to_apps(host: Host) -> None:
    host.find()
    assert host.read("supervisor/cgroup.procs") == ME
    assert host.read("cgroup.subtree_control") == "+memory +pids"


def test_an_app_gets_a_cgroup_with_its_limits(host: Host) -> None:
    host.find().enter(77)
    found = {name: host.read(f"app-77/{name}") for name in ("memory.max", "memory.swap.max", "pids.max")}
    assert found == {"memory.max": "1000", "memory.swap.max": "0", "pids.max": "5"}
    assert host.read("app-77/memory.oom.group") == "1"
    assert host.read("app-77/cgroup.procs") == "77"


def test_zero_is_no_limit(host: Host) -> None:
    host.find(0, 0).enter(77)
    names = ("memory.max", "memory.swap.max", "pids.max")
    assert {host.read(f"app-77/{name}") for name in names} == {"max"}


def test_all_that_an_app_left_is_killed_and_its_cgroup_removed_when_it_is_empty(host: Host) -> None:
    cgroups = host.find()
    cgroups.enter(77)
    assert cgroups.leave(77) is False
    assert host.read("app-77/cgroup.kill") == "1"
    assert host.group(77).exists()
    host.end(77)
    cgroups.sweep()
    assert not host.group(77).exists()
    cgroups.sweep()


def test_a_kill_for_memory_is_known_and_logged(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    cgroups = host.find()
    cgroups.enter(77)
    (host.group(77) / "memory.events").write_text("oom 1\noom_kill 3\noom_group_kill 1\n")
    assert cgroups.leave(77) is True
    assert "app process 77 was ended by the kernel: it took more memory" in caplog.text


def test_an_app_that_never_had_a_cgroup_leaves_none(host: Host) -> None:
    assert host.find().leave(77) is False


def test_an_app_whose_cgroup_cannot_be_made_runs_on(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    cgroups = host.find()
    host.group(77).mkdir()
    cgroups.enter(77)
    assert "app process 77 has no cgroup" in caplog.text


def test_a_supervisor_that_replaced_itself_goes_on_with_its_cgroups(host: Host) -> None:
    host.find().enter(77)
    host.own.write_text("0::/system.slice/htagweb.service/supervisor\n")
    (host.base / "supervisor/cgroup.controllers").write_text("")
    (host.base / "cgroup.procs").write_text("")
    cgroups = host.find()
    assert host.group(77).exists()
    assert cgroups.leave(77) is False
    assert host.read("app-77/cgroup.kill") == "1"


def test_cgroups_that_a_predecessor_left_empty_are_removed(host: Host) -> None:
    host.group(76).mkdir()
    host.end(76)
    host.find()
    assert not host.group(76).exists()


# Where it is not allowed, nothing is changed


def test_a_host_without_cgroup_v2_is_told(host: Host) -> None:
    host.own.write_text("3:memory:/here\n")
    assert host.why_not() == f"there is no cgroup v2 at {host.mount}"


def test_a_process_without_proc_is_told(host: Host) -> None:
    host.own.unlink()
    assert host.why_not().startswith("this process has no cgroup: ")


def test_a_cgroup_with_other_processes_is_left_alone(host: Host) -> None:
    (host.base / "cgroup.procs").write_text(f"1\n{ME}\n")
    assert host.why_not() == "other processes are in the supervisor's cgroup"
    assert not (host.base / "supervisor").exists()


def test_a_cgroup_without_controllers_is_left_alone(host: Host) -> None:
    (host.base / "cgroup.controllers").write_text("cpu io\n")
    assert host.why_not() == "memory and pids are not delegated to the supervisor's cgroup"
    assert not (host.base / "supervisor").exists()


def test_a_cgroup_that_cannot_be_divided_is_left_as_it_was(host: Host) -> None:
    (host.base / "cgroup.subtree_control").mkdir()  # to write to it fails
    assert host.why_not().startswith("the supervisor's cgroup cannot be divided: ")
    assert host.read("cgroup.procs") == ME
