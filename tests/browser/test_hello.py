"""The smallest example in a real browser."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.async_api import expect

from tests.support.examples import HOME, start

if TYPE_CHECKING:
    from tests.browser.conftest import NewUser

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_hello_says_hello(new_user: NewUser, tmp_path: Path) -> None:
    process = start("hello", tmp_path)
    try:
        page = await new_user()
        await page.goto(HOME)
        await expect(page.locator("body")).to_have_text("hello world")
    finally:
        process.popen.send_signal(signal.SIGINT)
        process.popen.wait(30)
