"""The web edge with a real uvicorn and a real broker: proxies, origins, cookies, secrets, crowds, logs."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import httpx
import pytest
import websockets

from tests.support.edge import FORWARDED, VISITOR, EdgeWorker, edge_worker
from tests.support.page import PageClient
from tests.support.stack import Stack
from tests.support.waiting import until

PUBLIC = {"url": "https://site.example/who", "callback": "https://site.example/who", "visitor": VISITOR}
NAME, SECURE_NAME = "htagweb_session", "__Host-htagweb_session"


async def get(url: str, cookie: str = "", **headers: str) -> httpx.Response:
    """GET without a cookie jar: cookies go as they are said, also secure ones."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    async with httpx.AsyncClient(timeout=30) as http:
        return await http.get(url, headers={**given, **({"cookie": cookie} if cookie else {})})


def cookie_in(response: httpx.Response) -> str:
    """Return what a browser would send from now on."""
    return response.headers["set-cookie"].partition(";")[0]


# Proxies


@pytest.mark.parametrize("options", [[], ["--no-proxy-headers"]], ids=["uvicorn's own on", "off"])
async def test_behind_a_proxy_of_this_machine_the_request_is_the_browsers(
    shared_stack: Stack, options: list[str]
) -> None:
    with edge_worker(shared_stack, *options) as worker:
        assert (await get(f"{worker.base}/who", **FORWARDED)).json() == PUBLIC
        chained = {**FORWARDED, "x-forwarded-for": f"198.51.100.4, {VISITOR}:5000, 127.0.0.1"}
        assert (await get(f"{worker.base}/who", **chained)).json() == PUBLIC
        direct = (await get(f"{worker.base}/who")).json()
    assert (direct["url"], direct["visitor"]) == (f"{worker.base}/who", "127.0.0.1")


async def test_behind_a_proxy_on_a_unix_socket_too(shared_stack: Stack) -> None:
    with edge_worker(shared_stack, "uds") as worker:
        transport = httpx.AsyncHTTPTransport(uds=str(worker.socket))
        async with httpx.AsyncClient(transport=transport) as http:
            told = (await http.get("http://inside/who", headers=FORWARDED)).json()
    assert told == PUBLIC


async def test_what_a_stranger_forwards_counts_for_nothing(shared_stack: Stack) -> None:
    with edge_worker(shared_stack, "--no-proxy-headers", trusted_proxies="10.0.0.0/8") as worker:
        told = (await get(f"{worker.base}/who", **FORWARDED)).json()
    assert (told["url"], told["visitor"]) == (f"{worker.base}/who", "127.0.0.1")


async def test_a_proxy_that_uvicorn_trusts_tells_the_host_too(shared_stack: Stack) -> None:
    with edge_worker(shared_stack, trusted_proxies="10.0.0.0/8") as worker:
        assert (await get(f"{worker.base}/who", **FORWARDED)).json() == PUBLIC


@pytest.mark.parametrize(
    ("setting", "value"),
    [("trusted_proxies", "*"), ("allowed_origins", "site.example"), ("secret", "one,,two")],
)
async def test_a_wrong_setting_ends_the_start_and_says_what_was_expected(
    shared_stack: Stack, setting: str, value: str
) -> None:
    with pytest.raises(AssertionError) as caught, edge_worker(shared_stack, **{setting: value}):
        pass
    assert f"SettingError: {setting} (HTAGWEB_{setting.upper()})" in str(caught.value)


# Origins


async def socket_status(worker: EdgeWorker, cookie: str, **headers: str) -> int:
    """Return the status that a socket's handshake gets."""
    address = f"ws{worker.base[4:]}/_/edge_site.Keeper?page=a-page-0&generation=1-00000000&last=0"
    try:
        async with websockets.connect(address, additional_headers={"cookie": cookie, **headers}):
            return 101
    except websockets.InvalidStatus as exc:
        return exc.response.status_code


async def test_sockets_are_for_our_own_pages_and_those_of_allowed_origins(shared_stack: Stack) -> None:
    with edge_worker(shared_stack, allowed_origins="https://friend.example") as worker:
        session = await get(f"{worker.base}/session?a=1", **FORWARDED)
        cookie = cookie_in(session)
        assert await socket_status(worker, cookie, origin="https://site.example", **FORWARDED) == 101
        assert await socket_status(worker, cookie, origin="https://friend.example", **FORWARDED) == 101
        assert await socket_status(worker, cookie, **FORWARDED) == 101
        for origin in ("http://site.example", "https://site.example:8443", "https://evil.example", "null"):
            assert await socket_status(worker, cookie, origin=origin, **FORWARDED) == 403


async def test_posts_are_for_our_own_pages_too(shared_stack: Stack) -> None:
    with edge_worker(shared_stack) as worker:
        page = PageClient(worker.base)
        await page.open()
        message = {"id": page.body(), "method": "remember", "args": ["a", "b"], "kargs": {}, "event": {}}
        for origin, status in (("https://evil.example", 403), ("null", 403), (worker.base, 200)):
            response = await page.http.post(
                worker.base + page.config["url"], json=message, headers={"origin": origin}
            )
            assert (origin, response.status_code) == (origin, status)
        await page.close()


# The cookie


