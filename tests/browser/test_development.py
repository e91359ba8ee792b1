"""What a developer sees: pages that follow their source, and errors that heal."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from playwright.async_api import Page, expect

from tests.support.projects import Project
from tests.support.waiting import until_sync

if TYPE_CHECKING:
    from tests.browser.conftest import NewUser

pytestmark = pytest.mark.asyncio(loop_scope="module")
SHOTS = os.environ.get("HTAGWEB_SHOTS")
"""A directory for screenshots, for people who want to look."""
COMES_BACK_MS = 20_000


@pytest.fixture
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """Give a project that is served with debug."""
    made = Project(tmp_path_factory.mktemp("project"), debug=True)
    try:
        until_sync(lambda: "Uvicorn running" in made.server.process.text(), "it serves", 30)
        yield made
    finally:
        made.close()


async def opened(project: Project, new_user: NewUser) -> Page:
    """Return a page that is open and connected."""
    page = await new_user()
    await page.goto(project.base)
    await shows(page, "hello")
    return page


async def shows(page: Page, text: str) -> None:
    """Wait until the page shows the text by itself, and is connected."""
    await expect(page.locator(".words")).to_have_text(text, timeout=COMES_BACK_MS)
    await page.wait_for_function("window.htagweb?.inspect().state === 'ready'")


async def shoot(page: Page, name: str) -> None:
    """Take a screenshot where one is wanted."""
    if SHOTS:
        await page.screenshot(path=f"{SHOTS}/{name}.png")


async def test_an_open_page_follows_its_source_and_keeps_its_session(
    project: Project, new_user: NewUser
) -> None:
    page = await opened(project, new_user)
    await expect(page.locator(".opened")).to_have_text("1")
    await page.evaluate("window.mark = 1")
    project.say("goodbye")
    await shows(page, "goodbye")
    assert await page.evaluate("window.mark") is None
    await expect(page.locator(".opened")).to_have_text("2")


async def test_a_syntax_error_is_shown_with_its_line_and_goes_when_it_is_mended(
    project: Project, new_user: NewUser
) -> None:
    page = await opened(project, new_user)
    project.write("words.py", "TEXT = 'goodbye'\n\ndef broken(:\n")
    body = page.locator("body")
    await expect(body).to_contain_text("SyntaxError: invalid syntax", timeout=COMES_BACK_MS)
    await expect(page.locator("pre")).to_contain_text('words.py", line 3')
    await expect(page.locator("pre")).to_contain_text("def broken(:")
    await shoot(page, "develop-syntax-error")
    project.write("words.py", "TEXT = 'goodbye' + 1\n")
    await expect(page.locator("pre")).to_contain_text("line 1, in <module>", timeout=COMES_BACK_MS)
    await shoot(page, "develop-import-error")
    project.say("mended")
    await shows(page, "mended")
    await expect(page.locator(".opened")).to_have_text("2")
    await shoot(page, "develop-mended")


async def test_a_constructor_that_raises_is_shown_and_goes_when_it_is_mended(
    project: Project, new_user: NewUser
) -> None:
    page = await opened(project, new_user)
    project.replace("server.py", "words.TEXT", "words.TEXT + 1")
    await expect(page.locator("pre")).to_contain_text("in init", timeout=COMES_BACK_MS)
    await shoot(page, "develop-init-error")
    project.replace("server.py", "words.TEXT + 1", "words.TEXT + '!'")
    await shows(page, "hello!")


async def test_an_error_page_is_not_loaded_again_while_the_error_is_the_same(
    project: Project, new_user: NewUser
) -> None:
    page = await new_user()
    await page.goto(f"{project.base}/unreadable.App")
    await page.evaluate("window.mark = 1")
    for _ in range(2):
        async with page.expect_response("**/unreadable.App"):
            pass
    assert await page.evaluate("window.mark") == 1
    project.write("unreadable.py", "def still_broken(:\n")
    await expect(page.locator("pre")).to_contain_text("still_broken", timeout=COMES_BACK_MS)
    assert await page.evaluate("window.mark") is None
