"""The browser client with real web workers, in each of its four ways to speak."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from playwright.async_api import Page, Request, WebSocket, expect

from tests.support.stack import Stack

if TYPE_CHECKING:
    from tests.browser.conftest import NewUser

pytestmark = pytest.mark.asyncio(loop_scope="module")

WAYS = ["/", "/http-only", "/parano", "/parano-http-only"]
WORD = "xylophone"
"""What a sealed page never says in clear text."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """Give an installation whose web worker is killed by the tests."""
    stack = Stack(tmp_path_factory.mktemp("stack"))
    try:
        stack.add_supervisor()
        stack.add_worker()
        yield stack
    finally:
        stack.close()


class Overheard:
    """What a page says and hears after its document was loaded."""

    def __init__(self, page: Page) -> None:
        """Listen to ``page``."""
        self.posts: list[bytes] = []
        self.sockets = 0
        self.frames: list[bytes] = []
        page.on("request", self._handle_request)
        page.on("websocket", self._handle_web_socket)

    def _handle_request(self, request: Request) -> None:
        if request.method == "POST":
            self.posts.append(request.post_data_buffer or b"")

    def _handle_web_socket(self, socket: WebSocket) -> None:
        self.sockets += 1
        socket.on("framesent", self._handle_frame)
        socket.on("framereceived", self._handle_frame)

    def _handle_frame(self, frame: str | bytes) -> None:
        self.frames.append(frame.encode() if isinstance(frame, str) else frame)


async def call(page: Page, method: str, *args: object) -> None:
    """Interact with the app itself."""
    await page.evaluate(
        "([method, args]) => { interact({id: +document.body.id, method, args, kargs: {}, event: {}}) }",
        [method, list(args)],
    )


async def opened(served: Stack, new_user: NewUser, path: str) -> tuple[Page, Overheard]:
    """Return a page that is open and connected, and what is heard of it."""
    page = await new_user()
    overheard = Overheard(page)
    await page.goto(served.workers[0].base + path)
    await page.wait_for_function("htagweb.inspect().state === 'ready'")
    return page, overheard


@pytest.mark.parametrize("path", WAYS)
async def test_clicks_run_in_order_and_a_long_one_blocks_none(
    served: Stack, new_user: NewUser, path: str
) -> None:
    page, overheard = await opened(served, new_user, path)
    await call(page, "wait", "long", 1.5)
    for number in range(5):
        await call(page, "run", f"{WORD}{number}")
    short = " ".join(f"{WORD}{number}" for number in range(5))
    await expect(page.locator(".ran")).to_have_text(short)
    await expect(page.locator(".ran")).to_have_text(f"{short} long")
    said = b"".join([*overheard.posts, *overheard.frames])
    assert bool(overheard.sockets) is ("http-only" not in path)
    assert (WORD.encode() in said) is ("parano" not in path)


@pytest.mark.parametrize("path", WAYS)
async def test_a_web_worker_that_is_killed_costs_no_click_and_repeats_none(
    served: Stack, new_user: NewUser, path: str
) -> None:
    page, _ = await opened(served, new_user, path)
    await call(page, "wait", "long", 1.0)
    await call(page, "run", "short")
    await expect(page.locator(".ran")).to_have_text("short")
    served.workers[0].restart()
    await call(page, "run", "after")
    await page.wait_for_function("htagweb.inspect().unanswered.length === 0")
    ran = await page.locator(".ran").text_content()
    assert sorted((ran or "").split()) == ["after", "long", "short"]
