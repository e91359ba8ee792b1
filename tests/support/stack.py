"""A whole installation on this machine: broker, supervisors, web workers; any part can be killed."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import ClassVar

from tests.support.processes import APPS, BrokerServer, Process, listening_socket, python

PERMANENT_KEYS = {"htagweb:secret", "htagweb:spawn"}


class WebWorker:
    """One uvicorn process that serves ``tests/apps/site_for_tests.py``, on a port that outlives it."""

    def __init__(self, stack: Stack, number: int) -> None:
        self._stack = stack
        self._number = number
        self._socket: socket.socket = listening_socket()
        self.port: int = self._socket.getsockname()[1]
        self.base = f"http://127.0.0.1:{self.port}"
        self.process = self._start()

    def _start(self) -> Process:
        process = Process(
            f"web{self._number}",
            python("-m", "uvicorn", "--app-dir", str(APPS), "site_for_tests:app")
            + ["--fd", str(self._socket.fileno()), "--log-level", "info"],
            self._stack.directory / f"web{self._number}.log",
            self._stack.env,
            (self._socket.fileno(),),
        )
        process.wait_for("Application startup complete")
        return process

    def restart(self) -> None:
        """``kill -9`` it and start it again on the same port."""
        self.process.kill()
        self.process = self._start()

    def close(self) -> None:
        """End it."""
        self.process.popen.kill()
        self.process.popen.wait()
        self._socket.close()


class Stack:
    """Starts what a test asks for; ``close`` ends all."""

    open_ones: ClassVar[set[Stack]] = set()
    """Those whose processes are still to be there."""

    def __init__(
        self, directory: Path, kind: str = "valkey", *server_options: str, server: BrokerServer | None = None
    ) -> None:
        self.directory = directory
        self.server = server or BrokerServer(kind, directory, *server_options)
        self.server.start()
        self.env = {"HTAGWEB_REDIS_URL": self.server.url}
        self.supervisors: list[Process] = []
        self.workers: list[WebWorker] = []
        self.open_ones.add(self)

    def pids(self) -> set[int]:
        """Return the ids of the processes that it started last."""
        processes = [*self.supervisors, *(worker.process for worker in self.workers), self.server.process]
        return {process.pid for process in processes if process is not None}

    def add_supervisor(self, *options: str) -> Process:
        """Start a supervisor and wait until it is ready."""
        number = len(self.supervisors) + 1
        process = Process(
            f"supervisor{number}",
            python("-m", "htagweb.supervisor.cli", "--app-dir", str(APPS), "--app-dir", str(self.directory))
            + ["--name", f"s{number}", *options],
            self.directory / f"supervisor{number}.log",
            self.env,
        )
        self.supervisors.append(process)
        process.wait_for("is ready")
        return process

    def add_worker(self) -> WebWorker:
        """Start a web worker and wait until it serves."""
        worker = WebWorker(self, len(self.workers) + 1)
        self.workers.append(worker)
        return worker

    @property
    def supervisor(self) -> Process:
        """The supervisor that was started last."""
        return self.supervisors[-1]

    def logs(self) -> str:
        """Return all logs, for a failed test."""
        parts = [p for p in sorted(self.directory.glob("*.log"))]
        return "\n".join(f"== {p.name}\n{p.read_text(errors='replace')[-6000:]}" for p in parts)

    def close(self) -> None:
        """End all; fail when a key would have stayed for ever."""
        stuck = set(self.server.keys_without_ttl())
        for supervisor in self.supervisors:
            if supervisor.popen.poll() is None:
                supervisor.stop()
        stuck |= set(self.server.keys_without_ttl())
        stuck -= PERMANENT_KEYS
        for worker in self.workers:
            worker.close()
        self.server.stop()
        self.open_ones.discard(self)
        assert not stuck, f"keys without a TTL: {stuck}"
