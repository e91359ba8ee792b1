"""The guardian of a private stack: starts server and supervisor, and ends them with the web server.

It is one small process that waits: for its master's end, a signal, or the
death of a child, which it starts again. If it is killed itself, the kernel
kills its children (and they theirs).
"""

from __future__ import annotations

import argparse
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic

from htagweb.embedded import Directory, Master
from htagweb.host.process import die_with

SERVER_START_S = 20.0
SUPERVISOR_START_S = 30.0
RESTART_PAUSE_S = 1.0
TERM_GRACE_S = 5.0
DRAIN_S = 1.0
"""The web server is gone when the supervisor is told to stop: nobody waits for long answers."""


class Child:
    """A process that is started again when it dies."""

    def __init__(self, name: str, start: Callable[[], subprocess.Popen[bytes]]) -> None:
        self.name = name
        self._start = start
        self._process: subprocess.Popen[bytes] | None = None
        self.pidfd = -1

    def start(self) -> None:
        """Start it."""
        self._process = self._start()
        self.pidfd = os.pidfd_open(self._process.pid)

    def restart(self) -> None:
        """Reap it and start it anew."""
        assert self._process is not None
        code = self._process.wait()
        os.close(self.pidfd)
        print(f"htagweb: the private {self.name} ended ({code}), starting it again", file=sys.stderr)
        self.start()

    def stop(self) -> None:
        """End it, politely first."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(TERM_GRACE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Guardian:
    """One private stack."""

    def __init__(self, master: Master, server: str, app_dirs: Sequence[str]) -> None:
        self._master = master
        self._directory = Directory(master)
        self._children = [
            Child("broker", lambda: self._start_server(server)),
            Child("supervisor", lambda: self._start_supervisor(app_dirs)),
        ]

    def run(self, on_ready: Callable[[], None]) -> None:
        """Guard until the master is gone or a signal comes; then leave nothing behind."""
        wake_read, wake_write = os.pipe()
        os.set_blocking(wake_write, False)
        signal.set_wakeup_fd(wake_write)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: None)
        try:
            master_fd = os.pidfd_open(self._master.pid)
            if not self._master.is_alive:
                return
            for child in self._children:
                child.start()
            on_ready()
            self._watch({master_fd, wake_read})
        except ProcessLookupError:
            return  # the master is gone already
        finally:
            for child in reversed(self._children):
                child.stop()
            self._directory.remove()

    def _watch(self, ends: set[int]) -> None:
        while True:
            readable, _, _ = select.select([*ends, *(child.pidfd for child in self._children)], [], [])
            if ends & set(readable):
                return
            # A child that dies again and again must not keep the machine busy; an end still counts.
            if ends & set(select.select(list(ends), [], [], RESTART_PAUSE_S)[0]):
                return
            for child in self._children:
                if child.pidfd in readable:
                    child.restart()

    def _start_server(self, binary: str) -> subprocess.Popen[bytes]:
        path = self._directory.socket
        process = _start(
            [binary, "--port", "0", "--unixsocket", str(path), "--unixsocketperm", "600"]
            + ["--save", "", "--appendonly", "no", "--dir", str(self._directory.path)]
            + ["--loglevel", "warning", "--maxmemory-policy", "noeviction"]
        )
        deadline = monotonic() + SERVER_START_S
        while not _accepts(path):
            if process.poll() is not None or monotonic() > deadline:
                raise RuntimeError(f"{binary} does not serve (exit code {process.poll()})")
            select.select([], [], [], 0.01)
        return process

    def _start_supervisor(self, app_dirs: Sequence[str]) -> subprocess.Popen[bytes]:
        ready_read, ready_write = os.pipe()
        options = [part for path in app_dirs for part in ("--app-dir", path)]
        with os.fdopen(ready_read, "rb") as ready:
            process = _start(
                [sys.executable, "-m", "htagweb.supervisor.cli", "--redis-url", self._directory.url]
                + ["--drain-s", str(DRAIN_S), "--ready-fd", str(ready_write), *options],
                ready_write,
            )
            os.close(ready_write)
            readable, _, _ = select.select([ready], [], [], SUPERVISOR_START_S)
            if not readable or ready.readline() != b"ready\n":
                raise RuntimeError("the supervisor did not start, see its lines above")
        return process


def _start(command: list[str], *descriptors: int) -> subprocess.Popen[bytes]:
    guardian = os.getpid()
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
        pass_fds=descriptors,
        preexec_fn=lambda: die_with(guardian),  # noqa: PLW1509 - this process has one thread
    )


def _accepts(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        try:
            client.connect(str(path))
            client.sendall(b"PING\r\n")
            return client.recv(64).startswith(b"+PONG")
        except OSError:
            return False


def main(arguments: Sequence[str] | None = None) -> int:
    """Guard one stack (started by ``htagweb.embedded``, not by people)."""
    parser = argparse.ArgumentParser(prog="python -m htagweb.guardian", description=__doc__)
    parser.add_argument("--master", nargs=2, type=int, metavar=("PID", "STARTED"), required=True)
    parser.add_argument("--server", required=True)
    parser.add_argument("--app-dir", action="append", default=[])
    parser.add_argument("--ready-fd", type=int, required=True)
    options = parser.parse_args(arguments)
    master = Master(*options.master)
    with os.fdopen(options.ready_fd, "wb") as ready, Directory(master).locked("guardian.lock") as _:

        def tell_ready() -> None:
            ready.write(b"ready\n")
            ready.close()

        try:
            Guardian(master, options.server, options.app_dir).run(tell_ready)
        except RuntimeError as exc:
            print(f"htagweb: the private stack ends: {exc}", file=sys.stderr)
            if not ready.closed:
                ready.write(str(exc).encode())
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
