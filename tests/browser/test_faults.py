"""What a person sees when something dies: a page that says so, or one that comes back by itself."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from tests.support.stack import Stack
from tests.support.waiting import until

if TYPE_CHECKING:
    from tests.browser.conftest import NewUser

pytestmark = pytest.mark.asyncio(loop_scope="module")
SHOTS = os.environ.get("HTAGWEB_SHOTS")
"""A directory for screenshots, for people who want to look."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def broken_stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """Give an installation whose parts are killed and started again by the tests."""
    stack = Stack(tmp_path_factory.mktemp("stack"))
    try:
        stack.add_supervisor()
        stack.add_worker()
        yield stack
    finally:
        stack.close()


async def opened(stack: Stack, new_user: NewUser, path: str = "/") -> Page:
    """Return a page that is open and connected."""
    page = await new_user()
    await page.goto(stack.workers[0].base + path)
    await page.wait_for_function("htagweb.inspect().state === 'ready'")
    return page


async def shoot(page: Page, name: str) -> None:
    """Take a screenshot where one is wanted."""
    if SHOTS:
        await page.screenshot(path=f"{SHOTS}/{name}.png")


async def call(page: Page, method: str, *args: object) -> None:
    """Interact with the app itself."""
    await page.evaluate(
        "([method, args]) => { interact({id: +document.body.id, method, args, kargs: {}, event: {}}) }",
        [method, list(args)],
    )


async def test_a_killed_app_is_told_and_starts_again_on_request(
    broken_stack: Stack, new_user: NewUser
) -> None:
    page = await opened(broken_stack, new_user)
    pid = int(await page.inner_text(".pid"))
    os.kill(pid, signal.SIGKILL)
    await expect(page.get_by_role("status")).to_contain_text("The app stopped unexpectedly.")
    await shoot(page, "crashed")
    await page.get_by_role("button", name="Start again").click()
    await expect(page.locator(".pid")).not_to_have_text(str(pid))


async def test_an_endless_loop_is_told_to_its_user(broken_stack: Stack, new_user: NewUser) -> None:
    page = await opened(broken_stack, new_user, "/short")
    await call(page, "spin")
    await expect(page.get_by_role("status")).to_contain_text("took too long", timeout=10_000)
    await shoot(page, "loop")


async def test_clicks_during_a_restart_of_the_web_worker_are_not_lost(
    broken_stack: Stack, new_user: NewUser
) -> None:
    page = await opened(broken_stack, new_user)
    await call(page, "tick", 100)
    await page.click(".run")
    worker = broken_stack.workers[0]
    worker.process.kill()
    await page.wait_for_function("document.body.classList.contains('htagoff')")
    await page.click(".run")
    await page.click(".run")
    await expect(page.get_by_role("status")).to_contain_text("Connection lost")
    await shoot(page, "lost")
    worker.restart()
    await expect(page.locator(".ran")).to_have_text("click click click", timeout=20_000)
    await expect(page.locator(".ticks")).to_have_text("100", timeout=20_000)
    assert not await page.evaluate("document.body.classList.contains('htagoff')")


async def test_a_page_comes_back_by_itself_after_the_supervisor_was_killed_and_started(
    broken_stack: Stack, new_user: NewUser
) -> None:
    page = await opened(broken_stack, new_user)
    pid = await page.inner_text(".pid")
    broken_stack.supervisor.kill()
    await expect(page.get_by_role("status")).to_contain_text("Waiting", timeout=20_000)
    await shoot(page, "waiting")
    broken_stack.add_supervisor()
    await expect(page.locator(".pid")).not_to_have_text(pid, timeout=30_000)


async def test_without_a_supervisor_the_page_says_what_to_do_and_comes_in_by_itself(
    broken_stack: Stack, new_user: NewUser
) -> None:
    broken_stack.supervisor.kill()
    page = await new_user()

    async def says_so() -> bool:
        await page.goto(broken_stack.workers[0].base)
        return "No supervisor is running" in await page.content()

    await until(says_so, "the page says that there is no supervisor", 30)
    await expect(page.locator("code")).to_contain_text("htagweb-supervisor")
    await shoot(page, "no-supervisor")
    broken_stack.add_supervisor()
    await expect(page.locator(".pid")).to_be_visible(timeout=30_000)


async def test_a_broken_app_shows_what_is_wrong(broken_stack: Stack, new_user: NewUser) -> None:
    page = await new_user()
    response = await page.goto(broken_stack.workers[0].base + "/failing")
    assert response is not None
    assert response.status == 500
    await expect(page.locator("body")).to_contain_text("ValueError: no luck today")
    await shoot(page, "failing")
