"""docker-compose.yml as people run it: ``docker compose up --scale web=3 --scale supervisor=2``."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import ssl
from collections.abc import Callable

import httpx
import pytest
import websockets

from tests.hosts.compose import Container, Project
from tests.hosts.network import Network, leftovers
from tests.support.page import PageClient
from tests.support.waiting import until, until_sync

# The first test of a run builds the image as well.
pytestmark = pytest.mark.timeout(300)

NewPage = Callable[[str], PageClient]

PATIENCE_S = 60.0
"""For a page whose web worker's host is gone without a word, on a busy machine: it is not what is tested."""


def base(project: Project) -> str:
    """Return the address at which the proxy serves."""
    return f"http://{project.of('proxy')[0].host.address}"


async def opened(project: Project, new_page: NewPage) -> PageClient:
    """Return a page that is open and connected, through the proxy."""
    page = new_page(base(project))

    async def is_served() -> bool:
        try:
            # As a browser: the page that says what is missing comes again by itself.
            return (await page.http.get(page.base)).status_code == 200
        except httpx.TransportError:
            return False

    await until(is_served, "the proxy serves")
    await page.open()
    await page.connect()
    return page


async def test_a_page_is_opened_clicked_and_updated_through_the_proxy(
    project: Project, new_page: NewPage
) -> None:
    page = await opened(project, new_page)
    assert "one" in str(await page.ask("run", "one"))
    await page.ask("tick", 3)
    await until(lambda: any("ticks" in str(action) for action in page.actions), "updates come by themselves")
    await page.ask("remember", "n", 1)
    assert (await page.http.get(f"{page.base}/session")).json() == {"n": 1}
    assert page.gaps == []


async def test_a_page_lives_on_whichever_containers_of_web_workers_are_killed(
    project: Project, new_page: NewPage
) -> None:
    page = await opened(project, new_page)
    for number in range(3):
        await page.answer(await page.click("run", number), PATIENCE_S)
        # One after the other, so the page's own is among them; each is replaced by a new one.
        await asyncio.to_thread(project.take_away, project.of("web")[0])
        successor = await asyncio.to_thread(project.add, "web")
        await asyncio.to_thread(successor.wait_until_healthy)
    assert "0 1 2 last" in str(await page.answer(await page.click("run", "last"), PATIENCE_S))
    assert page.gaps == []
    assert page.ends == []


async def test_a_supervisor_that_is_stopped_drains_within_its_grace_and_another_takes_over(
    project: Project, new_page: NewPage
) -> None:
    page = await opened(project, new_page)
    await page.ask("remember", "n", 7)
    running = json.loads(await asyncio.to_thread(operate, project, "ps", "--json"))
    (host,) = [app["host"] for app in running if app["generation"] == page.config["generation"]]
    (owner,) = [container for container in project.of("supervisor") if container.host.name == host]
    assert await asyncio.to_thread(owner.stop) == 0
    await until(lambda: page.ends, "the page hears of its end")
    assert page.ends[0]["reason"] == "drained"
    await page.open()
    await page.disconnect()
    page.ends.clear()
    await page.connect()
    assert "n=7" in str(await page.ask("recall", "n"))
    await asyncio.to_thread(project.take_away, owner)
    await asyncio.to_thread(project.add("supervisor").wait_until_healthy)


async def test_a_restarted_broker_brings_sessions_and_apps_back(project: Project, new_page: NewPage) -> None:
    page = await opened(project, new_page)
    await page.ask("remember", "n", 3)
    await page.ask("run", "before")
    broker = project.of("valkey")[0]
    assert await asyncio.to_thread(broker.stop) == 0
    await asyncio.to_thread(project.take_away, broker)
    number = await page.click("run", "meanwhile")
    # At another address: its name is what counts.
    await asyncio.to_thread(project.add("valkey").wait_until_healthy)
    assert "before meanwhile" in str(await page.answer(number, 30))
    assert (await page.http.get(f"{page.base}/session")).json()["n"] == 3


def operate(project: Project, *command: str) -> str:
    """Return what ``docker compose run --rm operator`` prints."""
    container = project.add("operator", *command)
    try:
        assert container.popen.wait(30) == 0, container.text()
        return container.text()
    finally:
        project.take_away(container)


