"""Sealed pages in a real browser against real web workers: the two sides of the seal were written apart."""

from __future__ import annotations

import pytest
import redis
from playwright.async_api import Browser, Page, Request, WebSocket, expect

from tests.browser.conftest import CHROMIUM_ARGS, VIEWPORT, NewUser
from tests.browser.counter_page import CounterPage
from tests.support.requirements import chromium
from tests.support.stack import Stack
from tests.support.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")
ON_LOAD_ONLY_P256 = """
    const generate = crypto.subtle.generateKey.bind(crypto.subtle);
    crypto.subtle.generateKey = (algorithm, ...rest) =>
        (algorithm.name ?? algorithm) === "X25519"
            ? Promise.reject(new DOMException("not supported", "NotSupportedError"))
            : generate(algorithm, ...rest);
"""


class Wire:
    """What a page sends and gets."""

    def __init__(self, page: Page) -> None:
        self.sent: list[str | bytes] = []
        self.got: list[str | bytes] = []
        self.urls: list[str] = []
        page.on("request", self._take_request)
        page.on("websocket", self._take_socket)

    def _take_request(self, request: Request) -> None:
        if request.method == "POST":
            self.sent.append(request.post_data_buffer or b"")

    def _take_socket(self, socket: WebSocket) -> None:
        self.urls.append(socket.url)
        socket.on("framesent", self._take_sent)
        socket.on("framereceived", self._take_got)

    def _take_sent(self, data: str | bytes) -> None:
        self.sent.append(data)

    def _take_got(self, data: str | bytes) -> None:
        self.got.append(data)


async def click(page: Page, times: int) -> None:
    """Click, and wait until the page shows that so many clicks ran."""
    before = (await page.inner_text("pre.ran")).split()
    for _ in range(times):
        await page.click("button.run")

    async def are_shown() -> bool:
        return len((await page.inner_text("pre.ran")).split()) == len(before) + times

    await until(are_shown, f"{times} clicks more")


@pytest.mark.parametrize("path", ["/parano", "/parano-http-only"])
@pytest.mark.parametrize("curve", ["X25519", "P-256"])
async def test_a_browser_and_a_web_worker_understand_each_other_sealed(
    shared_stack: Stack, new_user: NewUser, path: str, curve: str
) -> None:
    page = await new_user()
    if curve == "P-256":
        await page.add_init_script(ON_LOAD_ONLY_P256)
    wire = Wire(page)
    await page.goto(f"{shared_stack.workers[0].base}{path}")
    await click(page, 3)
    said = [text if isinstance(text, bytes) else text.encode() for text in (*wire.sent, *wire.got)]
    assert len(said) > 3
    assert not any(b"click" in data or b"ran" in data for data in said)
    asked = [*wire.urls, *(text.decode(errors="replace") for text in said)]
    assert any(curve in text for text in asked)


async def test_a_page_whose_channel_was_forgotten_makes_another_and_no_click_is_lost(
    shared_stack: Stack, new_user: NewUser
) -> None:
    page = await new_user()
    await page.goto(f"{shared_stack.workers[0].base}/parano-http-only")
    await click(page, 2)
    with redis.Redis(unix_socket_path=str(shared_stack.server.path)) as client:
        for name in client.scan_iter("*:seal:*"):
            client.delete(name)
    await click(page, 2)


async def test_a_page_without_a_websocket_works_in_clear_text_too(
    shared_stack: Stack, new_user: NewUser
) -> None:
    page = await new_user()
    wire = Wire(page)
    await page.goto(f"{shared_stack.workers[0].base}/http-only")
    await click(page, 3)
    assert wire.urls == []


@pytest.mark.parametrize("path", ["/parano", "/parano-http-only"])
async def test_at_a_plain_http_name_the_page_says_that_it_stays_closed_and_sends_nothing(
    shared_stack: Stack, browser: Browser, path: str
) -> None:
    # A name that is not localhost: only a browser of its own can be told where it leads.
    args = [*CHROMIUM_ARGS, "--no-proxy-server", "--host-resolver-rules=MAP htag.test 127.0.0.1"]
    alone = await browser.browser_type.launch(executable_path=chromium(), args=args)
    try:
        page = await alone.new_page(viewport=VIEWPORT)
        wire = Wire(page)
        await page.goto(f"http://htag.test:{shared_stack.workers[0].port}{path}")
        tab = CounterPage(page)
        await expect(tab.notice).to_contain_text("This page speaks encrypted only")
        await expect(tab.notice).to_contain_text("https:// and on localhost alone")
        await tab.shoot(f"parano-plain-name{path.removeprefix('/parano')}")
        await tab.press("run")
        assert await page.evaluate("[isSecureContext, htagweb.inspect().state]") == [False, "ended"]
        assert (wire.sent, wire.urls) == ([], [])
        await expect(page.locator("pre.ran")).to_have_text("")
    finally:
        await alone.close()
