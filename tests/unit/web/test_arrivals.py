"""New sessions, only so many a second from one address."""

import httpx
import pytest
from htagweb_broker import BrokerUnavailable, SessionData
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, Response

from htagweb.settings import Settings
from htagweb.web.arrivals import TooManyArrivals, address_of, admit
from htagweb.web.cookies import Signer
from htagweb.web.proxies import Proxies
from htagweb.web.sessions import admitted
from tests.unit.web.harness import Site

VISITOR = "203.0.113.9"


def connection(host: str | None) -> HTTPConnection:
    return HTTPConnection({"type": "http", "headers": [], "client": host and (host, 1)})


@pytest.fixture
def crowded(site: Site) -> Site:
    """Give a Runner that lets two new sessions a second in, and endpoints that write and that do not."""
    site.service.settings = Settings(secret="secret", max_new_sessions_per_s=2)
    site.http = httpx.AsyncClient(
        transport=httpx.ASGITransport(site.runner, client=(VISITOR, 1)), base_url="http://site"
    )
    site.endpoint("/set", lambda request: request.session.update(a=1))
    site.endpoint("/show", lambda request: None)
    return site


async def new_visitor(site: Site, path: str) -> httpx.Response:
    site.http.cookies.clear()
    return await site.http.get(path)


async def test_past_the_limit_a_page_waits_and_comes_in_by_itself(crowded: Site) -> None:
    statuses = [(await new_visitor(crowded, "/set")).status_code for _ in range(3)]
    assert statuses == [200, 200, 503]
    refused = await new_visitor(crowded, "/set")
    assert refused.headers["retry-after"] == "3"
    assert "Many visitors" in refused.text
    assert "tries again by itself" in refused.text
    assert "set-cookie" not in refused.headers


async def test_who_is_refused_leaves_nothing_in_the_broker(crowded: Site) -> None:
    for _ in range(4):
        await new_visitor(crowded, "/set")
    assert len(crowded.broker.of("write")) == 2


async def test_a_request_that_keeps_nothing_is_not_counted(crowded: Site) -> None:
    assert {(await new_visitor(crowded, "/show")).status_code for _ in range(5)} == {200}
    assert crowded.broker.of("arrive") == []


async def test_who_has_a_session_is_not_counted(crowded: Site) -> None:
    crowded.broker.sessions_data[crowded.instance.session] = SessionData({}, "v")
    assert {(await crowded.get("/set")).status_code for _ in range(5)} == {200}
    assert crowded.broker.of("arrive") == []


async def test_an_app_is_refused_before_anything_is_asked_of_a_supervisor(crowded: Site) -> None:
    async def open_app(request: Request) -> Response:
        await admitted(crowded.service, request)
        return JSONResponse("opened")

    crowded.endpoint("/app", open_app)
    assert [(await new_visitor(crowded, "/app")).status_code for _ in range(3)] == [200, 200, 503]


async def test_one_request_is_counted_once(crowded: Site) -> None:
    async def work(request: Request) -> Response:
        await admitted(crowded.service, request)
        await admitted(crowded.service, request)
        request.session["a"] = 1
        return JSONResponse("done")

    crowded.endpoint("/app", work)
    await new_visitor(crowded, "/app")
    assert len(crowded.broker.of("arrive")) == 1


async def test_zero_is_no_limit(crowded: Site) -> None:
    crowded.service.settings = Settings(secret="secret", max_new_sessions_per_s=0)
    await admit(crowded.service, connection(VISITOR))
    assert crowded.broker.of("arrive") == []


async def test_each_address_has_its_own_count(crowded: Site) -> None:
    for host in ("203.0.113.9", "203.0.113.10", "203.0.113.9", "203.0.113.10"):
        await admit(crowded.service, connection(host))
    with pytest.raises(TooManyArrivals, match="more than 2 new sessions"):
        await admit(crowded.service, connection("203.0.113.9"))


async def test_the_broker_is_told_no_address(crowded: Site) -> None:
    await admit(crowded.service, connection(VISITOR))
    ((told,),) = crowded.broker.of("arrive")
    assert told == Signer("secret").blind(VISITOR)


async def test_a_broker_that_is_away_is_no_reason_to_let_all_in(crowded: Site) -> None:
    crowded.broker.errors["arrive"] = BrokerUnavailable("away")
    assert (await new_visitor(crowded, "/set")).status_code == 503


# Who is counted as one


@pytest.mark.parametrize(
    ("host", "counted"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("2001:db8:1:2:aaaa::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:bbbb::2", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
    ],
)
def test_an_ipv6_visitor_is_counted_by_its_network(host: str, counted: str) -> None:
    assert address_of(connection(host), Proxies("127.0.0.1")) == counted


@pytest.mark.parametrize("host", [None, "127.0.0.1", "10.0.0.7", "testclient"])
def test_who_cannot_be_told_from_others_is_not_counted(host: str | None) -> None:
    assert address_of(connection(host), Proxies("127.0.0.1,10.0.0.0/8")) is None
