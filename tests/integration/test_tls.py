"""``rediss://``: the whole product over TLS, and no word to a server that is not the right one."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from htagweb_broker.connection import Client, Endpoint
from htagweb_broker.errors import BrokerUnavailable

from tests.support.guarded import GuardedServer
from tests.support.page import PageClient
from tests.support.servers import free_port
from tests.support.stack import Stack


def make_authority(directory: Path, name: str, address: str) -> Path:
    """Make an authority's certificate and one that it signed for an address; return the authority's."""
    directory.mkdir()
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    for command in (
        ["req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.crt", "-subj", f"/CN={name}"],
        ["req", "-x509", *key, "-CA", "ca.crt", "-CAkey", "ca.key", "-keyout", "server.key"]
        + ["-out", "server.crt", "-subj", "/CN=broker", "-addext", f"subjectAltName={address}"]
        + ["-addext", "basicConstraints=critical,CA:FALSE"],
    ):
        subprocess.run(["openssl", *command], cwd=directory, check=True, capture_output=True)
    return directory / "ca.crt"


class TlsServer(GuardedServer):
    """The system's Redis (the wheel's Valkey has no TLS) with TLS on its port."""

    def __init__(self, directory: Path, address: str = "IP:127.0.0.1") -> None:
        self.authority = make_authority(directory / "tls", "an authority", address)
        files = [str(directory / "tls" / name) for name in ("server.crt", "server.key")]
        port = free_port()
        options = ["--port", "0", "--tls-port", str(port), "--tls-auth-clients", "no"]
        options += ["--tls-cert-file", files[0], "--tls-key-file", files[1]]
        super().__init__("redis", directory, *options, port=port)

    def url_of(self, user: str) -> str:
        """Return the address with a user's password and the authority to trust."""
        plain = super().url_of(user).replace("redis://", "rediss://")
        return f"{plain}?ssl_ca_certs={self.authority}"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[TlsServer]:
    made = TlsServer(tmp_path)
    yield made
    made.stop()


async def test_a_page_is_used_over_tls(server: TlsServer) -> None:
    stack = Stack(server.path.parent, server=server)
    page = None
    try:
        stack.env = {"HTAGWEB_REDIS_URL": server.url_of("web")}
        stack.add_supervisor("--redis-url", server.url_of("supervisor"))
        page = PageClient(stack.add_worker().base)
        await page.open()
        await page.connect()
        assert "one" in str(await page.ask("run", "one"))
        assert server.denied() == []
    finally:
        if page is not None:
            await page.close()
        stack.close()


async def refused(url: str) -> str:
    """Return why a server is not talked to."""
    client = Client(Endpoint(url))
    with pytest.raises(BrokerUnavailable) as raised:
        await client.call("PING")
    client.close()
    return str(raised.value)


async def test_a_server_of_another_authority_is_not_talked_to(server: TlsServer, tmp_path: Path) -> None:
    server.start()
    other = make_authority(tmp_path / "other", "another authority", "IP:127.0.0.1")
    url = server.url_of("web").replace(str(server.authority), str(other))
    assert "CERTIFICATE_VERIFY_FAILED" in await refused(url)


async def test_without_an_authority_the_systems_are_asked(server: TlsServer) -> None:
    server.start()
    assert "CERTIFICATE_VERIFY_FAILED" in await refused(server.url_of("web").partition("?")[0])


async def test_a_certificate_for_another_name_is_refused(tmp_path: Path) -> None:
    server = TlsServer(tmp_path, "DNS:elsewhere.example")
    server.start()
    try:
        assert "not valid for '127.0.0.1'" in await refused(server.url_of("web"))
    finally:
        server.stop()


async def test_a_plain_connection_to_a_tls_port_fails_in_time(server: TlsServer) -> None:
    server.start()
    plain = server.url_of("web").replace("rediss://", "redis://").partition("?")[0]
    assert await refused(plain)
