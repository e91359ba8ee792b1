"""A broker that fails over: real servers, real Sentinels; the primary is killed, or moved, under load."""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path

import httpx
import pytest
import websockets
from htagweb_broker.broker import WebBroker
from htagweb_broker.channels import GAP
from htagweb_broker.clock import SystemClock
from htagweb_broker.connection import Client
from htagweb_broker.errors import BrokerUnavailable
from htagweb_broker.sentinel import endpoint_of

from tests.support.brokers import KINDS, Bench, background, running_server
from tests.support.guarded import GuardedServer
from tests.support.page import PageClient
from tests.support.sentinels import SentinelServers
from tests.support.stack import Stack
from tests.support.waiting import until

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(params=KINDS)
def servers(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SentinelServers]:
    """Run a primary, a replica and three Sentinels of each kind."""
    made = SentinelServers(request.param, tmp_path)
    try:
        made.start()
        yield made
    finally:
        made.stop()


async def test_commands_go_to_the_primary_and_after_its_death_to_the_next(servers: SentinelServers) -> None:
    client = Client(endpoint_of(servers.url))
    assert await client.call("SET", "k", "v") == b"OK"
    await client.call("WAIT", 1, 1000)
    old = servers.kill()

    async def answers() -> bool:
        try:
            return bool(await client.call("GET", "k") == b"v")
        except BrokerUnavailable:
            await SystemClock().sleep(0.1)
            return False

    await until(answers, "the next primary answers", 30)
    assert servers.primary is not old
    assert await client.call("SET", "k", "w") == b"OK"
    client.close()


async def test_a_primary_that_nobody_could_tell_that_it_is_none_is_left(servers: SentinelServers) -> None:
    web = WebBroker(servers.url, "htagweb", "w1", SystemClock(), 3600)
    old = servers.primary
    async with background(web.channels.run), web.channels.follow("c") as follower:
        await web.ping()
        # It lives, but obeys its Sentinels no more: as one that is cut off from them, not from us.
        old.command("ACL SETUSER default -replicaof -slaveof -client|kill")
        servers.fail_over()
        await until(lambda: servers.primary is not old, "another server is the primary", 30)
        assert await follower.get() is GAP
        await until(lambda: servers.primary.command("PUBLISH c new") == b":1\r\n", "it is followed there")
        await web.ping()
        assert old.command("ROLE").startswith(b"*3\r\n$6\r\nmaster")
    web.close()


@pytest.mark.parametrize("kind", KINDS)
async def test_the_users_of_a_guarded_installation_may_all_that_a_fail_over_takes(
    kind: str, tmp_path: Path, new_page: Callable[[str], PageClient]
) -> None:
    servers = SentinelServers(kind, tmp_path, guarded=True)
    stack = Stack(tmp_path, server=servers.face)
    try:
        stack.env = {"HTAGWEB_REDIS_URL": servers.url_of("web")}
        stack.add_supervisor("--redis-url", servers.url_of("supervisor"))
        page = new_page(stack.add_worker().base)
        await page.open()
        await page.connect()
        await page.ask("run", 1)
        old = servers.primary
        servers.fail_over()
        await until(lambda: b"slave" in old.command("ROLE"), "primary and replica are exchanged", 30)
        servers.wait_until_safe()
        if not page.is_connected:
            await page.connect()
        await page.ask("run", 2)
        for server in servers.servers:
            assert isinstance(server, GuardedServer)
            assert server.denied() == []
    finally:
        stack.close()


