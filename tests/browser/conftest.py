"""One Chromium for each module of browser tests, and pages in contexts of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, async_playwright

from tests.browser.client_page import ClientPage, OpenPage
from tests.browser.post_page import PostPage, PostServer
from tests.support.requirements import chromium

CHROMIUM_ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
VIEWPORT: Any = {"width": 800, "height": 500}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    """Run one Chromium for the module."""
    path = chromium()
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=CHROMIUM_ARGS)
        yield browser
        await browser.close()


NewUser = Callable[[], Awaitable[Page]]


@pytest_asyncio.fixture(loop_scope="module")
async def new_user(browser: Browser) -> AsyncIterator[NewUser]:
    """Return a function that gives the first page of a user of its own; errors in a page fail the test."""
    errors: list[str] = []
    contexts: list[BrowserContext] = []

    async def make() -> Page:
        context = await browser.new_context(viewport=VIEWPORT)
        contexts.append(context)
        context.on("weberror", lambda error: errors.append(str(error.error)))
        return await context.new_page()

    yield make
    for context in contexts:
        await context.close()
    assert errors == []


@pytest_asyncio.fixture(loop_scope="module")
async def open_page(new_user: NewUser) -> AsyncIterator[OpenPage]:
    """Return a function that opens the client's test page."""

    async def open_page(**options: Any) -> ClientPage:
        return await ClientPage(await new_user()).open(**options)

    yield open_page


@pytest_asyncio.fixture(loop_scope="module")
async def client_page(new_user: NewUser) -> ClientPage:
    """Give the client's test page, not yet opened."""
    return ClientPage(await new_user())


@pytest_asyncio.fixture(loop_scope="module")
async def post_page(new_user: NewUser) -> AsyncIterator[PostPage]:
    """Give the client's test page for POSTs, not yet opened."""
    async with PostServer().run() as server:
        yield PostPage(await new_user(), server)
