"""An app that ended, unused or by an operator: its page says so, and a click starts it again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from playwright.async_api import expect

from htagweb import manage
from tests.browser.counter_page import CounterPage, web_server
from tests.support.servers import WebServer
from tests.support.stack import Stack
from tests.support.waiting import until

if TYPE_CHECKING:
    from tests.browser.conftest import NewUser

pytestmark = pytest.mark.asyncio(loop_scope="module")
UNUSED = "This app ended after a while without use."


@pytest.fixture(scope="module")
def server(shared_stack: Stack) -> Iterator[WebServer]:
    """Serve the counter."""
    with web_server(shared_stack) as server:
        yield server


async def app_of(stack: Stack, pid: int) -> manage.App | None:
    """Return the running app with this process id."""
    users = await asyncio.to_thread(manage.users, stack.server.url)
    return next((app for user in users for app in user.apps if app.pid == pid), None)


async def counted_once(server: WebServer, new_user: NewUser) -> CounterPage:
    """Return the page of a user whose session holds the count 1."""
    tab = await CounterPage(await new_user()).open(server.base)
    await tab.press("count")
    await tab.shows_count(1)
    return tab


async def test_an_app_that_ended_unused_says_so_and_the_next_click_opens_it_with_its_session(
    server: WebServer, new_user: NewUser
) -> None:
    tab = await counted_once(server, new_user)
    await tab.page.goto(f"{server.base}/idle")
    pid = await tab.pid()
    await expect(tab.notice).to_have_text(f"{UNUSED}Start again")
    await tab.shoot("ended-unused")
    await tab.press("count")
    await tab.is_of_another_app_than(pid)
    await tab.shows_count(1)


async def test_so_does_a_reload(server: WebServer, new_user: NewUser) -> None:
    tab = await counted_once(server, new_user)
    await tab.page.goto(f"{server.base}/idle")
    pid = await tab.pid()
    await expect(tab.notice).to_contain_text(UNUSED)
    await tab.page.reload()
    await tab.is_of_another_app_than(pid)
    await tab.shows_count(1)


@pytest.mark.parametrize("way", ["click", "reload"])
async def test_without_a_websocket_a_click_or_a_reload_opens_it_with_its_session(
    shared_stack: Stack, server: WebServer, new_user: NewUser, way: str
) -> None:
    tab = await counted_once(server, new_user)
    await tab.page.goto(f"{server.base}/idle-http-only")
    pid = await tab.pid()

    async def has_ended() -> bool:
        return await app_of(shared_stack, pid) is None

    await until(has_ended, "the app has ended")
    await (tab.press("count") if way == "click" else tab.page.reload())
    await tab.is_of_another_app_than(pid)
    await tab.shows_count(1)


async def test_an_app_that_an_operator_kills_says_so_and_starts_again_with_its_session(
    shared_stack: Stack, server: WebServer, new_user: NewUser
) -> None:
    tab = await counted_once(server, new_user)
    pid = await tab.pid()
    app = await app_of(shared_stack, pid)
    assert app is not None
    await asyncio.to_thread(app.kill)
    await expect(tab.notice).to_have_text("This app was ended by the operator.Start again")
    await tab.shoot("ended-killed")
    await tab.press("Start again")
    await tab.is_of_another_app_than(pid)
    await tab.shows_count(1)
    await tab.press("count")
    await tab.shows_count(2)
