"""Restart in place: HUP puts the installed version in the supervisor's place, its apps and pages go on."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.support.page import PageClient
from tests.support.processes import ROOT, Process
from tests.support.stack import Stack
from tests.support.waiting import until

NewPage = Callable[[str], PageClient]
DONE = "restarted in place"


async def restart(supervisor: Process) -> None:
    """Restart the supervisor in place, and wait until it is."""
    before = supervisor.text().count(DONE)
    supervisor.popen.send_signal(signal.SIGHUP)
    await until(lambda: supervisor.text().count(DONE) > before, "it is restarted", 20)


async def opened(stack: Stack, new_page: NewPage, path: str = "/") -> PageClient:
    """Return a page that is open and connected."""
    page = new_page(stack.workers[0].base)
    await page.open(path)
    await page.connect()
    return page


def app_pid(page: PageClient) -> int:
    """Return the process of the page's app."""
    return int(page.html.split('class="pid"')[1].split(">")[1].split("<")[0])


async def click_until(page: PageClient, is_over: Callable[[], bool]) -> int:
    """Click one after the other; return how many clicks that were. Each is answered, in order."""
    count = 0
    while not is_over():
        await page.ask("run", count)
        count += 1
    return count


async def test_apps_go_on_and_no_click_is_lost_while_a_supervisor_is_replaced(
    stack: Stack, new_page: NewPage
) -> None:
    pages = [await opened(stack, new_page) for _ in range(3)]
    pids = [app_pid(page) for page in pages]
    waiting = await pages[0].click("wait", "late", 2)
    stack.supervisor.popen.send_signal(signal.SIGHUP)
    counts = await asyncio.gather(
        *(click_until(page, lambda: DONE in stack.supervisor.text()) for page in pages[1:])
    )
    assert all(counts)
    assert "late" in str(await pages[0].answer(waiting))
    for page, count in zip(pages[1:], counts, strict=True):
        expected = " ".join(map(str, range(count)))
        assert f"{expected} end" in str(await page.ask("run", "end"))
    for page, pid in zip(pages, pids, strict=True):
        await page.ask("tick", 2)
        await until(lambda page=page: "ticks" in str(page.actions[-1]), "updates come")  # type: ignore[misc]
        assert page.gaps == []
        assert page.ends == []
        await page.open()
        assert app_pid(page) == pid


async def test_an_app_that_hangs_is_ended_on_time_by_the_program_that_took_over(
    stack: Stack, new_page: NewPage
) -> None:
    other = await opened(stack, new_page)  # first: the import is not part of the short limit then
    hangs = await opened(stack, new_page, "/short")
    await hangs.click("spin")
    await restart(stack.supervisor)
    await until(lambda: hangs.ends, "its page is told")
    assert hangs.ends[0]["reason"] == "interaction_timeout"
    await other.click("die")
    await until(lambda: other.ends, "its page is told")
    assert other.ends[0]["reason"] == "crashed"


async def test_restarts_follow_each_other_and_apps_start_after_them(stack: Stack, new_page: NewPage) -> None:
    page = await opened(stack, new_page)
    await page.ask("remember", "n", 1)
    for number in range(2):
        await restart(stack.supervisor)
        await page.ask("run", number)
    assert "n=1" in str(await page.ask("recall", "n"))
    newcomer = await opened(stack, new_page)
    await newcomer.ask("run", "here")
    # What was handed over belongs to the supervisor alone: no process that it starts has it.
    before, after = (os.listdir(f"/proc/{app_pid(each)}/fd") for each in (page, newcomer))
    assert len(after) == len(before)
    children = stack.supervisor.descendants()
    stack.supervisor.kill()
    await until(lambda: not any(child.is_running() for child in children), "its apps die with it")


def templates(stack: Stack) -> list[psutil.Process]:
    """Return the one process that is called a template; [] while it forks, and there are several."""
    try:
        found = [child for child in stack.supervisor.descendants() if child.name() == "htagweb-templ"]
    except psutil.NoSuchProcess:
        return []
    return found if len(found) == 1 else []


