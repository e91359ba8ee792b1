"""The examples, started as the README says, in a real browser."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from tests.support.examples import HOME, LONGEST_TURN_S, running
from tests.support.processes import Process

if TYPE_CHECKING:
    from tests.browser.conftest import NewUser

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(LONGEST_TURN_S + 60)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def main(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Process]:
    """Run examples/main.py for the module."""
    async with running("main", tmp_path_factory.mktemp("main")) as process:
        yield process


async def text(page: Page, css_class: str) -> str:
    """Return the text of the element with the class."""
    return await page.inner_text(f".{css_class}")


async def test_a_click_changes_the_page_and_a_reload_keeps_the_counter(
    main: Process, new_user: NewUser
) -> None:
    page = await new_user()
    await page.goto(HOME)
    await page.click(".increment")
    await page.click(".increment")
    await expect(page.locator(".number")).to_have_text("2")
    pid = await text(page, "pid")
    await page.reload()
    await expect(page.locator(".number")).to_have_text("2")
    assert await text(page, "pid") == pid


async def test_the_clock_moves_by_itself_also_after_a_reload(main: Process, new_user: NewUser) -> None:
    page = await new_user()
    await page.goto(HOME)
    for _ in range(2):
        await expect(page.locator(".time")).to_have_text(re.compile(r"\d\d:\d\d:\d\d"))
        before = await text(page, "time")
        await expect(page.locator(".time")).not_to_have_text(before)
        await page.reload()


async def test_two_users_have_processes_of_their_own(main: Process, new_user: NewUser) -> None:
    one, two = await new_user(), await new_user()
    await one.goto(HOME)
    await two.goto(HOME)
    await one.click(".increment")
    await expect(one.locator(".number")).to_have_text("1")
    assert await text(one, "pid") != await text(two, "pid")
    assert await text(two, "number") == "0"


async def test_other_parameters_start_afresh(main: Process, new_user: NewUser) -> None:
    page = await new_user()
    await page.goto(HOME)
    await page.click(".increment")
    await expect(page.locator(".number")).to_have_text("1")
    pid = await text(page, "pid")
    await page.click("text=the same with v=2")
    await expect(page.locator(".v")).to_have_text("2")
    assert await text(page, "number") == "0"
    assert await text(page, "pid") != pid


async def test_notes_are_in_the_session_for_other_apps_too(main: Process, new_user: NewUser) -> None:
    page = await new_user()
    await page.goto(HOME)
    await page.fill(".note", "milk")
    await page.press(".note", "Enter")
    await expect(page.locator(".notes li")).to_have_text(["milk"])
    await page.click("text=another app")
    await expect(page.locator(".seen")).to_have_text("['milk']")
    await page.click("text=back")
    await expect(page.locator(".notes li")).to_have_text(["milk"])


async def test_a_generator_shows_each_step(main: Process, new_user: NewUser) -> None:
    page = await new_user()
    await page.goto(HOME)
    await page.click(".tell")
    await expect(page.locator(".story")).to_contain_text("Once upon")
    await expect(page.locator(".story")).to_contain_text("reloaded.")


async def test_an_exit_is_told_and_the_app_starts_again_on_request(main: Process, new_user: NewUser) -> None:
    page = await new_user()
    await page.goto(HOME)
    await page.click(".increment")
    await expect(page.locator(".number")).to_have_text("1")
    pid = await text(page, "pid")
    await page.click(".exit")
    await expect(page.get_by_role("status")).to_contain_text("This app has ended.")
    await page.get_by_role("button", name="Start again").click()
    await expect(page.locator(".number")).to_have_text("0")
    assert await text(page, "pid") != pid
