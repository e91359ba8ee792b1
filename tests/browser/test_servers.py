"""Every documented way to start, clicked in a browser: it serves, and leaves nothing behind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.async_api import Page, expect

from tests.support.servers import COMMANDS, WebServer
from tests.support.stack import Stack

if TYPE_CHECKING:
    from tests.browser.conftest import NewUser

pytestmark = pytest.mark.asyncio(loop_scope="module")
DOCUMENTED = [name for name in COMMANDS if name != "uvicorn"]
CLICKS = 6
"""With a reload after each: no worker can know what the others did."""


@pytest.fixture(scope="module")
def given_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Give a Redis and a supervisor, as somebody has them who sets HTAGWEB_REDIS_URL."""
    stack = Stack(tmp_path_factory.mktemp("given"), "redis")
    try:
        stack.add_supervisor()
        yield stack
    finally:
        stack.close()


async def click_through(page: Page, base: str) -> None:
    """Click and reload: each connection goes to any of the workers, and the app stays the same."""
    await page.goto(base)
    pid = await page.inner_text(".pid")
    for number in range(1, CLICKS + 1):
        await page.click(".more")
        await expect(page.locator("i")).to_have_count(number)
        await page.reload()
        await expect(page.locator("i")).to_have_count(number)
        assert await page.inner_text(".pid") == pid


async def serve_and_click(
    name: str, directory: Path, user: NewUser, env: dict[str, str], stacks: int
) -> None:
    """Start the server, click through its app, and end it by Ctrl-C."""
    server = WebServer(COMMANDS[name], directory, env)
    try:
        await server.wait_until_it_serves()
        await click_through(await user(), server.base)
        assert len(server.directories) == stacks
        await server.interrupt()
    finally:
        server.close()


@pytest.mark.parametrize("name", DOCUMENTED)
async def test_with_a_private_stack_it_serves_and_ends_without_a_trace(
    name: str, new_user: NewUser, tmp_path: Path
) -> None:
    await serve_and_click(name, tmp_path, new_user, {}, stacks=1)


@pytest.mark.parametrize("name", DOCUMENTED)
async def test_with_a_broker_given_it_serves_starts_no_private_stack_and_ends_without_a_trace(
    name: str, given_broker: Stack, new_user: NewUser, tmp_path: Path
) -> None:
    await serve_and_click(name, tmp_path, new_user, given_broker.env, stacks=0)
