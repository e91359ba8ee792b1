"""A server that is away when a page has to be loaded anew: the page stays, says so, and comes back alone."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from playwright.async_api import Page, Request, expect

from tests.support.proxy import Proxy, proxy_to
from tests.support.stack import Stack
from tests.support.waiting import until

if TYPE_CHECKING:
    from tests.browser.conftest import NewUser

pytestmark = pytest.mark.asyncio(loop_scope="module")
COMES_BACK_MS = 30_000
SHOTS = os.environ.get("HTAGWEB_SHOTS")
"""A directory for screenshots, for people who want to look."""
LEFT = "Your last action may not have been carried out."


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """Give an installation with two web workers."""
    stack = Stack(tmp_path_factory.mktemp("stack"))
    stack.env["HTAGWEB_DRAIN_S"] = "1"
    try:
        stack.add_supervisor()
        stack.add_worker()
        stack.add_worker()
        yield stack
    finally:
        stack.close()


async def until_ready(page: Page) -> None:
    """Wait until the page is connected and up to date."""
    await page.wait_for_function("window.htagweb?.inspect().state === 'ready'", timeout=COMES_BACK_MS)


async def opened(new_user: NewUser, address: str) -> Page:
    """Return a page that is open and connected."""
    page = await new_user()
    await page.goto(address)
    await until_ready(page)
    return page


async def call(page: Page, method: str, *args: object) -> None:
    """Interact with the app itself."""
    await page.evaluate(
        "([method, args]) => { interact({id: +document.body.id, method, args, kargs: {}, event: {}}) }",
        [method, list(args)],
    )


async def shoot(page: Page, name: str) -> None:
    """Take a screenshot where one is wanted."""
    if SHOTS:
        await page.screenshot(path=f"{SHOTS}/{name}.png", animations="disabled")


def failures(page: Page) -> list[Request]:
    """Return the requests of the page that fail from now on."""
    failed: list[Request] = []

    def note(request: Request) -> None:  # Playwright takes no built-in function
        failed.append(request)

    page.on("requestfailed", note)
    return failed


async def is_told_to_move(stack: Stack, page: Page, proxy: Proxy) -> None:
    """Restart the supervisor while no new connection comes through: the page can hear that, and no more."""
    proxy.refuses = True
    failed = failures(page)
    stack.supervisor.stop()
    await page.wait_for_function("htagweb.inspect().state === 'ended'")
    proxy.cut()
    await expect(page.get_by_role("status")).to_contain_text("Waiting for the server…")
    await until(lambda: len(failed) >= 2, "the page has asked for itself in vain")


@pytest.mark.parametrize("path", ["/", "/parano"])
async def test_a_page_that_has_to_move_while_nothing_answers_waits_and_then_moves(
    stack: Stack, new_user: NewUser, path: str
) -> None:
    async with proxy_to(stack.workers[0].port) as proxy:
        page = await opened(new_user, proxy.base + path)
        pid = await page.inner_text(".pid")
        await call(page, "wait", "late", 60)
        await is_told_to_move(stack, page, proxy)
        assert await page.inner_text(".pid") == pid
        await shoot(page, "away-waiting")
        stack.add_supervisor()
        proxy.refuses = False
        await expect(page.locator(".pid")).not_to_have_text(pid, timeout=COMES_BACK_MS)
        await expect(page.get_by_role("status")).to_contain_text(LEFT)
        await shoot(page, "away-unanswered")
        await until_ready(page)
        await page.click(".run")
        await expect(page.locator(".ran")).to_have_text("click")


async def test_a_page_that_says_what_is_missing_survives_a_web_worker_that_is_away_too(
    stack: Stack, new_user: NewUser
) -> None:
    stack.supervisor.stop()
    async with proxy_to(stack.workers[0].port) as proxy:
        page = await new_user()

        async def says_so() -> bool:
            await page.goto(proxy.base)
            return "No supervisor is running" in await page.content()

        await until(says_so, "the page says that there is no supervisor", 30)
        proxy.refuses = True
        proxy.cut()
        failed = failures(page)
        await until(lambda: len(failed) >= 1, "the page has asked for itself in vain")
        assert "No supervisor is running" in await page.content()
        await shoot(page, "away-no-supervisor")
        stack.add_supervisor()
        proxy.refuses = False
        await expect(page.locator(".pid")).to_be_visible(timeout=COMES_BACK_MS)


@pytest.mark.parametrize("path", ["/", "/http-only"])
async def test_clicks_on_a_worker_that_is_killed_are_answered_through_another_each_once(
    stack: Stack, new_user: NewUser, path: str
) -> None:
    async with proxy_to(stack.workers[0].port) as proxy:
        page = await opened(new_user, proxy.base + path)
        await call(page, "wait", "slow", 1)
        for name in ("a", "b"):
            await call(page, "run", name)
        await expect(page.locator(".ran")).to_contain_text("b")
        proxy.port = stack.workers[1].port
        for name in ("c", "d"):
            await call(page, "run", name)
        stack.workers[0].process.kill()
        for name in ("e", "f"):
            await call(page, "run", name)
        await page.wait_for_function("htagweb.inspect().unanswered.length === 0", timeout=COMES_BACK_MS)
        ran = (await page.inner_text(".ran")).split()
        assert [name for name in ran if name != "slow"] == list("abcdef")
        assert ran.count("slow") == 1
        stack.workers[0].restart()
