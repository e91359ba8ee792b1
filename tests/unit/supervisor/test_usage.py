"""What is read of ``/proc``: from files as the kernel writes them, and of this very process."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from htagweb.host import procfs
from htagweb.supervisor.usage import Usage, read_private_bytes, read_usage

PAGE = os.sysconf("SC_PAGE_SIZE")
TICKS = os.sysconf("SC_CLK_TCK")


class Proc:
    """Files as in ``/proc``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "self").mkdir()

    def add(
        self,
        pid: int,
        session: int,
        *,
        name: str = "python",
        ticks: int = 0,
        threads: int = 1,
        pages: int = 0,
    ) -> None:
        folder = self.path / str(pid)
        folder.mkdir()
        first = f"{pid} ({name}) S 1 {session} {session} 0 -1 0 0 0 0 0"
        (folder / "stat").write_text(f"{first} {ticks} 0 0 0 20 0 {threads} 0 99 4096 {pages} 0")
        (folder / "statm").write_text(f"999 {pages} 1 1 0 1 0\n")

    def add_rollup(self, pid: int, *lines: str) -> None:
        (self.path / str(pid) / "smaps_rollup").write_text(
            "00-ff ---p 0 00:00 0 [rollup]\n" + "\n".join(lines)
        )


@pytest.fixture
def proc(tmp_path: Path) -> Proc:
    return Proc(tmp_path)


def test_an_app_and_what_it_started_are_one_sum(proc: Proc) -> None:
    proc.add(10, 10, ticks=TICKS * 2, threads=3, pages=5)
    proc.add(11, 10, ticks=TICKS, pages=1)
    proc.add(20, 20, pages=7)
    proc.add(30, 1)
    found = read_usage({10, 20}, proc.path)
    assert set(found) == {10, 20}
    assert sorted(found[10].pids) == [10, 11]
    assert (found[10].resident_bytes, found[10].cpu_s, found[10].processes) == (6 * PAGE, 3.0, 4)
    assert found[20] == Usage((20,), 7 * PAGE, 0.0, 1)


@pytest.mark.parametrize("name", ["a b", "x) R 1 1 1", "\n", "("])
def test_a_process_may_have_any_name(proc: Proc, name: str) -> None:
    proc.add(10, 10, name=name, pages=4)
    assert read_usage({10}, proc.path)[10].resident_bytes == 4 * PAGE


def test_one_that_has_ended_is_left_out(proc: Proc) -> None:
    (proc.path / "10").mkdir()
    assert read_usage({10}, proc.path) == {}
    assert read_private_bytes((10, 11), proc.path) == 0


def test_one_that_the_kernel_hides_is_none_of_ours(proc: Proc, monkeypatch: pytest.MonkeyPatch) -> None:
    proc.add(10, 10, pages=4)
    proc.add(11, 11)
    read = procfs.read

    def refuse(path: str) -> bytes:
        if "/11/" in path:
            raise PermissionError(path)
        return read(path)

    monkeypatch.setattr(procfs, "read", refuse)
    assert list(read_usage({10, 11}, proc.path)) == [10]


def test_what_is_shared_with_others_is_not_private(proc: Proc) -> None:
    proc.add(10, 10)
    lines = (
        "Rss: 900 kB",
        "Shared_Dirty: 500 kB",
        "Private_Clean: 1 kB",
        "Private_Dirty: 20 kB",
        "Swap: 300 kB",
    )
    proc.add_rollup(10, *lines, "SwapPss: 5 kB")
    assert read_private_bytes((10,), proc.path) == 321 * 1024


def test_of_a_process_that_may_not_be_looked_into_all_that_is_resident_counts(
    proc: Proc, monkeypatch: pytest.MonkeyPatch
) -> None:
    proc.add(10, 10, pages=8)
    read_text = Path.read_text

    def refuse(path: Path) -> str:
        if path.name == "smaps_rollup":
            raise PermissionError(path)
        return read_text(path)

    monkeypatch.setattr(Path, "read_text", refuse)
    assert read_private_bytes((10,), proc.path) == 8 * PAGE


def test_the_kernels_own_files_are_read() -> None:
    leader = os.getsid(0)
    usage = read_usage({leader})[leader]
    assert os.getpid() in usage.pids
    assert usage.cpu_s > 0
    assert 0 < read_private_bytes((os.getpid(),)) < 2**40