async def test_a_template_that_hangs_is_not_left_behind(stack: Stack, new_page: NewPage) -> None:
    page = await opened(stack, new_page)
    (template,) = await until(lambda: templates(stack), "the spare is forked, and has its own name")
    template.suspend()
    await restart(stack.supervisor)
    await until(lambda: not template.is_running(), "it has ended")
    await page.ask("run", "on")


async def test_an_app_that_floods_its_output_holds_up_no_restart(stack: Stack, new_page: NewPage) -> None:
    floods, other = await opened(stack, new_page), await opened(stack, new_page)
    await floods.ask("write", "\n" * 60_000)  # 12 s of logging
    await restart(stack.supervisor)
    for page in (floods, other):
        await page.ask("run", "on")


async def test_a_line_that_an_app_prints_in_two_halves_is_logged_as_one(
    stack: Stack, new_page: NewPage
) -> None:
    page = await opened(stack, new_page)
    await page.ask("write", "first half, ")
    await restart(stack.supervisor)
    await page.ask("write", "second half\n")
    await until(lambda: "first half, second half" in stack.supervisor.text(), "the line is logged")


async def test_a_version_that_does_not_start_takes_no_place(
    make_stack: Callable[..., Stack], new_page: NewPage, tmp_path: Path
) -> None:
    stack = make_stack()
    url = tmp_path / "url"
    url.write_text(stack.server.url)
    del stack.env["HTAGWEB_REDIS_URL"]
    stack.env["HTAGWEB_REDIS_URL_FILE"] = str(url)
    stack.add_supervisor()
    stack.add_worker()
    page = await opened(stack, new_page)
    url.unlink()
    stack.supervisor.popen.send_signal(signal.SIGHUP)
    await until(lambda: "not restarted, goes on as it is" in stack.supervisor.text(), "it says so")
    assert "HTAGWEB_REDIS_URL_FILE: expected a text file" in stack.supervisor.text()
    await page.ask("run", "on")
    url.write_text(stack.server.url)
    await restart(stack.supervisor)
    await page.ask("run", "still")


async def test_the_version_that_was_installed_meanwhile_is_what_runs_then(
    make_stack: Callable[..., Stack], new_page: NewPage, tmp_path: Path
) -> None:
    stack = make_stack()
    shutil.copytree(ROOT / "htagweb", tmp_path / "site" / "htagweb")
    stack.env |= {"PYTHONPATH": str(tmp_path / "site"), "PYTHONSAFEPATH": "1"}
    stack.add_supervisor()
    stack.add_worker()
    page = await opened(stack, new_page)
    (tmp_path / "site" / "htagweb" / "version.py").write_text('__version__ = "9.9.9"\n')
    await restart(stack.supervisor)
    assert "as version 9.9.9: 1 apps go on" in stack.supervisor.text()
    await page.ask("run", "on")


@pytest.mark.parametrize("first", ["HUP", "TERM"])
async def test_a_drain_goes_before_a_restart_and_ends_what_was_handed_over(
    stack: Stack, new_page: NewPage, first: str
) -> None:
    page = await opened(stack, new_page)
    for name in ("HUP", "TERM") if first == "HUP" else ("TERM", "HUP"):
        stack.supervisor.popen.send_signal(signal.Signals[f"SIG{name}"])
    assert await asyncio.to_thread(stack.supervisor.popen.wait, 30) == 0
    await until(lambda: page.ends, "its page is told")
    assert page.ends[0]["reason"] == "drained"
    assert not psutil.pid_exists(app_pid(page))


async def test_apps_live_on_when_the_broker_is_away_during_a_restart(
    make_stack: Callable[..., Stack], new_page: NewPage
) -> None:
    stack = make_stack("valkey", "--appendonly", "yes")
    stack.add_supervisor()
    stack.add_worker()
    page = await opened(stack, new_page)
    await page.ask("run", "before")
    stack.server.kill()
    await restart(stack.supervisor)
    number = await page.click("run", "meanwhile")
    stack.server.start()
    assert "before meanwhile" in str(await page.answer(number, 20))
    assert page.ends == []
