"""An app under a mount of a larger application, and under a prefix of a proxy, as a person uses it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.async_api import Page, expect

from tests.browser.counter_page import web_server
from tests.browser.prefix_proxy import prefix_proxy
from tests.support.stack import Stack

if TYPE_CHECKING:
    from tests.browser.conftest import NewUser

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def clicks_are_kept(page: Page, address: str) -> None:
    """Open the page, click over its WebSocket, and find the click again when it is loaded anew."""
    sockets: list[str] = []
    page.on("websocket", lambda socket: sockets.append(socket.url))
    await page.goto(address)
    await page.click("button.more")
    await expect(page.locator("i")).to_have_text(["more"])
    assert sockets == [f"ws{address[4:]}_/server_for_tests.App?{sockets[0].partition('?')[2]}"]
    await page.reload()
    await page.click("button.more")
    await expect(page.locator("i")).to_have_text(["more", "more"])


@pytest.mark.parametrize("application", ["without_lifespan", "with_lifespan", "fastapi"])
async def test_an_app_under_a_mount_is_clicked(
    shared_stack: Stack, new_user: NewUser, application: str
) -> None:
    with web_server(shared_stack, f"mounted_for_tests:{application}") as server:
        await clicks_are_kept(await new_user(), f"{server.base}/apps/")


@pytest.mark.parametrize(
    ("application", "mount"), [("server_for_tests:app", ""), ("mounted_for_tests:with_lifespan", "/apps")]
)
async def test_an_app_behind_a_proxy_that_strips_a_prefix_is_clicked(
    shared_stack: Stack, new_user: NewUser, application: str, mount: str
) -> None:
    with web_server(shared_stack, application, "--root-path", "/proxied") as server:
        async with prefix_proxy(int(server.base.rpartition(":")[2]), "/proxied") as address:
            await clicks_are_kept(await new_user(), f"{address}{mount}/")