async def test_behind_tls_the_cookie_is_bound_to_host_and_tls(shared_stack: Stack) -> None:
    with edge_worker(shared_stack) as worker:
        secured = await get(f"{worker.base}/session?fruit=pear", **FORWARDED)
        header = secured.headers["set-cookie"]
        assert header.startswith(f"{SECURE_NAME}=")
        assert header.endswith("; Path=/; Max-Age=34560000; HttpOnly; SameSite=Lax; Secure")
        value = cookie_in(secured).partition("=")[2]
        bound = await get(f"{worker.base}/session", f"{SECURE_NAME}={value}", **FORWARDED)
        planted = await get(f"{worker.base}/session", f"{NAME}={value}", **FORWARDED)
        plain = await get(f"{worker.base}/session?fruit=fig")
    assert (bound.json(), planted.json()) == ({"fruit": "pear"}, {})
    assert plain.headers["set-cookie"].startswith(f"{NAME}=")
    assert "Secure" not in plain.headers["set-cookie"]


async def test_secrets_are_changed_without_anybody_losing_the_session(shared_stack: Stack) -> None:
    with edge_worker(shared_stack, secret="old") as before:
        cookie = cookie_in(await get(f"{before.base}/session?fruit=pear"))
    with edge_worker(shared_stack, secret="new,old") as while_changing:
        response = await get(f"{while_changing.base}/session?seen=1", cookie)
        signed_anew = cookie_in(response)
    with edge_worker(shared_stack, secret="new") as after:
        kept = await get(f"{after.base}/session", signed_anew)
        lost = await get(f"{after.base}/session", cookie)
    assert response.json() == kept.json() == {"fruit": "pear", "seen": "1"}
    assert lost.json() == {}


# Crowds


CROWD = "203.0.113.77"
"""An address that no other test comes from: the broker counts them all."""


async def test_one_address_has_only_so_many_new_sessions_a_second(shared_stack: Stack) -> None:
    with edge_worker(shared_stack, max_new_sessions_per_s="3") as worker:

        async def visit(address: str) -> int:
            headers = {**FORWARDED, "x-forwarded-for": address}
            return (await get(f"{worker.base}/session?a=1", **headers)).status_code

        crowd = await asyncio.gather(*(visit(CROWD) for _ in range(8)), visit("198.51.100.4"))
        assert 3 <= crowd[:8].count(200) <= 6  # more than 3: they came in two seconds
        assert crowd[8] == 200
        await until(lambda: came_in(visit), "a second later it comes in")
        networks = await asyncio.gather(*(visit(f"2001:db8:0:1::{n}") for n in range(1, 8)))
        assert 3 <= networks.count(200) <= 6
    keys = shared_stack.server.command("KEYS *").decode()
    assert CROWD not in keys


async def came_in(visit: Callable[[str], Awaitable[int]]) -> bool:
    return await visit(CROWD) == 200


# Logs

VALUE, ARGUMENT, QUERY, BODY, MEMBER = "pineapple", "quince", "rambutan", "satsuma", "tamarind"
COOKIE, HELLO, PARAMETER, UPLOADED = "uglifruit", "watermelon", "yuzu", "papaya"
TOLD = (VALUE, ARGUMENT, QUERY, BODY, MEMBER, COOKIE, HELLO, PARAMETER, UPLOADED)
MALFORMED = (BODY, f'{{"id": "{BODY}"}}', f'{{"id": {BODY}}}', f'{{"htagweb": {{"{MEMBER}": "{BODY}"}}}}')


async def tell_all(page: PageClient) -> None:
    """Have each word pass through worker and supervisor, in good and in malformed messages."""
    await page.open(f"/?v={PARAMETER}")
    await page.connect()
    await get(f"{page.base}/session?fruit={VALUE}", page.cookie)
    await page.ask("remember", "typed", ARGUMENT)
    await page.ask("fail", ARGUMENT)
    await get(f"{page.base}/who?token={QUERY}", f"{NAME}={COOKIE}")
    url = page.base + page.config["url"]
    for body in MALFORMED:
        await page.http.post(url, content=body)
        await page.send(body)
    await page.http.post(f"{url}?{QUERY}", content=UPLOADED * 200_000)
    sealed = f"page=a-page-0&generation={page.config['generation']}&last=0&curve={HELLO}&key={HELLO}"
    for query in (f"page={HELLO}!&last={HELLO}", f"page=a-page-0&{HELLO}=1", sealed):
        with contextlib.suppress(websockets.WebSocketException):
            async with websockets.connect(f"ws{url[4:]}?{query}", additional_headers={"Cookie": page.cookie}):
                pass


async def test_no_log_has_a_value_a_cookie_a_query_or_typed_text(stack: Stack) -> None:
    with edge_worker(stack) as worker:
        page = PageClient(worker.base)
        await tell_all(page)
        session_id = page.http.cookies[NAME].partition(".")[0]
        await page.close()
        stack.supervisor.stop()
        log = worker.process
        await until(lambda: log.text().count("was refused") >= 6, "the refusals are in the log")
        logs = stack.logs()
    assert "a message was refused" in logs
    assert "GET /?... HTTP" in logs  # the server's own log was looked into
    assert [word for word in (*TOLD, session_id) if word in logs] == []
