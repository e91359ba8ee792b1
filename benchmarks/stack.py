"""One running contestant with its load: started, looked at, and ended with everything that it started."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from select import select
from time import clock_gettime, monotonic
from typing import Any

import psutil

from benchmarks.contestants import ROOT, Contestant
from benchmarks.errors import BenchmarkError

STOP_S = 20.0
LOOK_S = 0.5
"""How often to look whether the server lives while the load has not answered."""
SHARED_MEMORY = Path("/dev/shm")
"""Where htagweb 1.0.0 and 0.60.3 keep their sessions, one file each, ``sm_`` and the session's id."""
_SESSION = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
WEB = "web worker"
BROKER = "broker"
APP = "app process"
MASTER = "master"
SERVER = "server"
"""The one process of those that host all apps in their web server."""
_ROLES = (
    ("htagweb-app", APP),
    ("htagweb-spare", "spare"),  # forked ahead, for the next user
    ("htagweb-templ", "template"),
    ("floor-app", APP),
    ("floor-templ", "template"),
    ("floor-superv", "supervisor"),
    ("valkey-server", BROKER),
    ("redis-server", BROKER),
)
"""How a process's name begins."""
_COMMAND_ROLES = (
    ("htagweb.guardian", "guardian"),
    ("htagweb.supervisor.cli", "supervisor"),
    ("resource_tracker", "resource tracker"),
    ("gunicorn", WEB),
)
"""What is in a process's command."""
ROLES = tuple(dict.fromkeys([SERVER, MASTER, *(role for _, role in (*_ROLES, *_COMMAND_ROLES))]))
"""All parts that a process may be charged to."""
_SETTINGS = {"HTAGWEB_MAX_APPS": "2000", "HTAGWEB_MAX_NEW_SESSIONS_PER_S": "0"}
"""More than a user would have come from one address and live on one host."""


@dataclass(frozen=True, slots=True)
class Memory:
    """Of one process, in bytes."""

    private: int
    """Nobody else has these pages (USS)."""
    share: int
    """The same, and its part of the pages that several processes have (PSS)."""


class Stack:
    """A contestant that serves, and the load process beside it."""

    def __init__(self, contestant: Contestant, directory: Path) -> None:
        self.contestant = contestant
        self.port = _free_port()
        self._directory = directory
        self._before = psutil.Process().children()
        self._load_log = (directory / "load.log").open("w+")
        self._load = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.load", str(self.port), contestant.wire],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._load_log,
            text=True,
            start_new_session=True,
        )
        self._server_log = (directory / "server.log").open("w+")
        self.started = monotonic()
        self._server = subprocess.Popen(
            [contestant.python, str(contestant.script), str(self.port)],
            cwd=directory,
            env=_environment(directory),
            stdin=subprocess.DEVNULL,
            stdout=self._server_log,
            stderr=self._server_log,
            start_new_session=True,
        )

    def ask(self, do: str, **parameters: Any) -> Any:
        """Give the load an order and return its answer; BenchmarkError when there is none."""
        assert self._load.stdin is not None and self._load.stdout is not None
        try:
            self._load.stdin.write(json.dumps({"do": do, **parameters}) + "\n")
            self._load.stdin.flush()
            while not select([self._load.stdout], [], [], LOOK_S)[0]:
                if self._server.poll() is not None:
                    self._load.kill()  # it would go on asking for the page
            answer = self._load.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            raise BenchmarkError(
                f"{self.contestant.name}: {do!r} failed\n{_tail(self._load_log.name)}\n"
                f"The server's last lines:\n{_tail(self._server_log.name)}"
            )
        return json.loads(answer)

    def memory(self) -> dict[str, list[Memory]]:
        """Return the memory of each process, by role."""
        found: dict[str, list[Memory]] = defaultdict(list)
        for role, process in self._processes():
            with suppress(psutil.NoSuchProcess):
                info = process.memory_full_info()
                found[role].append(Memory(info.uss, info.pss))
        return dict(found)

    def cpu(self) -> dict[str, float]:
        """Return the CPU seconds that the living processes of each role have used together.

        Two readings give the cost of what was done between them, if nobody ended meanwhile.
        """
        found: dict[str, float] = defaultdict(float)
        for role, process in self._processes():
            with suppress(OSError):  # it has ended
                found[role] += clock_gettime(_cpu_clock(process.pid))
        return dict(found)

    def _processes(self) -> Iterator[tuple[str, psutil.Process]]:
        server = psutil.Process(self._server.pid)
        yield self._role_of_server(server), server
        for process in server.children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                yield _role(process) if self.contestant.app_processes else SERVER, process

    def _role_of_server(self, server: psutil.Process) -> str:
        if not self.contestant.app_processes:
            return SERVER
        return MASTER if "gunicorn" in server.cmdline() else WEB

    def stop(self) -> None:
        """End it politely, then what is left of it; nothing stays."""
        started = _started_since(self._before)
        sessions = [path.name for path in self._directory.iterdir() if _SESSION.fullmatch(path.name)]
        self._load.kill()
        self._load.communicate()
        self._server.send_signal(signal.SIGTERM)
        try:
            self._server.wait(STOP_S)
        except subprocess.TimeoutExpired:
            print(f"  {self.contestant.name} does not stop within {STOP_S:g} s: killed", flush=True)
        psutil.wait_procs(started, timeout=1)
        end_descendants(self._before)
        for name in sessions:
            (SHARED_MEMORY / f"sm_{name}").unlink(missing_ok=True)
        self._load_log.close()
        self._server_log.close()


