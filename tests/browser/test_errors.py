"""What a person sees of a handler that raises: with debug its traceback, else nothing of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.async_api import expect

from tests.browser.counter_page import CounterPage, web_server
from tests.support.stack import Stack

if TYPE_CHECKING:
    from tests.browser.conftest import NewUser

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_with_debug_the_traceback_lies_over_the_page_until_escape_and_the_app_lives_on(
    shared_stack: Stack, new_user: NewUser
) -> None:
    with web_server(shared_stack, "counter_for_tests:debugged") as server:
        tab = await CounterPage(await new_user()).open(server.base)
        pid = await tab.pid()
        await tab.press("fail")
        overlay = tab.page.get_by_role("dialog")
        await expect(overlay).to_contain_text("The app raised an error")
        await expect(overlay).to_contain_text("Traceback (most recent call last)")
        await expect(overlay).to_contain_text("counter_for_tests.py")
        await expect(overlay).to_contain_text("ValueError: no luck")
        await tab.shoot("debug-overlay")
        await tab.page.keyboard.press("Escape")
        await expect(overlay).to_be_hidden()
        await tab.press("count")
        await tab.shows_count(1)
        assert await tab.pid() == pid


async def test_without_debug_there_is_neither_overlay_nor_traceback_and_the_app_lives_on(
    shared_stack: Stack, new_user: NewUser
) -> None:
    with web_server(shared_stack) as server:
        page = await new_user()
        heard: list[str] = []
        page.on("websocket", lambda socket: socket.on("framereceived", lambda text: heard.append(str(text))))
        page.on("console", lambda message: heard.append(message.text))
        tab = await CounterPage(page).open(server.base)
        await tab.press("fail")
        await tab.press("count")
        await tab.shows_count(1)
        await page.wait_for_function("htagweb.inspect().unanswered.length === 0")
        await tab.shoot("no-debug")
        assert any('"err"' in text for text in heard)  # htag's own line, for the console
        assert not any("Traceback" in text or "counter_for_tests.py" in text for text in heard)
        await expect(page.get_by_role("dialog")).to_have_count(0)
        assert "Traceback" not in await page.content()