class Clicker:
    """A page that clicks without a pause, and comes back as browsers do."""

    def __init__(self, page: PageClient) -> None:
        self.page = page
        self.clicked = 0
        self.given_up: list[int] = []
        """Clicks whose page was loaded anew before they were answered: it says so."""
        self.answered_at: list[float] = []
        self.stop = False

    async def run(self) -> None:
        """Click, wait for the answer, click."""
        await self.page.open()
        await self.page.connect()
        while not self.stop:
            self.clicked += 1
            number = await self.page.click("run", self.clicked)
            await until(partial(self._has, number), f"answer to click {number}", 45)
            self.answered_at.append(SystemClock().now())

    async def _has(self, number: int) -> bool:
        page = self.page
        if page.reloads or page.ends:  # it is loaded anew, and says what was not answered
            await page.disconnect()
            with contextlib.suppress(AssertionError, httpx.TransportError):
                await page.open()
                page.reloads, page.ends, page.sent = 0, [], 0
                page.waiting.clear()
                page.answers.clear()
                page.page = secrets.token_urlsafe(16)
                await page.connect()
                self.given_up.append(self.clicked)
                return True
            return False
        if number not in page.answers and not page.is_connected:
            with contextlib.suppress(OSError, websockets.WebSocketException):
                await page.connect()
        return number in page.answers

    def longest_wait_s(self) -> float:
        """Return the longest time between two answers."""
        return max(after - before for before, after in pairwise(self.answered_at))

    async def ran(self) -> list[int]:
        """Return what the app ran."""
        await self.page.open()
        found = re.findall(r'class="ran"[^>]*>(.*?)</', self.page.html)
        return [int(each) for each in found[0].split()]


@pytest.mark.parametrize("how", ["killed", "ordered"])
async def test_clicks_go_on_through_a_fail_over(
    how: str, tmp_path: Path, new_page: Callable[[str], PageClient], request: pytest.FixtureRequest
) -> None:
    servers = SentinelServers("valkey", tmp_path)
    stack = Stack(tmp_path, server=servers.face)
    try:
        stack.add_supervisor()
        clickers = [Clicker(new_page(stack.add_worker().base)) for _ in range(2)]
        async with asyncio.TaskGroup() as tasks:
            for clicker in clickers:
                tasks.create_task(clicker.run())
            await until(lambda: all(each.clicked > 20 for each in clickers), "pages click")
            old = servers.kill() if how == "killed" else servers.primary
            if how == "ordered":
                servers.fail_over()
                await until(lambda: b"slave" in old.command("ROLE"), "the old one follows", 30)
            await until(lambda: servers.primary is not old, "another server is the primary", 30)
            counts = [each.clicked for each in clickers]
            await until(lambda: _all_beyond(clickers, counts, 20), "pages click on", 60)
            for clicker in clickers:
                clicker.stop = True
        for clicker in clickers:
            ran = await clicker.ran()
            assert ran == sorted(set(ran)), "in order, each once"
            assert set(range(1, clicker.clicked + 1)) - set(ran) <= set(clicker.given_up)
            assert clicker.page.gaps == []
        print(f"{how}: longest wait for an answer", [f"{each.longest_wait_s():.2f} s" for each in clickers])
    finally:
        stack.close()
        request.node.add_report_section("teardown", "logs", stack.logs())


def _all_beyond(clickers: list[Clicker], counts: list[int], more: int) -> bool:
    return all(each.clicked > count + more for each, count in zip(clickers, counts, strict=True))


async def refused_as(url: str) -> str:
    """Claim an instance at a server that takes no writes; return what it says."""
    bench = Bench(url)
    try:
        with pytest.raises(BrokerUnavailable) as caught:
            await bench.claim("1-aa")
        return str(caught.value)
    finally:
        bench.close()


@pytest.mark.parametrize("kind", KINDS)
async def test_a_server_that_may_not_write_is_as_good_as_away(kind: str, tmp_path: Path) -> None:
    with running_server(kind, tmp_path / "server") as server:
        server.command("CONFIG SET min-replicas-to-write 1")
        assert (await refused_as(server.url)).startswith("NOREPLICAS")
        assert server.command("DBSIZE") == b":0\r\n"
        server.command("REPLICAOF 127.0.0.1 1")
        assert (await refused_as(server.url)).startswith("READONLY")
