"""A new clone in an empty folder: one command, and the page is there."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.async_api import expect

from tests.support.examples import HOME, is_served
from tests.support.processes import ROOT, clean_environment
from tests.support.requirements import missing
from tests.support.waiting import until

if TYPE_CHECKING:
    from tests.browser.conftest import NewUser

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(400)]


async def test_make_run_in_a_new_clone_serves_the_example(new_user: NewUser, tmp_path: Path) -> None:
    if is_served():
        missing("a free port 8000")
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    with (tmp_path / "make.log").open("wb") as log:
        make = subprocess.Popen(
            ["make", "run", f"PYTHON={sys.executable}"],
            cwd=clone,
            env=clean_environment(),
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        served = await until(lambda: is_served() or make.poll() is not None, "the example is served", 300)
        assert served
        assert make.poll() is None, (tmp_path / "make.log").read_text()[-2000:]
        page = await new_user()
        await page.goto(HOME)
        await page.click(".increment")
        await expect(page.locator(".number")).to_have_text("1")
        await expect(page.locator(".time")).to_have_text(re.compile(r"\d\d:\d\d:\d\d"))
    finally:
        os.killpg(make.pid, signal.SIGINT)
        make.wait(30)
