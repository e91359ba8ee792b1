"""Programs on hosts: started again whenever they end, as a service manager does."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

import psutil
from htagweb_broker.clock import SystemClock

from tests.hosts.network import Host
from tests.support.processes import ROOT, clean_environment

RESTART_S = 0.5
WATCH_S = 0.1
START_S = 40.0


@dataclass(frozen=True, slots=True)
class Ending:
    """How and when a program ended that nobody had stopped for good."""

    code: str
    at: float
    started_at: float


class Program:
    """One program on a host; it is started again when it ends, as a service manager does."""

    def __init__(
        self, name: str, host: Host, command: list[str], directory: Path, env: dict[str, str]
    ) -> None:
        self.name = name
        self.host = host
        self.log = directory / f"{name}.log"
        self.endings: list[Ending] = []
        self.started_at = 0.0
        self.popen: subprocess.Popen[bytes] | None = None
        self._env = env
        named = ["unshare", "--uts", "sh", "-c", 'hostname "$0" && exec "$@"', name]
        self._command = host.inside(*named, *command)

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self.popen is not None
        return self.popen.pid

    @property
    def lives(self) -> bool:
        """Whether it runs."""
        return self.popen is not None and self.popen.poll() is None

    def start(self) -> None:
        """Start it."""
        with self.log.open("ab") as output:
            self.popen = subprocess.Popen(
                self._command,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**clean_environment(), **self._env},
                start_new_session=True,
            )

    def send(self, number: signal.Signals) -> bool:
        """Send it a signal; return False where it does not live."""
        if not self.lives:
            return False
        os.kill(self.pid, number)
        return True

    def children(self) -> list[psutil.Process]:
        """Return its living children."""
        try:
            found: list[psutil.Process] = psutil.Process(self.pid).children()
        except psutil.NoSuchProcess:
            return []
        return [child for child in found if child.is_running()]

    async def keep(self, clock: SystemClock) -> None:
        """Start it again whenever it ends, until cancelled."""
        while True:
            await clock.sleep(WATCH_S)
            if not self.lives:
                assert self.popen is not None
                self.endings.append(Ending(str(self.popen.returncode), clock.now(), self.started_at))
                await clock.sleep(RESTART_S)
                self.started_at = clock.now()
                await asyncio.to_thread(self.start)


async def wait_for_port(clock: SystemClock, address: str, port: int) -> None:
    """Wait until something listens there."""
    async with asyncio.timeout(START_S):
        while True:
            try:
                _, writer = await asyncio.open_connection(address, port)
            except OSError:
                await clock.sleep(WATCH_S)
            else:
                writer.close()
                return
