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
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import psutil

from benchmarks.contestants import ROOT, Contestant

SERVER = Path(__file__).parent / "apps" / "server.py"
STOP_S = 20.0
SHARED_MEMORY = Path("/dev/shm")
"""Where htagweb 1.0.0 keeps its sessions, one file each, ``sm_`` and the session's id."""
_SESSION = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
APP = "app process"
_ROLES = (
    ("htagweb-app", APP),
    ("htagweb-templ", "template"),
    ("valkey-server", "broker"),
    ("redis-server", "broker"),
)
_MODULE_ROLES = (
    ("htagweb.guardian", "guardian"),
    ("htagweb.supervisor.cli", "supervisor"),
    ("resource_tracker", "resource tracker"),
)


class BenchmarkError(Exception):
    """Raised when a contestant or the load does not do what it should; the message has what they wrote."""


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
        self._directory = directory
        port = _free_port()
        self._load_log = (directory / "load.log").open("w+")
        self._load = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.load", str(port)],
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
            [contestant.python, str(SERVER), str(port)],
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
        server = psutil.Process(self._server.pid)
        for process in [server, *server.children(recursive=True)]:
            info = process.memory_full_info()
            role = "web worker" if process == server else _role(process)
            found[role].append(Memory(info.uss, info.pss))
        return dict(found)

    def stop(self) -> None:
        """End it politely, then what is left of it; nothing stays."""
        started = psutil.Process().children(recursive=True)
        sessions = [path.name for path in self._directory.iterdir() if _SESSION.fullmatch(path.name)]
        self._load.kill()
        self._load.communicate()
        self._server.send_signal(signal.SIGTERM)
        try:
            self._server.wait(STOP_S)
        except subprocess.TimeoutExpired:
            print(f"  {self.contestant.name} does not stop within {STOP_S:g} s: killed", flush=True)
        psutil.wait_procs(started, timeout=1)
        end_descendants()
        for name in sessions:
            (SHARED_MEMORY / f"sm_{name}").unlink(missing_ok=True)
        self._load_log.close()
        self._server_log.close()


def end_descendants() -> None:
    """Kill whatever is left of what this process started; as a subreaper it inherits all of it."""
    while left := psutil.Process().children(recursive=True):
        for process in left:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(left, timeout=1)


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
    for part, role in _MODULE_ROLES:
        if part in command:
            return role
    return APP  # htagweb 1.0.0 forks it from the web worker, and it keeps that one's name


def _environment(directory: Path) -> dict[str, str]:
    """Return the environment of a user who has set nothing, and a place for the private stack."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HTAGWEB_", "PYTHON"))}
    return {**kept, "XDG_RUNTIME_DIR": str(directory)}


def _free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port: int = server.getsockname()[1]
        return port


def _tail(path: str, size: int = 3000) -> str:
    return Path(path).read_text(errors="replace")[-size:]