def end_descendants(kept: Collection[psutil.Process] = ()) -> None:
    """Kill what is left of what this process started; as a subreaper it inherits all of it.

    The children ``kept`` stay, with what they started.
    """
    while left := _started_since(kept):
        for process in left:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(left, timeout=1)


def _started_since(before: Collection[psutil.Process]) -> list[psutil.Process]:
    found = []
    for child in psutil.Process().children():
        if child not in before:
            with suppress(psutil.NoSuchProcess):
                found += [child, *child.children(recursive=True)]
    return found


@contextmanager
def running(contestant: Contestant) -> Iterator[Stack]:
    """Start the contestant in a directory of its own; both are gone afterwards, whatever happens."""
    # Not below TMPDIR: the paths of unix sockets must stay short.
    directory = Path(tempfile.mkdtemp(prefix="htagweb-bench-", dir="/tmp"))
    try:
        stack = Stack(contestant, directory)
        try:
            yield stack
            stack.ask("leave")
        finally:
            with _interrupts_later():
                stack.stop()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def _interrupts_later() -> Iterator[None]:
    """Have a second Ctrl-C wait until the cleaning is done."""
    masked = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, masked)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, masked)


def _role(process: psutil.Process) -> str:
    name, command = process.name(), " ".join(process.cmdline())
    for start, role in _ROLES:
        if name.startswith(start):
            return role
    for part, role in _COMMAND_ROLES:
        if part in command:
            return role
    return APP  # htagweb 1.0.0 and 0.60.3 fork it from the web worker, and it keeps that one's name


def _cpu_clock(pid: int) -> int:
    """Return the clock of a process's CPU time: all its threads, living and ended, in nanoseconds.

    What ``clock_getcpuclockid(3)`` does, which Python does not have. ``/proc`` has it in
    hundredths of a second, too coarse for an app that was clicked ten times.
    """
    return ~pid << 3 | 2


def _environment(directory: Path) -> dict[str, str]:
    """Return the environment of a user who has set nothing, and a place for the private stack."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HTAGWEB_", "PYTHON"))}
    return {**kept, **_SETTINGS, "XDG_RUNTIME_DIR": str(directory)}


def _free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port: int = server.getsockname()[1]
        return port


def _tail(path: str, size: int = 3000) -> str:
    return Path(path).read_text(errors="replace")[-size:]
