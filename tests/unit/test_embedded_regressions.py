"""Faults that were found once and must not come back."""

import os
from pathlib import Path

import pytest

from htagweb import embedded
from htagweb.embedded import Directory, Master, StackError


@pytest.fixture(autouse=True)
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(embedded, "_base", lambda: tmp_path)
    return tmp_path


@pytest.mark.parametrize("kind", ["file", "dangling link"])
def test_what_is_no_directory_is_refused_with_the_remedy(base: Path, kind: str) -> None:
    made = Directory(Master(3, 4))
    if kind == "file":
        made.path.touch()
    else:
        made.path.symlink_to(base / "nothing")
    with pytest.raises(StackError, match="not a directory of ours alone: remove it"):
        made.create()


@pytest.mark.parametrize("kind", ["file", "open directory", "link"])
def test_what_others_left_under_such_a_name_is_left_alone(base: Path, kind: str) -> None:
    foreign, target = base / f"htagweb-{os.getuid()}-1-2", base / "target"
    target.mkdir()
    if kind == "file":
        foreign.touch()
    elif kind == "link":
        foreign.symlink_to(target)
    else:
        foreign.mkdir()
        foreign.chmod(0o777)
    embedded._remove_stale()
    assert foreign.exists()
    assert list(target.iterdir()) == []


def test_a_command_that_is_no_utf8_is_no_trouble() -> None:
    comm = Path("/proc/self/comm")
    before = comm.read_bytes().strip()
    comm.write_bytes(b"\xc3 (cut")
    try:
        assert Master.of(os.getpid()).is_alive
    finally:
        comm.write_bytes(before)
