"""Two tabs of one user, and clicks that overlap, on a real installation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.async_api import Page, expect

from tests.support.stack import Stack

if TYPE_CHECKING:
    from tests.browser.conftest import NewUser

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def two_tabs(stack: Stack, new_user: NewUser) -> tuple[Page, Page]:
    """Return two connected tabs of a new user on one app."""
    one = await new_user()
    two = await one.context.new_page()
    for page in (one, two):
        await page.goto(f"{stack.workers[0].base}/job")
        await page.wait_for_function("htagweb.inspect().state === 'ready'")
    return one, two


async def press(page: Page, name: str) -> None:
    """Press the button with this text."""
    await page.get_by_role("button", name=name).click()


async def expect_lines(pages: tuple[Page, ...], *lines: str) -> None:
    """Wait until all pages show these lines."""
    for page in pages:
        await expect(page.locator(".lines li")).to_have_text(list(lines))


async def test_what_an_answer_changes_is_seen_in_both_tabs(shared_stack: Stack, new_user: NewUser) -> None:
    tabs = await two_tabs(shared_stack, new_user)
    await press(tabs[0], "greet")
    await expect_lines(tabs, "hello")
    await press(tabs[1], "greet")
    await expect_lines(tabs, "hello", "hello")


async def test_updates_are_seen_in_both_tabs(shared_stack: Stack, new_user: NewUser) -> None:
    tabs = await two_tabs(shared_stack, new_user)
    await press(tabs[0], "count")
    await expect_lines(tabs, "0", "1", "2")


async def test_a_script_runs_in_the_asking_tab_alone(shared_stack: Stack, new_user: NewUser) -> None:
    one, two = await two_tabs(shared_stack, new_user)
    await press(one, "greet")
    await press(one, "greet")
    # Actions come in order: with what the second one changed, the first one's script would be there.
    await expect_lines((one, two), "hello", "hello")
    await one.wait_for_function("window.greeted === 2")
    assert await two.evaluate("window.greeted") is None


async def test_a_click_overtakes_a_handler_that_waits(shared_stack: Stack, new_user: NewUser) -> None:
    one, _ = await two_tabs(shared_stack, new_user)
    await press(one, "work")
    await expect_lines((one,), "working")
    await press(one, "cancel")
    await expect_lines((one,), "working", "cancel", "given up")
    await one.wait_for_function("htagweb.inspect().unanswered.length === 0")


async def test_another_tab_can_cancel_what_the_first_one_waits_for(
    shared_stack: Stack, new_user: NewUser
) -> None:
    one, two = tabs = await two_tabs(shared_stack, new_user)
    await press(one, "work")
    await expect_lines(tabs, "working")
    await press(two, "cancel")
    await expect_lines(tabs, "working", "cancel", "given up")
    await one.wait_for_function("htagweb.inspect().unanswered.length === 0")
