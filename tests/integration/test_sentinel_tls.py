"""``rediss+sentinel://``: real Sentinels and servers that speak nothing but TLS, also with each other."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import websockets
from htagweb_broker.connection import Client
from htagweb_broker.errors import BrokerUnavailable
from htagweb_broker.sentinel import endpoint_of

from tests.integration.test_tls import make_authority
from tests.support.page import PageClient
from tests.support.processes import BrokerServer
from tests.support.sentinels import SentinelServers
from tests.support.stack import Stack
from tests.support.waiting import until

pytestmark = pytest.mark.timeout(120)
BACK_S = 30.0


class TlsSentinelServers(SentinelServers):
    """The system's Redis (the wheel's Valkey has no TLS), and no port without TLS."""

    def __init__(self, directory: Path) -> None:
        """Nothing is started yet."""
        self.authority = make_authority(directory / "tls", "an authority", "IP:127.0.0.1")
        super().__init__("redis", directory)
        self.servers = [
            BrokerServer("redis", server.path.parent, "--bind", "127.0.0.1", *self._options(port))
            for server, port in zip(self.servers, self._ports, strict=True)
        ]

    def _options(self, port: int) -> list[str]:
        tls = self.authority.parent
        given = {
            "port": 0,
            "tls-port": port,
            "tls-cert-file": tls / "server.crt",
            "tls-key-file": tls / "server.key",
            "tls-ca-cert-file": self.authority,
            "tls-auth-clients": "no",
            "tls-replication": "yes",
            "repl-diskless-sync-delay": 0,
        }
        return [word for name, value in given.items() for word in (f"--{name}", str(value))]

    def url_of(self, user: str) -> str:
        """Return the address, with the authority to trust."""
        return f"{super().url_of(user)}?ssl_ca_certs={self.authority}".replace("redis+", "rediss+")

    def sentinel_options(self, port: int) -> list[str]:
        """Return what has a Sentinel speak nothing but TLS."""
        return self._options(port)

    def address_of(self, port: int) -> str:
        """Return where one of them is asked, with the authority to trust."""
        return f"rediss://127.0.0.1:{port}?ssl_ca_certs={self.authority}"


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[TlsSentinelServers]:
    """Give a primary, a replica and three Sentinels; nothing is started yet."""
    made = TlsSentinelServers(tmp_path)
    yield made
    made.stop()


async def until_copied(servers: TlsSentinelServers) -> None:
    """Wait until the replica has what was written so far: a fail-over may lose the rest."""
    client = Client(endpoint_of(servers.url))
    assert await client.call("SET", "htagweb:last", "1", "PX", 1000) == b"OK"
    assert await client.call("WAIT", 1, 5000) == 1
    client.close()


async def has_answer(page: PageClient, number: int) -> bool:
    """Whether the page has the answer; it connects again while it is cut off, as a browser does."""
    if number not in page.answers and not page.is_connected:
        with contextlib.suppress(OSError, websockets.WebSocketException):
            await page.connect()
    return number in page.answers


async def test_a_click_during_a_fail_over_is_answered_by_the_next_primary_over_tls(
    servers: TlsSentinelServers,
    tmp_path: Path,
    new_page: Callable[[str], PageClient],
    request: pytest.FixtureRequest,
) -> None:
    stack = Stack(tmp_path, server=servers.face)
    try:
        stack.add_supervisor()
        page = new_page(stack.add_worker().base)
        await page.open()
        await page.connect()
        await page.ask("run", "before")
        await until_copied(servers)
        old = servers.kill()
        during = await page.click("run", "during")
        await until(lambda: servers.primary is not old, "another server is the primary", BACK_S)
        await until(lambda: has_answer(page, during), "it is answered", BACK_S)
        assert (page.gaps, page.ends, page.errors, page.reloads) == ([], [], [], 0)
        await page.open()
        assert re.findall(r'class="ran"[^>]*>(.*?)</', page.html)[0].split() == ["before", "during"]
    finally:
        stack.close()
        request.node.add_report_section("teardown", "logs", stack.logs())


async def test_sentinels_of_another_authority_are_not_talked_to(
    servers: TlsSentinelServers, tmp_path: Path
) -> None:
    await asyncio.to_thread(servers.start)
    other = make_authority(tmp_path / "other", "another authority", "IP:127.0.0.1")
    client = Client(endpoint_of(servers.url.replace(str(servers.authority), str(other))))
    with pytest.raises(BrokerUnavailable, match=r"no Sentinel of .* answers"):
        await client.call("PING")
    client.close()
    client = Client(endpoint_of(servers.url))
    assert await client.call("PING") == b"PONG"
    client.close()
