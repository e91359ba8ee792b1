"""A Runner inside a larger application, under real web servers: served, restarted and ended."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.page import PageClient
from tests.support.processes import APPS
from tests.support.servers import WebServer
from tests.support.stack import Stack
from tests.support.waiting import until

NewPage = Callable[[str], PageClient]
Start = Callable[..., WebServer]
LOUD = re.compile(
    r"^(?!\d+:|.*was sent SIGINT!).*(Traceback|WARNING|ERROR|never awaited|was destroyed|Warning:)", re.M
)
"""What does not come from a server that ends cleanly, but for its broker's lines and gunicorn's of Ctrl-C."""


def uvicorn(application: str, *options: str) -> list[str]:
    """Return uvicorn's command for one of the applications."""
    module = f"mounted_for_tests:{application}"
    return ["-m", "uvicorn", "--app-dir", str(APPS), module, "--port", "{port}", *options]


def gunicorn(application: str) -> list[str]:
    """Return gunicorn's command for one of the applications, with two workers."""
    command = ["-m", "gunicorn", "--chdir", str(APPS), "-w", "2", "-b", "localhost:{port}"]
    return [*command, "-k", "uvicorn_worker.UvicornWorker", f"mounted_for_tests:{application}"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Give a function that starts a web server."""
    servers: list[WebServer] = []

    def make(command: list[str], env: dict[str, str] | None = None) -> WebServer:
        directory = tmp_path / f"server{len(servers)}"
        directory.mkdir()
        servers.append(WebServer(command, directory, env))
        return servers[-1]

    yield make
    for server in servers:
        server.close()


async def click(page: PageClient, path: str, text: str = "more") -> None:
    """Open a page, click over its socket and by POST, and find both on it again."""
    await page.open(path)
    before = page.html.count("<i")
    await page.connect()
    assert text in str(await page.ask("more"))
    assert (await page.post("more")).status_code == 200
    await page.disconnect()
    await page.open(path)
    assert page.html.count("<i") == before + 2


async def end_quietly(server: WebServer) -> None:
    """Interrupt the server; nothing is left, and its log has no warning."""
    await server.interrupt()
    assert not LOUD.search(server.process.text()), server.process.text()


@pytest.mark.parametrize(
    "command",
    [
        uvicorn("without_lifespan"),
        uvicorn("without_lifespan", "--loop", "asyncio"),
        uvicorn("without_lifespan", "--lifespan", "off"),
        gunicorn("without_lifespan"),
    ],
    ids=["uvloop", "asyncio", "lifespan off", "gunicorn"],
)
async def test_without_a_lifespan_a_private_stack_comes_with_the_first_request_and_ends_with_the_server(
    command: list[str], start: Start, new_page: NewPage
) -> None:
    server = start(command)
    await server.wait_until_it_serves()
    assert not server.directories
    await click(new_page(server.base), "/apps/")
    assert len(server.directories) == 1
    await end_quietly(server)


@pytest.mark.parametrize("application", ["with_lifespan", "fastapi"])
async def test_an_outer_application_runs_the_lifespan(
    application: str, start: Start, new_page: NewPage
) -> None:
    server = start(uvicorn(application))
    await server.wait_until_it_serves()
    assert len(server.directories) == 1
    await click(new_page(server.base), "/apps/")
    await end_quietly(server)


async def test_two_runners_share_stack_and_session(start: Start, new_page: NewPage) -> None:
    server = start(uvicorn("without_lifespan"))
    await server.wait_until_it_serves()
    page = new_page(server.base)
    await click(page, "/apps/")
    await click(page, "/others/")
    assert len(server.directories) == 1
    await page.http.get(f"{server.base}/apps/inner/remember?fruit=pear")
    assert "pear" in (await page.http.get(f"{server.base}/others/remember")).text
    await end_quietly(server)


async def test_an_endpoint_mounted_inside_the_runner_serves_the_same_app(
    start: Start, new_page: NewPage
) -> None:
    server = start(uvicorn("with_lifespan"))
    await server.wait_until_it_serves()
    await click(new_page(server.base), "/apps/inner/app")
    await end_quietly(server)


async def test_addresses_have_the_servers_root_path(start: Start, new_page: NewPage) -> None:
    server = start(uvicorn("with_lifespan", "--root-path", "/proxied"))
    await server.wait_until_it_serves()
    page = new_page(server.base)
    await page.open("/apps/")
    assert page.config["url"] == "/proxied/apps/_/server_for_tests.App"
    assert 'src="/proxied/apps/_/client.js?' in page.html
    page.config["url"] = page.config["url"].removeprefix("/proxied")  # as the proxy before the server does
    await page.connect()
    assert "more" in str(await page.ask("more"))
    await page.disconnect()
    await end_quietly(server)


async def test_a_page_that_comes_back_is_enough_to_start_the_service(
    make_stack: Callable[..., Stack], start: Start, new_page: NewPage
) -> None:
    stack = make_stack()
    stack.add_supervisor()
    servers = [start(uvicorn("without_lifespan"), stack.env) for _ in range(2)]
    for server in servers:
        await server.wait_until_it_serves()
    page = new_page(servers[0].base)
    await page.open("/apps/")
    await page.connect()
    await page.ask("more")
    await page.disconnect()
    await page.connect(servers[1].base)
    assert "more" in str(await page.ask("more"))
    await page.disconnect()
    for server in servers:
        assert not server.directories
        await end_quietly(server)


async def test_a_worker_is_ready_while_broker_and_supervisor_are_there(
    make_stack: Callable[..., Stack], start: Start
) -> None:
    stack = make_stack()
    server = start(uvicorn("with_lifespan"), stack.env | {"HTAGWEB_READY_GRACE_S": "4"})
    await server.wait_until_it_serves()
    async with httpx.AsyncClient(base_url=f"{server.base}/apps") as http:

        async def says(status: int, **state: object) -> bool:
            response = await http.get("/readyz")
            assert "set-cookie" not in response.headers
            return response.status_code == status and state.items() <= response.json().items()

        await until(lambda: says(503, ready=False, broker="ok", supervisors=0), "no supervisor yet")
        stack.add_supervisor()
        await until(lambda: says(200, broker="ok", supervisors=1, room=True, away_s=0.0), "it is ready")
        stack.server.kill()
        await until(lambda: says(200, broker="away"), "a short absence is told")
        await until(lambda: says(503, ready=False, broker="away"), "a long one flips it")
        assert (await http.get("/healthz")).json() == {"alive": True}
        assert (await http.head("/readyz")).status_code == 503
        stack.server.start()
        await until(lambda: says(200, broker="ok", supervisors=1), "it is back")


PROGRAM = """
import os
from htag import Tag
from htagweb import Runner
{extra}

class App(Tag.div):
    def init(self):
        self.add("hello", Tag.b(os.getpid(), _class="pid"))

    def more(self):
        self.add(Tag.i("more"))

Runner(App, "127.0.0.1", int(os.environ.get("PORT", "0"))).run()
"""


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (["-m", "project.deeper.site"], "project.deeper.site.App"),
        (["-m", "project"], "project.__main__.App"),
        (["project/deeper/script.py"], "project.deeper.script.App"),
        (["{directory}/elsewhere.py"], "elsewhere.App"),
    ],
    ids=["module", "package", "script below", "script elsewhere"],
)
async def test_an_app_of_the_program_that_is_run_is_found_by_its_process(
    command: list[str], name: str, tmp_path: Path, start: Start, new_page: NewPage
) -> None:
    package = tmp_path / "project" / "deeper"
    package.mkdir(parents=True)
    (package / "site.py").write_text(PROGRAM.format(extra="from project.deeper import neighbour"))
    (package / "script.py").write_text(PROGRAM.format(extra="import neighbour"))
    (package / "neighbour.py").write_text("")
    (tmp_path / "project" / "__main__.py").write_text(PROGRAM.format(extra=""))
    (tmp_path / "elsewhere.py").write_text(PROGRAM.format(extra=""))
    directory = str(package if "elsewhere" in name else tmp_path)
    arguments = [part.format(directory=tmp_path) for part in command]
    program = (
        "import os, sys; os.chdir(sys.argv[1]); os.execv(sys.executable, [sys.executable, *sys.argv[2:]])"
    )
    server = start(["-c", program, directory, *arguments], {"PYTHONPATH": ""})
    await server.wait_until_it_serves()
    page = new_page(server.base)
    await click(page, "/")
    assert page.config["url"] == f"/_/{name}"
    await end_quietly(server)
