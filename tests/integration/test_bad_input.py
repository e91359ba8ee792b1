"""What strangers and broken clients send: a clear refusal, a log line, and no effect on anybody."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
import websockets

from tests.support.page import PageClient
from tests.support.stack import Stack
from tests.support.waiting import until

NewPage = Callable[[str], PageClient]
MIB = 1024 * 1024


async def opened(new_page: NewPage, stack: Stack) -> PageClient:
    """Return a page that is open and connected."""
    page = new_page(stack.workers[0].base)
    await page.open()
    await page.connect()
    return page


async def still_works(page: PageClient) -> bool:
    """Return whether the page's app answers."""
    return "update" in await page.ask("run", "fine")


@pytest.mark.parametrize("path", ["/nowhere", "/_/", "/_/a/b", "/_/site_for_tests.Audit"])
async def test_an_unknown_address_is_not_found(shared_stack: Stack, path: str) -> None:
    async with httpx.AsyncClient() as http:
        response = await http.get(shared_stack.workers[0].base + path)
    assert response.status_code in (404, 405)


@pytest.mark.parametrize("app", ["site_for_tests.Slow", "os.system", "no_such.App", "%00", "../../etc"])
async def test_an_app_that_the_session_has_not_opened_is_refused_and_nothing_is_imported(
    shared_stack: Stack, app: str
) -> None:
    base = shared_stack.workers[0].base
    call = {"id": 1, "method": "x", "args": [], "kargs": {}, "event": {}}
    async with httpx.AsyncClient() as http:
        response = await http.post(f"{base}/_/{app}", json=call)
    assert response.status_code == 404
    with pytest.raises(websockets.InvalidStatus) as refused:
        await websockets.connect(f"ws{base[4:]}/_/{app}")
    assert refused.value.response.status_code in (403, 404)
    assert f"template of {app}" not in shared_stack.supervisor.text()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'"text"',
        b'{"id": "x", "method": "run"}',
        b'{"id": 1.5, "method": "run"}',
        b'{"id": 1, "method": 7}',
        b'{"id": 1, "method": "run", "args": {}}',
        b'{"id": 1, "method": "run", "kargs": []}',
        b'{"id": 1, "method": "run", "event": 3}',
        b'{"method": "run"}',
        b'{"id": 1, "method": "run", "htagweb": {"n": -1}}',
        b'{"id": 1, "method": "run", "htagweb": {"page": "x"}}',
        b'{"id": 1, "method": "run", "htagweb": {"unknown": 1}}',
        b"\xff\xfe",
        b"[" * 100_000,
    ],
)
async def test_a_post_that_is_not_of_the_wire_is_a_400(
    shared_stack: Stack, new_page: NewPage, body: bytes
) -> None:
    page = new_page(shared_stack.workers[0].base)
    await page.open()
    response = await page.http.post(page.base + page.config["url"], content=body)
    assert response.status_code == 400
    assert "expected" in response.text


@pytest.mark.parametrize("text", ["{", "[]", "null", '{"id": []}', '{"id": 1, "method": {}}', "[" * 50_000])
async def test_a_frame_that_is_not_of_the_wire_is_an_error_and_the_socket_stays(
    shared_stack: Stack, new_page: NewPage, text: str
) -> None:
    page = await opened(new_page, shared_stack)
    await page.send(text)
    await until(lambda: page.errors, "the page is told")
    assert "refused" in page.errors[0]
    assert await still_works(page)


async def test_a_post_over_the_limit_is_a_413(shared_stack: Stack, new_page: NewPage) -> None:
    page = await opened(new_page, shared_stack)
    response = await page.post("run", "x" * MIB)
    assert response.status_code == 413
    assert str(MIB) in response.text
    assert await still_works(page)


async def test_a_frame_over_the_limit_closes_the_socket_with_1009(
    shared_stack: Stack, new_page: NewPage
) -> None:
    page = await opened(new_page, shared_stack)
    await page.send(json.dumps({"id": 1, "method": "run", "args": ["x" * MIB]}))
    await until(lambda: not page.is_connected, "the socket is closed")
    assert page._socket is not None
    assert page._socket.close_code == 1009
    await page.connect()
    assert await still_works(page)


async def test_a_message_just_below_the_limit_is_taken(shared_stack: Stack, new_page: NewPage) -> None:
    page = await opened(new_page, shared_stack)
    assert "update" in await page.ask("run", "x" * (MIB - 500))


@pytest.mark.parametrize("tag", [1, -1, 2**62, 10**30])
async def test_an_unknown_tag_is_an_error(shared_stack: Stack, new_page: NewPage, tag: int) -> None:
    page = await opened(new_page, shared_stack)
    assert (await page.ask("run", tag=tag))["err"]
    assert await still_works(page)


