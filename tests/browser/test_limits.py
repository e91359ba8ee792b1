"""What a person sees at a limit: a page that says so, and how it goes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from htagweb_broker import Inspector
from playwright.async_api import expect

from tests.browser.counter_page import COMES_BACK_MS, CounterPage, web_server
from tests.support.stack import Stack
from tests.support.waiting import until

if TYPE_CHECKING:
    from tests.browser.conftest import NewUser

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def until_counted(stack: Stack, apps: int) -> None:
    """Wait until the supervisors have told how many apps they run."""
    inspector = Inspector.at(stack.server.url, "htagweb")

    async def is_told() -> bool:
        return (await inspector.supervisors()).load == apps

    try:
        await until(is_told, f"{apps} apps are told")
    finally:
        inspector.close()


async def test_a_user_without_a_place_is_told_and_comes_in_by_itself_when_another_leaves(
    make_stack: Callable[..., Stack], new_user: NewUser
) -> None:
    stack = make_stack()
    stack.add_supervisor()
    with web_server(stack, max_apps_in_total="1") as one:
        first = await CounterPage(await new_user()).open(one.base)
        await until_counted(stack, 1)
        with web_server(stack, max_apps_in_total="1") as two:  # has not counted before
            second = CounterPage(await new_user())
            response = await second.page.goto(two.base)
            assert response is not None
            assert (response.status, response.headers["retry-after"]) == (503, "3")
            body = second.page.locator("body")
            await expect(body).to_contain_text("All places are taken")
            await expect(body).to_contain_text("This page tries again by itself.")
            await second.shoot("limit-no-place")
            async with second.page.expect_response(two.base + "/") as again:
                pass
            assert (await again.value).status == 503
            await first.press("leave")
            await expect(first.notice).to_contain_text("This app has ended.")
            await expect(second.page.locator(".count")).to_have_text("0", timeout=COMES_BACK_MS)
            await second.is_ready()
            await second.press("count")
            await second.shows_count(1)


async def test_a_tab_too_many_is_told_and_let_in_when_another_was_closed(
    shared_stack: Stack, new_user: NewUser
) -> None:
    with web_server(shared_stack, max_pages_per_session="2") as server:
        tabs = [CounterPage(await new_user())]
        tabs += [CounterPage(await tabs[0].page.context.new_page()) for _ in range(2)]
        await tabs[0].open(server.base)
        await tabs[1].open(server.base)
        third = tabs[2]
        await third.page.goto(server.base)
        await expect(third.notice).to_contain_text("Too many pages are open. Close some of them.Try again")
        await third.shoot("limit-pages")
        await tabs[0].page.close()

        async def is_let_in() -> bool:
            state = await third.page.evaluate("htagweb.inspect().state")
            if state == "paused":
                await third.press("Try again")
            return bool(state == "ready")

        await until(is_let_in, "the third tab is let in")
        await expect(third.page.get_by_role("button", name="Try again")).to_be_hidden()
        await third.press("count")
        await third.shows_count(1)
        await tabs[1].shows_count(1)
