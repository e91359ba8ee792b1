"""Web servers of ``tests/apps/counter_for_tests.py``, and its page as a person uses it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.async_api import Locator, Page, expect

from tests.support.processes import APPS
from tests.support.servers import WebServer
from tests.support.stack import Stack

SHOTS = os.environ.get("HTAGWEB_SHOTS")
"""A directory for screenshots, for people who want to look."""
COMES_BACK_MS = 20_000


@contextmanager
def web_server(
    stack: Stack, application: str = "counter_for_tests:app", *options: str, **settings: str
) -> Iterator[WebServer]:
    """Run uvicorn with its options for an application of ``tests/apps``, and settings of ours."""
    directory = stack.directory / f"server{len(list(stack.directory.glob('server*')))}"
    directory.mkdir()
    env = stack.env | {f"HTAGWEB_{name.upper()}": value for name, value in settings.items()}
    command = ["-m", "uvicorn", "--app-dir", str(APPS), application, "--port", "{port}", *options]
    server = WebServer(command, directory, env)
    try:
        server.process.wait_for("Uvicorn running")
        yield server
    finally:
        server.close()


class CounterPage:
    """A tab that shows the counter."""

    def __init__(self, page: Page) -> None:
        self.page = page

    async def open(self, address: str) -> CounterPage:
        """Open the address, and wait until the page is connected."""
        await self.page.goto(address)
        await self.is_ready()
        return self

    async def is_ready(self) -> None:
        """Wait until the page is connected."""
        await self.page.wait_for_function("window.htagweb?.inspect().state === 'ready'")

    async def press(self, name: str) -> None:
        """Press a button of the app or of a notice."""
        await self.page.get_by_role("button", name=name, exact=True).click()

    async def shows_count(self, count: int) -> None:
        """Wait until this count is shown."""
        await expect(self.page.locator(".count")).to_have_text(str(count))

    async def pid(self) -> int:
        """Return the process id of the app that rendered the page."""
        return int(await self.page.inner_text(".pid"))

    async def is_of_another_app_than(self, pid: int) -> None:
        """Wait until another app process rendered the page."""
        await expect(self.page.locator(".pid")).not_to_have_text(str(pid), timeout=COMES_BACK_MS)

    @property
    def notice(self) -> Locator:
        """What is said at the page's lower edge."""
        return self.page.get_by_role("status")

    async def shoot(self, name: str) -> None:
        """Take a screenshot where one is wanted."""
        if SHOTS:
            await self.page.screenshot(path=f"{SHOTS}/{name}.png", animations="disabled")
