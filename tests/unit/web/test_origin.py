"""Only pages of our own address and of allowed origins, and programs, may talk to apps."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import HTTPConnection

from htagweb.settings import SettingError, Settings
from htagweb.web.origin import ALLOWED, is_same_origin, origin_of, origins_in
from htagweb.web.service import WebService
from tests.support.fakes import FakeClock
from tests.unit.web.harness import APP, GENERATION, PAGE, Site, Socket


def connection(scheme: str = "http", allowed: str = "", **headers: str) -> HTTPConnection:
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    kind = "websocket" if scheme.startswith("ws") else "http"
    return HTTPConnection({"type": kind, "scheme": scheme, "headers": raw, ALLOWED: origins_in(allowed)})


@pytest.mark.parametrize(
    ("scheme", "host", "origin"),
    [
        ("https", "site.org", "https://site.org"),
        ("wss", "site.org", "https://site.org"),
        ("http", "site.org", "http://SITE.org"),
        ("ws", "site.org", "http://site.org"),
        ("ws", "Site.org:8000", "http://site.org:8000"),
        ("http", "[::1]:8000", "http://[::1]:8000"),
        ("http", "site.org:80", "http://site.org"),
        ("https", "site.org", "https://site.org:443"),
        ("wss", "[2001:DB8::0:1]", "https://[2001:db8::1]:443"),
    ],
)
def test_a_page_of_the_same_scheme_host_and_port_is_taken(scheme: str, host: str, origin: str) -> None:
    assert is_same_origin(connection(scheme, host=host, origin=origin))


@pytest.mark.parametrize(
    ("scheme", "host", "origin"),
    [
        ("https", "site.org", "https://evil.org"),
        ("https", "site.org", "https://site.org.evil.org"),
        ("https", "site.org", "https://evil.org/site.org"),
        ("https", "site.org", "https://site.org@evil.org"),
        ("https", "site.org", "https://evil.org@site.org"),
        ("https", "site.org", "https://site.org/"),
        ("http", "site.org:8000", "http://site.org:9000"),
        ("http", "site.org:8000", "http://site.org"),
        ("https", "site.org", "http://site.org"),
        ("wss", "site.org", "http://site.org"),
        ("http", "site.org", "https://site.org"),
        ("ws", "site.org", "https://site.org"),
        ("http", "site.org", "http://site.org:443"),
        ("http", "site.org", "ftp://site.org"),
        ("http", "site.org", "null"),
        ("http", "site.org", ""),
        ("http", "site.org", "site.org"),
        ("http", "", "http://"),
        ("http", "site.org", "http://site.org, http://site.org"),
        ("http", "[::1", "http://[::1"),
    ],
)
def test_a_page_of_another_address_is_not(scheme: str, host: str, origin: str) -> None:
    assert not is_same_origin(connection(scheme, host=host, origin=origin))


def test_a_program_sends_no_origin_and_is_taken() -> None:
    assert is_same_origin(connection(host="site.org"))


def test_a_proxy_that_does_not_tell_of_tls_is_named_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    is_same_origin(connection("ws", host="site.org", origin="https://site.org"))
    assert "X-Forwarded-Proto" in caplog.text
    assert "HTAGWEB_TRUSTED_PROXIES" in caplog.text


# Allowed origins


@pytest.mark.parametrize("origin", ["https://a.example", "HTTPS://A.example:443", "http://b.example:8000"])
def test_an_allowed_origin_is_taken(origin: str) -> None:
    allowed = "https://a.example, http://b.example:8000"
    assert is_same_origin(connection("wss", allowed, host="site.org", origin=origin))


@pytest.mark.parametrize(
    "origin", ["http://a.example", "https://b.a.example", "https://a.example:8000", "null"]
)
def test_what_only_looks_like_an_allowed_origin_is_not(origin: str) -> None:
    assert not is_same_origin(connection("wss", "https://a.example", host="site.org", origin=origin))


@pytest.mark.parametrize(
    "text",
    ["*", "a.example", "https://", "https://a.example/", "https://a.example/path", "https://*.a.example"]
    + ["null", "ws://a.example", "https://u@a.example", "https://a.example,", "https://a.example:port"],
)
def test_a_wrong_allowed_origin_is_an_error_at_the_start(text: str) -> None:
    with pytest.raises(SettingError, match=r"HTAGWEB_ALLOWED_ORIGINS\) holds origins as https://"):
        WebService(Settings(allowed_origins=text), FakeClock())


@pytest.mark.parametrize("text", ["", " "])
def test_no_allowed_origin_is_none(text: str) -> None:
    assert origins_in(text) == frozenset()


@given(st.text())
def test_no_text_breaks_the_check(text: str) -> None:
    assert origin_of(text) is None or text.lower().startswith(("http://", "https://"))
    headers = [(b"host", b"site.org"), (b"origin", text.encode("utf-8", "surrogatepass"))]
    is_same_origin(HTTPConnection({"type": "http", "scheme": "http", "headers": headers}))


# What the Runner makes of it


async def test_a_runner_takes_sockets_and_posts_of_allowed_origins(site: Site) -> None:
    site.service.allowed_origins = origins_in("https://a.example")
    site.own()
    socket = Socket(site, f"page={PAGE}&generation=9-{'0' * 8}&last=0", origin="https://a.example")
    await socket.serve()
    assert socket.status is None
    refused = Socket(site, f"page={PAGE}&generation={GENERATION}&last=0", origin="https://b.example")
    await refused.serve()
    assert refused.status == 403
    body = {"id": 1, "method": "m", "args": [], "kargs": {}, "event": {}}
    gone = {**body, "htagweb": {"generation": f"9-{'0' * 8}"}}
    assert (await site.post(gone, f"/_/{APP}", origin="https://a.example")).status_code == 200
    assert (await site.post(gone, f"/_/{APP}", origin="https://b.example")).status_code == 403


async def test_starlettes_cors_middleware_lets_another_origin_read_the_answer(site: Site) -> None:
    origin = "https://a.example"
    site.service.allowed_origins = origins_in(origin)
    site.runner.add_middleware(
        CORSMiddleware,
        allow_origins=[origin],
        allow_credentials=True,
        allow_methods=["GET", "POST"],
        allow_headers=["content-type"],
    )
    asked = {"access-control-request-method": "POST", "access-control-request-headers": "content-type"}
    preflight = await site.http.options(f"/_/{APP}", headers={"origin": origin, **asked})
    assert preflight.status_code == 200
    site.own()
    posted = await site.post({"id": 1, "htagweb": {"generation": f"9-{'0' * 8}"}}, origin=origin)
    for response in (preflight, posted):
        assert response.headers["access-control-allow-origin"] == origin
        assert response.headers["access-control-allow-credentials"] == "true"