async def test_an_operator_sees_apps_and_supervisors(project: Project, new_page: NewPage) -> None:
    await opened(project, new_page)
    assert "site_for_tests.Audit" in await asyncio.to_thread(operate, project, "ps")
    listing = await asyncio.to_thread(operate, project, "supervisors")
    assert all(container.host.name in listing for container in project.of("supervisor"))


@pytest.mark.parametrize("service", ["web", "supervisor"])
def test_a_container_has_no_rights_that_it_does_not_need(project: Project, service: str) -> None:
    container = project.of(service)[0]
    assert container.execute("id", "-u").stdout.strip() == "10001"
    status = container.execute("cat", "/proc/self/status").stdout
    assert re.search(r"NoNewPrivs:\s+1", status)
    assert re.search(r"CapBnd:\s+0+\n", status)
    for path in ("/app/x", "/opt/htagweb/x", "/usr/local/bin/x"):
        assert "Read-only file system" in container.execute("touch", path).stderr
    assert container.execute("touch", "/tmp/x").returncode == 0


def test_a_container_has_its_own_secrets_and_no_other(project: Project) -> None:
    listings = {
        service: project.of(service)[0].execute("ls", "/run/secrets").stdout.split()
        for service in ("web", "supervisor", "valkey")
    }
    urls = ["operator_redis_url", "supervisor_redis_url", "web_redis_url"]
    assert listings["web"] == ["cookie_secret", "web_redis_url"]
    assert listings["supervisor"] == ["supervisor_redis_url"]
    assert listings["valkey"] == urls


def has_heartbeat(project: Project, supervisor: Container) -> bool:
    """Return whether an operator sees the supervisor."""
    return supervisor.host.name in [
        found["host"] for found in json.loads(operate(project, "supervisors", "--json"))
    ]


def test_a_supervisor_is_healthy_while_the_broker_is_away_and_not_when_it_hangs(project: Project) -> None:
    supervisor = project.of("supervisor")[0]
    project.of("valkey")[0].host.unplug()
    try:
        assert supervisor.is_healthy()
    finally:
        project.of("valkey")[0].host.plug()
    # Heartbeats ran out meanwhile: only one that is there can be missed.
    until_sync(lambda: has_heartbeat(project, supervisor), "it beats again", 30)
    assert supervisor.is_healthy()
    supervisor.popen.send_signal(signal.SIGSTOP)
    try:
        until_sync(lambda: not has_heartbeat(project, supervisor), "its heartbeat is missed", 30)
        assert not supervisor.is_healthy()
    finally:
        supervisor.popen.send_signal(signal.SIGCONT)
    until_sync(lambda: has_heartbeat(project, supervisor), "it beats again", 30)
    assert supervisor.is_healthy()


async def test_the_proxy_speaks_tls_by_itself_and_the_cookie_is_for_tls_alone(project: Project) -> None:
    proxy = await asyncio.to_thread(lambda: project.add("proxy", HTAGWEB_SITE="localhost"))
    authority = project.directory / "volumes/certificates/caddy/pki/authorities/local/root.crt"
    try:
        await until(lambda: authority.exists() and authority.stat().st_size > 0, "Caddy made its authority")
        context = ssl.create_default_context(cafile=str(authority))
        async with httpx.AsyncClient(verify=context) as http:

            async def answer() -> httpx.Response | None:
                try:
                    return await http.get(
                        f"https://{proxy.host.address}/",
                        headers={"Host": "localhost"},
                        extensions={"sni_hostname": "localhost"},
                    )
                except httpx.TransportError:
                    return None

            response: httpx.Response = await until(answer, "the proxy serves")
            assert response.status_code == 200
            cookie = response.headers["set-cookie"]
        assert cookie.startswith("__Host-")
        assert "secure" in cookie.lower()
        found = re.search(r'"generation": ?"([^"]+)"', response.text)
        assert found
        async with websockets.connect(
            f"wss://localhost/_/site_for_tests.Audit?page=page-over-tls&generation={found[1]}&last=0",
            host=proxy.host.address,
            ssl=context,
            additional_headers={"Cookie": cookie.partition(";")[0], "Origin": "https://localhost"},
        ) as socket:
            assert "ready" in str(await asyncio.wait_for(socket.recv(), 10))
    finally:
        await asyncio.to_thread(project.take_away, proxy)


# The test's own tools


def test_a_network_leaves_nothing() -> None:
    network = Network()
    host = network.add_host()
    assert leftovers()
    network.remove_host(host)
    network.add_host()
    network.remove()
    assert [name for name in leftovers() if name.startswith(network.name)] == []
