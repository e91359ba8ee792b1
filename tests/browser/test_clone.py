"""A new clone in an empty folder: one command, and the page is there."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.async_api import expect

from tests.support.examples import HOME, LONGEST_TURN_S, is_served, port_to_itself
from tests.support.processes import ROOT, clean_environment
from tests.support.waiting import until

if TYPE_CHECKING:
    from tests.browser.conftest import NewUser

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(2 * LONGEST_TURN_S)]


async def test_make_run_in_a_new_clone_serves_the_example(new_user: NewUser, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    async with port_to_itself(), made_to_run(clone, tmp_path / "make.log"):
        page = await new_user()
        await page.goto(HOME)
        await page.click(".increment")
        await expect(page.locator(".number")).to_have_text("1")
        await expect(page.locator(".time")).to_have_text(re.compile(r"\d\d:\d\d:\d\d"))


@asynccontextmanager
async def made_to_run(clone: Path, log: Path) -> AsyncIterator[None]:
    """Have ``make run`` serve for the block."""
    with log.open("wb") as output:
        make = subprocess.Popen(
            ["make", "run", f"PYTHON={sys.executable}"],
            cwd=clone,
            env=clean_environment(),
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        await until(lambda: is_served() or make.poll() is not None, "the example is served", 300)
        assert make.poll() is None, last_words(log)
        yield
    finally:
        os.killpg(make.pid, signal.SIGINT)
        make.wait(30)


def last_words(log: Path) -> str:
    """Return how the output of ``make`` ends."""
    return log.read_text()[-2000:]
