"""What proxies say of a request counts when they are trusted, and only then."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import HTTPConnection

from htagweb.settings import SettingError, Settings
from htagweb.web.proxies import Proxies, ProxyMiddleware
from htagweb.web.service import WebService
from tests.support.fakes import FakeClock

PROXY, VISITOR, STRANGER = "10.0.0.1", "203.0.113.9", "198.51.100.4"
TRUSTED = "127.0.0.1,::1,10.0.0.0/24,2001:db8::/32"


async def seen(
    peer: Any, *headers: tuple[str, str], kind: str = "http", trusted: str = TRUSTED, again: bool = False
) -> HTTPConnection:
    """Return the request as the application sees it."""
    caught: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        caught.append(scope)

    raw = [(b"host", b"inside:8000"), *((name.encode(), value.encode()) for name, value in headers)]
    scheme = {"http": "http", "websocket": "ws"}[kind]
    scope = {"type": kind, "scheme": scheme, "path": "/", "query_string": b"", "headers": raw}
    if peer is not None:
        scope["client"] = (peer, 4711) if isinstance(peer, str) else peer
    proxies = Proxies(trusted)
    served: Any = ProxyMiddleware(app, proxies)
    outermost: Any = ProxyMiddleware(served, proxies) if again else served
    await outermost(scope, None, None)
    return HTTPConnection(caught[0])


def forwarded(**values: str) -> list[tuple[str, str]]:
    return [(f"x-forwarded-{name}", value) for name, value in values.items()]


ALL = forwarded(proto="https", host="site.org", **{"for": VISITOR})


@pytest.mark.parametrize("peer", [PROXY, "127.0.0.1", "::1", "::ffff:10.0.0.1", "2001:db8::7", None])
async def test_a_trusted_peers_word_counts(peer: str | None) -> None:
    request = await seen(peer, *ALL)
    assert str(request.url) == "https://site.org/"
    assert request.client is not None
    assert request.client.host == VISITOR


@pytest.mark.parametrize("peer", [STRANGER, "10.0.1.1", "2001:db9::7", "testclient", "", "10.0.0.1.evil.org"])
async def test_a_strangers_word_does_not(peer: str) -> None:
    request = await seen(peer, *ALL)
    assert str(request.url) == "http://inside:8000/"
    assert request.client == (peer, 4711)


async def test_a_request_without_such_headers_stays_as_it_is() -> None:
    request = await seen(PROXY)
    assert str(request.url) == "http://inside:8000/"
    assert request.client == (PROXY, 4711)


@pytest.mark.parametrize("proto", ["https", "wss", "HTTPS", "http, https", " https "])
@pytest.mark.parametrize(("kind", "scheme"), [("http", "https"), ("websocket", "wss")])
async def test_the_scheme_is_that_of_the_kind_of_connection(proto: str, kind: str, scheme: str) -> None:
    assert (await seen(PROXY, *forwarded(proto=proto), kind=kind)).scope["scheme"] == scheme


@pytest.mark.parametrize("proto", ["", "ftp", "https;", "https, ftp"])
async def test_a_scheme_that_is_none_counts_for_nothing(proto: str) -> None:
    assert (await seen(PROXY, *forwarded(proto=proto))).scope["scheme"] == "http"


@pytest.mark.parametrize(
    ("lines", "visitor"),
    [
        ([VISITOR], VISITOR),
        ([f"{STRANGER}, {VISITOR}"], VISITOR),
        ([STRANGER, VISITOR], VISITOR),
        ([f"{VISITOR}, 10.0.0.2"], VISITOR),
        ([f"10.0.0.3, {VISITOR}, 10.0.0.2"], VISITOR),
        (["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ([f"{VISITOR}:5000"], VISITOR),
        (["[2001:db9::1]:5000"], "2001:db9::1"),
        (["2001:db9::1"], "2001:db9::1"),
        ([f"::ffff:{VISITOR}"], VISITOR),
        (["unknown"], PROXY),
        ([f"{VISITOR}, unknown"], PROXY),
        (["unknown, 10.0.0.2"], "10.0.0.2"),
        ([""], PROXY),
    ],
)
async def test_the_visitor_is_the_last_address_that_is_no_proxy(lines: Sequence[str], visitor: str) -> None:
    request = await seen(PROXY, *(("x-forwarded-for", line) for line in lines))
    assert request.client is not None
    assert request.client.host == visitor


async def test_the_host_header_itself_is_replaced_so_that_every_reader_agrees() -> None:
    request = await seen(PROXY, *forwarded(host="site.org:8443"))
    assert request.headers.getlist("host") == ["site.org:8443"]
    assert request.url.netloc == "site.org:8443"


async def test_of_several_hosts_the_nearest_proxys_counts() -> None:
    request = await seen(PROXY, *forwarded(host="evil.org, site.org"))
    assert request.headers["host"] == "site.org"


@pytest.mark.parametrize(
    "host", ["", "a b", "site.org/path", "u@site.org", "site.org:port", "<x>", "[::1", "é"]
)
async def test_a_host_that_is_none_counts_for_nothing(host: str) -> None:
    assert (await seen(PROXY, *forwarded(host=host))).headers["host"] == "inside:8000"


# A web server that has believed the proxy already: the client is the visitor by now


@pytest.mark.parametrize("told", [VISITOR, f"{STRANGER}, {VISITOR}", f"{VISITOR}, {PROXY}"])
async def test_the_host_counts_when_the_web_server_took_the_visitor_out_of_the_header(told: str) -> None:
    request = await seen((VISITOR, 0), *forwarded(host="site.org", **{"for": told}))
    assert request.headers["host"] == "site.org"
    assert request.client == (VISITOR, 0)


async def test_the_visitors_port_may_be_in_the_header_too() -> None:
    request = await seen((VISITOR, 5000), *forwarded(host="site.org", **{"for": f"{VISITOR}:5000"}))
    assert request.headers["host"] == "site.org"


async def test_a_peer_that_only_names_itself_is_a_stranger() -> None:
    request = await seen(VISITOR, *forwarded(proto="https", host="site.org", **{"for": VISITOR}))
    assert str(request.url) == "http://inside:8000/"


async def test_a_proxy_that_the_web_server_does_not_know_is_passed_by() -> None:
    request = await seen((PROXY, 0), *forwarded(host="site.org", **{"for": f"{VISITOR}, {PROXY}"}))
    assert request.client == (VISITOR, 0)
    assert request.headers["host"] == "site.org"


@pytest.mark.parametrize("peer", [PROXY, STRANGER, None])
async def test_a_runner_in_a_runner_sees_the_same(peer: str | None) -> None:
    once, twice = await seen(peer, *ALL), await seen(peer, *ALL, again=True)
    assert (once.url, once.client, once.headers) == (twice.url, twice.client, twice.headers)


async def test_the_outer_applications_scope_is_left_alone() -> None:
    scope = {"type": "http", "scheme": "http", "headers": [(b"x-forwarded-proto", b"https")], "client": None}
    before = dict(scope)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["scheme"] == "https"

    await ProxyMiddleware(app, Proxies(""))(scope, None, None)  # type: ignore[arg-type]
    assert scope == before


async def test_a_lifespan_passes() -> None:
    reached: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        reached.append(scope["type"])

    await ProxyMiddleware(app, Proxies(""))({"type": "lifespan"}, None, None)  # type: ignore[arg-type]
    assert reached == ["lifespan"]


@given(st.text(), st.text(), st.text())
async def test_no_header_breaks_a_request(proto: str, host: str, chain: str) -> None:
    raw = [
        (name, value.encode("utf-8", "surrogatepass").decode("latin-1"))
        for name, value in forwarded(proto=proto, host=host, **{"for": chain})
    ]
    request = await seen(PROXY, *raw)
    assert request.scope["scheme"] in ("http", "https")
    assert request.url.hostname


# The setting


@pytest.mark.parametrize("text", ["*", "localhost", "10.0.0.1/8", "10.0.0.0/33", "127.0.0.1,,::1", "10.0.0"])
def test_a_wrong_proxy_is_an_error_at_the_start_that_names_it(text: str) -> None:
    with pytest.raises(SettingError, match=r"HTAGWEB_TRUSTED_PROXIES\) holds addresses and networks as"):
        WebService(Settings(trusted_proxies=text), FakeClock())


def test_the_default_trusts_this_machine_alone() -> None:
    proxies = WebService(Settings(), FakeClock()).proxies
    assert [proxies.trusts(host) for host in ("127.0.0.1", "::1", "127.0.0.2", PROXY)] == [
        True,
        True,
        False,
        False,
    ]


async def test_of_a_long_header_only_the_end_is_looked_at() -> None:
    chain = ",".join([VISITOR, *[PROXY] * 5_000])
    request = await seen(PROXY, *forwarded(**{"for": chain}))
    assert request.client is not None
    assert request.client.host == PROXY
