"""A page of a stranger's in the browser of a user: it cannot speak to the user's app."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from playwright.async_api import Page

from tests.browser.counter_page import CounterPage, web_server
from tests.support.stack import Stack

if TYPE_CHECKING:
    from tests.browser.conftest import NewUser

pytestmark = pytest.mark.asyncio(loop_scope="module")
POST = """([url, body]) =>
  fetch(url, { method: "POST", body, mode: "no-cors", credentials: "include" }).catch(() => null)"""
CONNECT = """(url) => new Promise((resolve) => {
  const socket = new WebSocket(url);
  socket.onopen = () => resolve("open");
  socket.onclose = () => resolve("closed");
})"""


@asynccontextmanager
async def stranger() -> AsyncIterator[int]:
    """Serve an empty page; give its port of loopback."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\nconnection: close\r\n\r\n<!DOCTYPE html>"
        )
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


async def post(page: Page, url: str, message: str) -> tuple[int, bool]:
    """POST from the page; return the status, and whether the user's cookie went along."""
    async with page.expect_response(url) as coming:
        await page.evaluate(POST, [url, message])
    response = await coming.value
    return response.status, "htagweb_session=" in (await response.request.all_headers()).get("cookie", "")


async def socket_url(tab: CounterPage, url: str) -> str:
    """Return where the tab's page would connect to."""
    config = json.loads(await tab.page.inner_text("#htagweb-config"))
    return f"ws{url[4:]}?page=another-page-of-it-0&generation={config['generation']}&last={config['last']}"


@pytest.mark.parametrize(("host", "sends_cookie"), [("127.0.0.1", True), ("localhost", False)])
async def test_a_page_of_another_origin_can_neither_connect_nor_post_to_the_users_app(
    shared_stack: Stack, new_user: NewUser, host: str, sends_cookie: bool
) -> None:
    with web_server(shared_stack) as server:
        tab = await CounterPage(await new_user()).open(server.base)
        url = f"{server.base}/_/counter_for_tests.Counter"
        body = int(await tab.page.evaluate("document.body.id"))
        message = json.dumps({"id": body, "method": "count", "args": [], "kargs": {}, "event": {}})
        # Another port of one host is another origin but the same site: there the cookie goes along.
        evil = await tab.page.context.new_page()
        async with stranger() as port:
            await evil.goto(f"http://{host}:{port}/")
            assert await post(evil, url, message) == (403, sends_cookie)
            assert await evil.evaluate(CONNECT, await socket_url(tab, url)) == "closed"
        await tab.page.reload()
        await tab.shows_count(0)
        # The same from a page of its own: it was the origin that was refused.
        own = await tab.page.context.new_page()
        await own.goto(f"{server.base}/healthz")
        assert await post(own, url, message) == (200, True)
        assert await own.evaluate(CONNECT, await socket_url(tab, url)) == "open"
        await tab.shows_count(1)
