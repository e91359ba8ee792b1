"""The address of a group of Sentinels: what is understood of it, and what is said of one that is wrong."""

import pytest
from htagweb_broker.connection import Endpoint
from htagweb_broker.errors import BrokerUnavailable
from htagweb_broker.sentinel import SentinelEndpoint, endpoint_of

from tests.unit.broker.fakes import FakeTransport, fake_raw

ADDRESS = "redis+sentinel://a:1,b,[::1]:3/shop"


def parsed(url: str) -> SentinelEndpoint:
    endpoint = endpoint_of(url)
    assert isinstance(endpoint, SentinelEndpoint)
    return endpoint


def test_every_sentinel_has_its_port() -> None:
    assert parsed(ADDRESS)._sentinels == [("a", 1), ("b", 26379), ("::1", 3)]


def test_the_service_and_the_database_are_the_path() -> None:
    endpoint = parsed(f"{ADDRESS}/2")
    assert (endpoint._service, endpoint._pool.connection_kwargs["db"]) == ("shop", 2)


def test_the_login_is_the_servers_and_the_sentinels_have_one_of_their_own() -> None:
    endpoint = parsed("redis+sentinel://web:p%40ss@a/shop?sentinel_username=s&sentinel_password=t%26u")
    options = endpoint._pool.connection_kwargs
    assert (options["username"], options["password"]) == ("web", "p@ss")
    options = endpoint._sentinel_options
    assert (options["username"], options["password"]) == ("s", "t&u")


def test_tls_and_its_authorities_are_for_servers_and_sentinels() -> None:
    endpoint = parsed("rediss+sentinel://a/shop?ssl_ca_certs=/ca.crt")
    assert endpoint._pool.connection_kwargs["ssl_ca_certs"] == "/ca.crt"
    assert endpoint._sentinel_options["ssl_ca_certs"] == "/ca.crt"
    assert endpoint._sentinel_options["ssl"]
    assert not parsed(ADDRESS)._sentinel_options["ssl"]


def test_other_addresses_are_of_one_server() -> None:
    assert type(endpoint_of("redis://a:1/0")) is Endpoint


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("redis+sentinel://a", "service"),
        ("redis+sentinel:///shop", "service"),
        ("redis+sentinel://a/shop/one", "service"),
        ("http+sentinel://a/shop", "service"),
        ("redis+sentinel://a:x/shop", "host:port"),
        ("redis+sentinel://a:70000/shop", "host:port"),
        ("redis+sentinel://a,,b/shop", "host:port"),
        ("redis+sentinel://a/shop?sentinel_pass=x", "sentinel_pass"),
    ],
)
def test_a_wrong_address_is_told_with_what_was_expected(url: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        endpoint_of(url)


def test_a_wrong_address_keeps_its_password_to_itself() -> None:
    with pytest.raises(ValueError, match="expected") as caught:
        endpoint_of("redis+sentinel://web:secret@a")
    assert "secret" not in str(caught.value)


def test_connections_to_another_server_than_the_primary_are_closed() -> None:
    endpoint = parsed(ADDRESS)
    transports = [FakeTransport(), FakeTransport()]
    raws = [fake_raw(transport) for transport in transports]
    for raw, port in zip(raws, (1, 2), strict=True):
        raw.host, raw.port = "m", port  # type: ignore[attr-defined]
        endpoint._opened.add(raw)
    endpoint._close_others(("m", 2))
    assert [transport.aborted for transport in transports] == [True, False]


async def test_sentinels_that_do_not_answer_are_named() -> None:
    with pytest.raises(BrokerUnavailable, match=r"127\.0\.0\.1:1, 127\.0\.0\.1:2 .* shop"):
        await parsed("redis+sentinel://127.0.0.1:1,127.0.0.1:2/shop").handshake()


async def test_without_an_answer_of_sentinels_nothing_is_closed() -> None:
    endpoint, transport = parsed("redis+sentinel://127.0.0.1:1/shop"), FakeTransport()
    raw = fake_raw(transport)
    raw.host, raw.port = "m", 1  # type: ignore[attr-defined]
    endpoint._opened.add(raw)
    await endpoint.confirm()
    assert not transport.aborted
