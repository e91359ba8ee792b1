"""The smallest example in a real browser."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.async_api import expect

from tests.support.examples import HOME, LONGEST_TURN_S, running

if TYPE_CHECKING:
    from tests.browser.conftest import NewUser

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(LONGEST_TURN_S + 60)]


async def test_hello_says_hello(new_user: NewUser, tmp_path: Path) -> None:
    async with running("hello", tmp_path):
        page = await new_user()
        await page.goto(HOME)
        await expect(page.locator("body")).to_have_text("hello world")
