"""A real page on a real installation, over a network that cuts, freezes or sleeps: nothing is lost."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from playwright.async_api import Page, WebSocket, expect

from tests.support.proxy import Proxy, proxy_to
from tests.support.stack import Stack
from tests.support.waiting import until

if TYPE_CHECKING:
    from tests.browser.conftest import NewUser

pytestmark = pytest.mark.asyncio(loop_scope="module")
IDLE_S = 3.0
PINGS = 6
"""One a second: twice as long as an idle connection lives."""
TICKS = 200
"""Fewer than the actions that are kept for a page that lags behind."""
HOUR_MS = 3_600_000
RECORD_ACTIONS = """() => {
  const apply = window.action;
  window.applied = [];
  window.action = (message) => { applied.push(message); apply(message); };
}"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """Give an installation with two web workers; pages of the second one ping every second."""
    stack = Stack(tmp_path_factory.mktemp("stack"))
    try:
        stack.add_supervisor()
        stack.add_worker()
        stack.env["PING_S"] = "0"  # with each tick of the page's pulse
        stack.add_worker()
        yield stack
    finally:
        stack.close()


@dataclass
class Line:
    """One WebSocket of a page, as the browser sees it."""

    socket: WebSocket
    sent: list[str] = field(default_factory=list)
    received: list[str] = field(default_factory=list)

    @property
    def pings(self) -> int:
        """How many pings went out."""
        return sum('"ping"' in text for text in self.sent)

    @property
    def pongs(self) -> int:
        """How many of them were answered."""
        return sum('"pong"' in text for text in self.received)


def watch(page: Page) -> list[Line]:
    """Return the sockets that the page opens from now on."""
    lines: list[Line] = []

    def handle_socket(socket: WebSocket) -> None:
        line = Line(socket)
        lines.append(line)
        socket.on("framesent", lambda text: line.sent.append(str(text)))
        socket.on("framereceived", lambda text: line.received.append(str(text)))

    page.on("websocket", handle_socket)
    return lines


async def until_ready(page: Page) -> None:
    """Wait until the page is connected and up to date."""
    await page.wait_for_function("htagweb.inspect().state === 'ready'")


async def opened(page: Page, base: str) -> list[Line]:
    """Open and connect the page; return its sockets, present and to come."""
    lines = watch(page)
    await page.goto(base)
    await until_ready(page)
    return lines


async def call(page: Page, method: str, *args: object) -> None:
    """Interact with the app itself."""
    await page.evaluate(
        "([method, args]) => { interact({id: +document.body.id, method, args, kargs: {}, event: {}}) }",
        [method, list(args)],
    )


async def test_a_proxy_that_cuts_idle_connections_is_reconnected_through(
    stack: Stack, new_user: NewUser
) -> None:
    async with proxy_to(stack.workers[0].port, IDLE_S) as proxy:
        page = await new_user()
        lines = await opened(page, proxy.base)
        await until(lambda: len(lines) >= 2, "a socket without pings was cut, and there is another")
        await until_ready(page)
        assert proxy.idle_cuts >= 1
        assert lines[0].pings == 0
        await page.click(".run")
        await expect(page.locator(".ran")).to_have_text("click")


async def test_pings_keep_a_connection_that_a_proxy_would_cut(stack: Stack, new_user: NewUser) -> None:
    async with proxy_to(stack.workers[1].port, IDLE_S) as proxy:
        page = await new_user()
        lines = await opened(page, proxy.base)
        await until(lambda: lines[0].pongs >= PINGS, "pings were answered for a while")
        assert len(lines) == 1
        assert not lines[0].socket.is_closed()


async def ticks_of(page: Page) -> list[int]:
    """Return what the actions that the page applied showed as ticks, in their order."""
    messages = await page.evaluate("applied")
    texts = [json.dumps(message.get("update", {})) for message in messages]
    return [int(number) for text in texts for number in re.findall(r'class=\\"ticks\\"[^>]*>(\d+)<', text)]


async def test_updates_missed_while_the_network_was_away_arrive_in_order_each_once(
    stack: Stack, new_user: NewUser
) -> None:
    worker = stack.workers[0]
    async with proxy_to(worker.port) as proxy:
        page = await new_user()
        await opened(page, proxy.base)
        beside = await page.context.new_page()
        await opened(beside, worker.base)
        await page.evaluate(RECORD_ACTIONS)
        await call(page, "tick", TICKS)
        await expect(page.locator(".ticks")).to_have_text(re.compile(r"\d\d"))
        await take_away(proxy, page)
        assert len(await ticks_of(page)) < TICKS
        await expect(beside.locator(".ticks")).to_have_text(str(TICKS))
        proxy.refuses = False
        await until_ready(page)
        await expect(page.locator(".ticks")).to_have_text(str(TICKS))
        assert await ticks_of(page) == list(range(1, TICKS + 1))


async def take_away(proxy: Proxy, page: Page) -> None:
    """Cut the page off; it stays so until the proxy takes connections again."""
    proxy.refuses = True
    proxy.cut()
    await page.wait_for_function("htagweb.inspect().state === 'retrying'")


async def test_a_click_while_the_network_is_away_is_carried_out_once_when_it_is_back(
    stack: Stack, new_user: NewUser
) -> None:
    async with proxy_to(stack.workers[0].port) as proxy:
        page = await new_user()
        await opened(page, proxy.base)
        await take_away(proxy, page)
        await page.click(".run")
        assert await page.inner_text(".ran") == ""
        proxy.refuses = False
        await expect(page.locator(".ran")).to_have_text("click", timeout=15_000)
        await page.click(".run")
        await expect(page.locator(".ran")).to_have_text("click click")


async def test_after_a_sleep_in_which_the_connection_died_the_page_notices_and_catches_up(
    stack: Stack, new_user: NewUser
) -> None:
    worker = stack.workers[0]
    async with proxy_to(worker.port) as proxy:
        page = await new_user()
        await page.clock.install()
        lines = await opened(page, proxy.base)
        proxy.freeze()
        beside = await page.context.new_page()
        await opened(beside, worker.base)
        await beside.click(".run")
        await expect(beside.locator(".ran")).to_have_text("click")
        assert await page.inner_text(".ran") == ""
        await page.clock.fast_forward(HOUR_MS)
        await expect(page.locator(".ran")).to_have_text("click", timeout=15_000)
        assert lines[0].pings >= 1
        assert lines[0].pongs == 0
        assert len(lines) == 2


async def test_after_a_sleep_that_the_connection_survived_a_ping_is_all_that_happens(
    stack: Stack, new_user: NewUser
) -> None:
    async with proxy_to(stack.workers[0].port) as proxy:
        page = await new_user()
        await page.clock.install()
        lines = await opened(page, proxy.base)
        await page.clock.fast_forward(HOUR_MS)
        await until(lambda: lines[0].pongs >= 1, "the ping was answered")
        await page.click(".run")
        await expect(page.locator(".ran")).to_have_text("click")
        assert len(lines) == 1
