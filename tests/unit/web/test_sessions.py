"""The session of a request: whose it is, when it is saved, and what is told to the browser."""

import asyncio
import json
import re
from typing import Any

import pytest
from htagweb_broker import BrokerUnavailable, SessionData
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from htagweb.settings import Settings
from htagweb.web.cookies import COOKIE, SECURE_COOKIE, Signer, digest_of
from htagweb.web.sessions import SessionMiddleware
from tests.unit.web.harness import APP, GENERATION, Site, Socket


def setter(key: str, value: Any) -> Any:
    def work(request: Request) -> None:
        request.session[key] = value

    return work


async def test_a_request_that_needs_no_session_gets_no_cookie(site: Site) -> None:
    site.endpoint("/plain", lambda request: None)
    response = await site.http.get("/plain")
    assert response.status_code == 200
    assert "set-cookie" not in response.headers


async def test_a_new_session_gets_a_cookie_when_something_is_kept(site: Site) -> None:
    site.endpoint("/set", setter("a", 1))
    response = await site.http.get("/set")
    name, _, value = response.headers["set-cookie"].partition(";")[0].partition("=")
    assert name == COOKIE
    assert Signer("secret").accept(value) == value
    assert site.broker.sessions_data[digest_of(value)].values == {"a": b"1"}


async def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(site: Site) -> None:
    site.endpoint("/set", setter("a", 1))
    header = (await site.http.get("/set")).headers["set-cookie"]
    assert re.search(r"; Path=/; Max-Age=34560000; HttpOnly; SameSite=Lax$", header)


async def test_under_tls_the_cookie_is_bound_to_this_host_and_to_tls(site: Site) -> None:
    site.endpoint("/set", setter("a", 1))
    header = (await site.http.get("https://site/set")).headers["set-cookie"]
    assert header.startswith(f"{SECURE_COOKIE}=")
    assert re.search(r"; Path=/; Max-Age=34560000; HttpOnly; SameSite=Lax; Secure$", header)
    assert "domain" not in header.lower()  # a browser refuses a __Host- cookie that has one


async def test_under_tls_only_the_cookie_that_is_bound_to_this_host_is_read(site: Site) -> None:
    site.broker.sessions_data[site.instance.session] = SessionData({"a": b"1"}, "v")
    site.endpoint("/show", lambda request: None)
    shown = await site.http.get("https://site/show", headers={"cookie": f"{COOKIE}={site.cookie}"})
    bound = await site.http.get("https://site/show", headers={"cookie": f"{SECURE_COOKIE}={site.cookie}"})
    plain = await site.http.get("http://site/show", headers={"cookie": f"{SECURE_COOKIE}={site.cookie}"})
    assert (shown.json(), bound.json(), plain.json()) == ({}, {"a": 1}, {})


async def test_a_cookie_of_an_old_secret_is_good_and_a_write_signs_it_anew(site: Site) -> None:
    site.service.settings = Settings(secret="new,secret")
    site.broker.sessions_data[site.instance.session] = SessionData({"a": b"1"}, "v")
    site.endpoint("/show", lambda request: None)
    site.endpoint("/write", setter("b", 2))
    shown = await site.get("/show")
    assert (shown.json(), "set-cookie" in shown.headers) == ({"a": 1}, False)
    written = await site.get("/write")
    assert "cookie" in written.headers["vary"].lower()
    value = written.headers["set-cookie"].partition(";")[0].partition("=")[2]
    assert Signer("new").accept(value) == value
    assert digest_of(value) == site.instance.session
    again = await site.http.get("/show", headers={"cookie": f"{COOKIE}={value}"})
    assert again.json() == {"a": 1, "b": 2}


async def test_a_cookie_of_ours_is_kept_and_its_session_read(site: Site) -> None:
    site.broker.sessions_data[site.instance.session] = SessionData({"a": b"[1]"}, "v")
    site.endpoint("/show", lambda request: None)
    response = await site.get("/show")
    assert response.json() == {"a": [1]}
    assert "set-cookie" not in response.headers


async def test_a_cookie_of_ours_is_sent_again_when_it_was_used_so_that_it_lives_on(site: Site) -> None:
    site.endpoint("/set", setter("a", 1))
    assert f"{COOKIE}={site.cookie};" in (await site.get("/set")).headers["set-cookie"]


