"""A session is one dict: in web handlers, in every app of the user, across processes and workers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.support.page import PageClient
from tests.support.stack import Stack
from tests.support.waiting import until

NewPage = Callable[[str], PageClient]


async def opened(new_page: NewPage, stack: Stack) -> PageClient:
    """Return a page that is open and connected."""
    page = new_page(stack.workers[0].base)
    await page.open()
    await page.connect()
    return page


async def get_session(page: PageClient, query: str = "") -> dict[str, Any]:
    """Return the session as a web handler sees it, after it set what the query says."""
    response = await page.http.get(f"{page.base}/session{query}")
    values: dict[str, Any] = response.json()
    return values


async def test_what_a_handler_writes_is_seen_by_every_interaction_after_its_response(
    shared_stack: Stack, new_page: NewPage
) -> None:
    page = await opened(new_page, shared_stack)
    for number in range(20):
        await get_session(page, f"?n={number}")
        assert f"n={number}" in str(await page.ask("recall", "n"))


async def test_what_an_app_writes_is_seen_by_handlers_once_its_answer_is_out(
    shared_stack: Stack, new_page: NewPage
) -> None:
    page = await opened(new_page, shared_stack)
    for number in range(20):
        await page.ask("remember", "n", number)
        assert (await get_session(page))["n"] == number


async def test_what_an_app_writes_is_seen_by_the_users_other_apps(
    shared_stack: Stack, new_page: NewPage
) -> None:
    page = await opened(new_page, shared_stack)
    other = PageClient(page.base, page.http)
    await other.open("/session-reader")
    await other.connect()
    for number in range(10):
        await page.ask("remember", "n", number)
        assert f"n={number}" in str(await other.ask("recall", "n"))
    await other.disconnect()


async def test_nested_changes_count(shared_stack: Stack, new_page: NewPage) -> None:
    page = await opened(new_page, shared_stack)
    await page.ask("remember", "cart", ["pear"])
    await page.ask("append", "cart", "fig")
    assert (await get_session(page))["cart"] == ["pear", "fig"]


async def test_two_writers_of_different_keys_both_win(shared_stack: Stack, new_page: NewPage) -> None:
    page = await opened(new_page, shared_stack)
    await asyncio.gather(
        *(get_session(page, f"?k{n}={n}") for n in range(10)), page.ask("remember", "app", 1)
    )
    assert set(await get_session(page)) == {*(f"k{n}" for n in range(10)), "app"}


async def test_a_value_that_json_cannot_hold_is_an_error_that_names_the_key(
    shared_stack: Stack, new_page: NewPage
) -> None:
    page = await opened(new_page, shared_stack)
    with_thing = await page.http.get(f"{page.base}/unsavable")
    assert with_thing.status_code == 500
    log = shared_stack.workers[0].process
    await until(lambda: "session['thing'] holds a object" in log.text(), "the error names the key")


async def test_a_sessions_data_outlives_its_app_processes(shared_stack: Stack, new_page: NewPage) -> None:
    page = await opened(new_page, shared_stack)
    await page.ask("remember", "fruit", "pear")
    await page.open("/?v=2")
    assert "fruit=pear" in (await page.post("recall", "fruit")).text


async def test_two_users_see_nothing_of_each_other(shared_stack: Stack, new_page: NewPage) -> None:
    one, two = await opened(new_page, shared_stack), await opened(new_page, shared_stack)
    await one.ask("remember", "fruit", "pear")
    assert await get_session(two) == {}
    assert "fruit=None" in str(await two.ask("recall", "fruit"))


async def test_a_visitor_who_stores_nothing_gets_no_cookie(shared_stack: Stack) -> None:
    async with httpx.AsyncClient() as http:
        response = await http.get(f"{shared_stack.workers[0].base}/session")
    assert "set-cookie" not in response.headers


@pytest.mark.parametrize("attribute", ["HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=34560000"])
async def test_the_cookie_is_kept_from_scripts_and_other_sites(shared_stack: Stack, attribute: str) -> None:
    async with httpx.AsyncClient() as http:
        response = await http.get(f"{shared_stack.workers[0].base}/session?a=1")
    assert attribute in response.headers["set-cookie"]


async def test_keys_and_logs_show_a_digest_never_the_session_id(
    shared_stack: Stack, new_page: NewPage
) -> None:
    page = await opened(new_page, shared_stack)
    await page.ask("remember", "fruit", "pear")
    session_id = page.http.cookies["htagweb_session"].partition(".")[0]
    keys = shared_stack.server.command("KEYS *").decode()
    assert "session:" in keys
    assert session_id not in keys
    assert session_id not in shared_stack.logs()