async def test_an_unknown_method_is_an_error(shared_stack: Stack, new_page: NewPage) -> None:
    page = await opened(new_page, shared_stack)
    assert "no_such_method" in (await page.ask("no_such_method"))["err"]
    assert await still_works(page)


@pytest.mark.parametrize(
    "query",
    [
        {"page": "x", "generation": "1-00000000", "last": "0"},
        {"page": "p" * 20, "generation": "newest", "last": "0"},
        {"page": "p" * 20, "generation": "1-00000000", "last": "-1"},
        {"page": "p" * 20, "generation": "1-00000000"},
        {"page": "p" * 20, "generation": "1-00000000", "last": "NaN"},
    ],
)
async def test_a_bad_introduction_closes_the_socket_with_4400(
    shared_stack: Stack, new_page: NewPage, query: dict[str, str]
) -> None:
    page = await opened(new_page, shared_stack)
    url = httpx.URL(f"ws{page.base[4:]}{page.config['url']}", params=query)
    async with websockets.connect(str(url), additional_headers={"Cookie": page.cookie}) as socket:
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await socket.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4400
    assert await still_works(page)


async def test_a_page_of_another_generation_is_told_to_reload_and_its_click_hits_nothing(
    shared_stack: Stack, new_page: NewPage
) -> None:
    page = await opened(new_page, shared_stack)
    call = {"id": page.body(), "method": "run", "args": ["stale"], "kargs": {}, "event": {}}
    stale = {"htagweb": {"n": 1, "generation": "1-00000000"}}
    await page.send(json.dumps(call | stale))
    await until(lambda: page.reloads, "the page is told to reload")
    response = await page.http.post(page.base + page.config["url"], json=call | stale)
    assert response.json()["htagweb"] == {"reload": True}
    assert "earlier run" in response.json()["err"]
    await page.open()
    assert "stale" not in page.html


@pytest.mark.parametrize("cookie", ["", "x", "a" * 32 + "." + "b" * 43, "a" * 9000, "é.ü"])
async def test_a_forged_cookie_is_replaced_never_adopted(shared_stack: Stack, cookie: str) -> None:
    base = shared_stack.workers[0].base
    async with httpx.AsyncClient() as http:
        headers = [(b"cookie", f"htagweb_session={cookie}".encode())]
        response = await http.get(base + "/session?seen=1", headers=headers)
        assert response.status_code == 200
        issued = response.cookies["htagweb_session"]
        assert issued != cookie
        assert (await http.get(base + "/session")).json() == {"seen": "1"}


async def test_another_sessions_app_cannot_be_reached(shared_stack: Stack, new_page: NewPage) -> None:
    page = await opened(new_page, shared_stack)
    call = {"id": page.body(), "method": "run", "args": ["stolen"], "kargs": {}, "event": {}}
    async with httpx.AsyncClient() as stranger:
        response = await stranger.post(page.base + page.config["url"], json=call)
        assert response.status_code == 404
        await stranger.get(page.base + "/")
        response = await stranger.post(page.base + page.config["url"], json=call)
    await page.open()
    assert "stolen" not in page.html


async def test_a_socket_of_another_site_is_refused(shared_stack: Stack, new_page: NewPage) -> None:
    page = await opened(new_page, shared_stack)
    headers = {"Cookie": page.cookie, "Origin": "https://elsewhere.example"}
    url = f"{page.base}{page.config['url']}"
    with pytest.raises(websockets.InvalidStatus) as refused:
        await websockets.connect(f"ws{url[4:]}", additional_headers=headers)
    assert refused.value.response.status_code == 403
    call: dict[str, Any] = {"id": page.body(), "method": "run", "args": ["x"]}
    assert (await page.http.post(url, json=call, headers=headers)).status_code == 403


async def test_too_many_unanswered_interactions_are_refused_one_by_one(
    make_stack: Callable[..., Stack], new_page: NewPage
) -> None:
    stack = make_stack()
    stack.add_supervisor("--max-in-flight", "4")
    stack.add_worker()
    page = await opened(new_page, stack)
    numbers = [await page.click("wait", "w", 1.0) for _ in range(10)]
    await until(lambda: not page.waiting, "each is answered")
    refused = [n for n in numbers if "wait for an answer" in page.answers[n].get("err", "")]
    assert refused == numbers[4:]
    assert await still_works(page)


async def test_an_answer_over_the_limit_is_an_error(shared_stack: Stack, new_page: NewPage) -> None:
    page = await opened(new_page, shared_stack)
    answer = await page.answer(await page.click("large", 17 * MIB), 30)
    assert "limit" in answer["err"]


async def test_refusals_are_one_log_line_each(shared_stack: Stack, new_page: NewPage) -> None:
    page = await opened(new_page, shared_stack)
    log = shared_stack.workers[0].process
    before = log.text().count("a message was refused")
    await page.send("{")
    await until(lambda: page.errors, "the page is told")
    assert log.text().count("a message was refused") == before + 1