@pytest.mark.parametrize(
    "forged", ["forged", "a" * 32 + "." + "b" * 43, Signer("other").issue()], ids=range(3)
)
async def test_a_forged_cookie_is_replaced_and_its_session_not_read(site: Site, forged: str) -> None:
    site.broker.sessions_data[digest_of(forged)] = SessionData({"stolen": b"1"}, "v")
    site.endpoint("/set", setter("a", 1))
    response = await site.http.get("/set", headers={"cookie": f"{COOKIE}={forged}"})
    assert response.json() == {"a": 1}
    assert forged not in response.headers["set-cookie"]


async def test_changes_are_saved_before_the_response_starts(site: Site) -> None:
    site.endpoint("/set", setter("a", 1))
    order: list[str] = []

    async def send(message: Any) -> None:
        order.append(f"{message['type']} after {site.broker.verbs()[-1]}")

    scope = {"type": "http", "method": "GET", "path": "/set", "headers": [], "query_string": b"", "state": {}}
    await site.runner(scope, asyncio.Queue[Any]().get, send)
    assert order[0] == "http.response.start after write"


async def test_what_was_not_changed_is_not_written(site: Site) -> None:
    site.broker.sessions_data[site.instance.session] = SessionData({"a": b"1"}, "v")
    site.endpoint("/same", setter("a", 1))
    await site.get("/same")
    assert site.broker.of("write") == []


async def test_nested_changes_and_deletions_are_written(site: Site) -> None:
    site.broker.sessions_data[site.instance.session] = SessionData({"a": b"[1]", "b": b"2"}, "v")

    def work(request: Request) -> None:
        request.session["a"].append(2)
        del request.session["b"]

    site.endpoint("/change", work)
    await site.get("/change")
    assert site.broker.of("write") == [({"a": b"[1,2]", "b": None},)]


async def test_without_a_broker_a_request_gets_a_page_that_tries_again(site: Site) -> None:
    site.broker.away = True
    site.endpoint("/plain", lambda request: None)
    response = await site.get("/plain")
    assert response.status_code == 503
    assert response.headers["retry-after"] == "3"


async def test_without_a_broker_a_socket_is_refused(site: Site) -> None:
    site.broker.away = True
    socket = Socket(site, f"page=page-0_A&generation={GENERATION}&last=0")
    await socket.serve()
    assert socket.status == 503


async def test_a_secret_that_cannot_be_had_is_a_broker_that_is_away(site: Site) -> None:
    site.broker.errors["secret"] = BrokerUnavailable("away")
    site.service.settings = type(site.service.settings)(name="x")
    site.endpoint("/plain", lambda request: None)
    assert (await site.http.get("/plain")).status_code == 503


async def test_the_secret_is_asked_for_once(site: Site) -> None:
    site.service.settings = type(site.service.settings)(name="x")
    site.endpoint("/plain", lambda request: None)
    await site.http.get("/plain")
    await site.http.get("/plain")
    assert site.broker.of("secret") == [()]


@pytest.mark.parametrize("nested", [False, True])
async def test_an_unsavable_value_is_an_error_that_names_its_key(
    site: Site, nested: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def work(request: Request) -> Response:
        if nested:
            request.session["thing"] = []
            request.session["thing"].append(object())
        else:
            request.session["thing"] = object()
        return Response()

    site.endpoint("/bad", work)
    scope = {"type": "http", "method": "GET", "path": "/bad", "headers": [], "query_string": b"", "state": {}}
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    with pytest.raises(TypeError, match=r"session\['thing'\] holds a object"):
        await site.runner(scope, asyncio.Queue[Any]().get, send)
    assert sent[0]["status"] == 500
    assert site.broker.of("write") == []


async def test_a_lifespan_has_no_session(site: Site) -> None:
    reached: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        reached.append(scope["type"])
        assert "session" not in scope

    await SessionMiddleware(app, site.service)({"type": "lifespan"}, None, None)  # type: ignore[arg-type]
    assert reached == ["lifespan"]


async def test_no_payload_and_no_cookie_is_in_the_log(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    site.own()
    await site.post({"id": "not a number", "method": json.dumps("private")})
    assert site.cookie not in caplog.text
    assert "private" not in caplog.text
    assert APP in caplog.text


async def test_a_middleware_of_ones_own_has_the_session(site: Site) -> None:
    class Guard:
        def __init__(self, app: ASGIApp) -> None:
            self._app = app

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                scope["session"]["seen"] = scope["path"]
            await self._app(scope, receive, send)

    site.runner.add_middleware(Guard)
    site.endpoint("/guarded", lambda request: None)
    assert (await site.get("/guarded")).json() == {"seen": "/guarded"}
