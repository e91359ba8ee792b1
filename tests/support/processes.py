"""Real processes for tests: started, watched by their log, ended by id, none left behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import redis

from tests.support.requirements import server_binary
from tests.support.waiting import until_sync

ROOT = Path(__file__).parents[2]
APPS = ROOT / "tests" / "apps"


class Process:
    """One process and its log."""

    def __init__(
        self,
        name: str,
        command: list[str],
        log: Path,
        env: dict[str, str] | None = None,
        fds: tuple[int, ...] = (),
    ) -> None:
        """Start it in a session of its own."""
        self.name = name
        self.log = log
        with log.open("ab") as output:
            self.popen = subprocess.Popen(
                command,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**clean_environment(), **(env or {})},
                pass_fds=fds,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.popen.pid

    def text(self) -> str:
        """Return what it wrote so far."""
        return self.log.read_text(errors="replace")

    def wait_for(self, text: str, timeout_s: float = 30.0) -> None:
        """Wait until it wrote the text."""
        until_sync(
            lambda: text in self.text() or (self.popen.poll() is not None and self._failed(text)),
            f"{self.name} writes {text!r}",
            timeout_s,
        )

    def _failed(self, text: str) -> bool:
        raise AssertionError(f"{self.name} ended before it wrote {text!r}:\n{self.text()}")

    def descendants(self) -> list[psutil.Process]:
        """Return its living descendants."""
        try:
            found: list[psutil.Process] = psutil.Process(self.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []
        return found

    def kill(self) -> None:
        """``kill -9`` it and reap it."""
        self.popen.kill()
        self.popen.wait()

    def stop(self, timeout_s: float = 30.0) -> int:
        """Tell it to end (TERM) and return its exit code."""
        if self.popen.poll() is None:
            self.popen.send_signal(signal.SIGTERM)
        return self.popen.wait(timeout_s)


def clean_environment() -> dict[str, str]:
    """Return the environment without settings of ours."""
    return {k: v for k, v in os.environ.items() if not k.startswith("HTAGWEB_")}


class BrokerServer:
    """A real server on a unix socket in a directory of the test."""

    def __init__(self, kind: str, directory: Path, *options: str) -> None:
        self.kind = kind
        self.path = directory / "broker.sock"
        self.url = f"unix://{self.path}"
        self._command = [server_binary(kind), "--port", "0", "--unixsocket", str(self.path)]
        self._command += ["--save", "", "--dir", str(directory), *options]
        self._log = directory / "broker.log"
        self.process: Process | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        self.process = Process(self.kind, self._command, self._log)
        until_sync(lambda: self.command("PING") == b"+PONG\r\n", f"{self.kind} answers", 20)

    def command(self, text: str) -> bytes:
        """Send one inline command; return the first bytes of the answer, none when it does not answer."""
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(2)
            try:
                client.connect(str(self.path))
                client.sendall(text.encode() + b"\r\n")
                return client.recv(65536)
            except OSError:
                return b""

    def keys_without_ttl(self) -> list[str]:
        """Return the keys that never expire."""
        with redis.Redis(unix_socket_path=str(self.path), decode_responses=True) as client:
            return [key for key in client.scan_iter(count=1000) if client.pttl(key) == -1]

    def kill(self) -> None:
        """``kill -9`` it."""
        assert self.process is not None
        self.process.kill()

    def stop(self) -> None:
        """End it."""
        if self.process is not None and self.process.popen.poll() is None:
            self.process.popen.kill()
            self.process.popen.wait()


def python(*arguments: str) -> list[str]:
    """Return the command of a Python program."""
    return [sys.executable, *arguments]


def listening_socket() -> socket.socket:
    """Return a socket that listens on a free port of loopback; a child inherits it."""
    server = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    server.bind(("127.0.0.1", 0))
    server.listen(1024)
    server.set_inheritable(True)
    return server
