"""Every documented way to start a web server, on a free port, and what came with it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path

import httpx
import psutil

from htagweb.embedded import stack_directories
from tests.support.processes import APPS, Process, python
from tests.support.waiting import until

APP = "server_for_tests:app"
UVICORN = ["-m", "uvicorn", "--app-dir", str(APPS), APP, "--port", "{port}"]
GUNICORN = ["-m", "gunicorn", "--chdir", str(APPS), "-w", "4", "-b", "localhost:{port}", APP]
COMMANDS = {
    "run": [str(APPS / "hello_for_tests.py")],
    "uvicorn": UVICORN,
    "uvicorn --workers 4": [*UVICORN, "--workers", "4", "--loop", "uvloop"],
    "uvicorn --workers 4 --loop asyncio": [*UVICORN, "--workers", "4", "--loop", "asyncio"],
    "gunicorn": [*GUNICORN, "-k", "uvicorn_worker.UvicornWorker"],
    "gunicorn --preload": [*GUNICORN, "-k", "uvicorn_worker.UvicornWorker", "--preload"],
    # The loop of this one is asyncio's, of the other two uvloop.
    "gunicorn --preload, h11": [*GUNICORN, "-k", "uvicorn.workers.UvicornH11Worker", "--preload"],
}
END_S = 20


def free_port() -> int:
    """Return a port of loopback that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class WebServer:
    """A web server that a test started."""

    def __init__(self, command: Sequence[str], directory: Path, env: Mapping[str, str] | None = None) -> None:
        """Start it; ``{port}`` in the command, and PORT in its environment, is the port it is to take."""
        port = free_port()
        self.base = f"http://127.0.0.1:{port}"
        filled = [part.format(port=port) for part in command]
        env = {"PORT": str(port), "PYTHONPATH": str(APPS), **(env or {})}
        self.process = Process("server", python(*filled), directory / "server.log", env)
        self._pids = {self.process.pid}

    async def wait_until_it_serves(self) -> None:
        """Wait until a page can be had."""

        async def serves() -> bool:
            assert self.process.popen.poll() is None, self.process.text()
            try:
                return (await http.get(self.base, timeout=30)).status_code == 200
            except httpx.TransportError:
                return False

        async with httpx.AsyncClient() as http:
            await until(serves, f"the server serves (its log: {self.process.log})", 40)

    @property
    def directories(self) -> set[Path]:
        """The private stacks of its processes: their names hold whose they are."""
        self._pids |= {process.pid for process in self.process.descendants()}
        return {path for path in stack_directories() if int(path.name.split("-")[2]) in self._pids}

    def stack_processes(self) -> list[psutil.Process]:
        """Return the processes of its private stacks."""
        names = [str(path) for path in self.directories]
        found = []
        for process in psutil.process_iter(["cmdline"]):
            command = " ".join(process.info["cmdline"] or [])
            if any(name in command for name in names):
                found += [process, *process.children(recursive=True)]
        return found

    async def interrupt(self) -> None:
        """End it as a terminal does for Ctrl-C, and wait until nothing of it is left."""
        processes = [*self.stack_processes(), *self.process.descendants()]
        os.killpg(self.process.pid, signal.SIGINT)
        await asyncio.to_thread(self.process.popen.wait, END_S)
        await self.wait_until_nothing_is_left(processes)

    async def wait_until_nothing_is_left(self, processes: Sequence[psutil.Process]) -> None:
        """Wait until these processes have ended, and its private stacks' directories are gone."""
        await until(lambda: not any(p.is_running() for p in processes), "no process is left", END_S)
        await until(lambda: not self.directories, "no directory is left", END_S)

    def close(self) -> None:
        """End it however it is."""
        if self.process.popen.poll() is None:
            self.process.kill()
