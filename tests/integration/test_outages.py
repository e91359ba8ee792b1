"""What a broker can do to its users while it lives, or is away for long: nothing is lost, all is told."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from htagweb.supervisor.exit_codes import ExitCode
from tests.support.page import PageClient
from tests.support.processes import Process, python
from tests.support.requirements import missing
from tests.support.stack import Stack
from tests.support.waiting import until

NewPage = Callable[[str], PageClient]
Switch = Callable[[], None]
Refusing = tuple[Stack, Switch, Switch, str, float]
DURABLE = ("--appendonly", "yes", "--appendfsync", "always")
FROZEN_S = 8.0
FULL_S = 5.5
"""Longer than a heartbeat counts."""
AWAY_S = 20.0
BACK_S = 20.0


async def opened(new_page: NewPage, base: str) -> PageClient:
    """Return a page that is open, connected, and was used."""
    page = new_page(base)
    await page.open()
    await page.connect()
    await page.ask("run", "before")
    return page


async def ran(page: PageClient) -> list[str]:
    """Return what the app ran, as it tells it as soon as the page is served."""
    await until(lambda: serves(page), "the page is served", BACK_S)
    found = re.search(r'class="ran"[^>]*>(.*?)</pre>', page.html)
    assert found
    return found[1].split()


def pid_of(page: PageClient) -> int:
    """Return the app's process id, as its page shows it."""
    found = re.search(r'class="pid"[^>]*>(\d+)<', page.html)
    assert found
    return int(found[1])


async def serves(page: PageClient) -> bool:
    """Whether the page can be had."""
    with contextlib.suppress(AssertionError):
        await page.open()
        return True
    return False


def is_told(page: PageClient) -> bool:
    """Whether the page says just now that it waits."""
    return bool(page.notices and page.notices[-1]["waiting"])


async def passes(seconds: float) -> None:
    """Let time pass for others: here it is the fault itself that lasts."""
    ends_at = asyncio.get_running_loop().time() + seconds
    await until(lambda: asyncio.get_running_loop().time() >= ends_at, "it lasts", seconds + 5)


# A frozen server


async def test_clicks_on_a_frozen_broker_are_answered_when_it_thaws_and_nobody_is_taken_over(
    stack: Stack, new_page: NewPage
) -> None:
    stack.add_supervisor()
    bases = [stack.workers[0].base, stack.add_worker().base]
    pages = [await opened(new_page, bases[number % 2]) for number in range(4)]
    assert stack.server.process is not None
    stack.server.process.popen.send_signal(signal.SIGSTOP)
    try:
        clicks = {page: [await page.click("run", number) for number in range(3)] for page in pages}
        frozen = asyncio.gather(passes(FROZEN_S))
        await until(lambda: all(map(is_told, pages)), "every page is told that it waits", FROZEN_S)
        await frozen
    finally:
        stack.server.process.popen.send_signal(signal.SIGCONT)
    for page in pages:
        for number in clicks[page]:
            await page.answer(number, BACK_S)
        assert await ran(page) == ["before", "0", "1", "2"]
        assert (page.gaps, page.ends, page.errors) == ([], [], [])
    for supervisor in stack.supervisors:
        assert "is dead" not in supervisor.text()


# A server that refuses


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """Give a folder on a disk of its own, that is easily filled."""
    if os.geteuid() != 0:
        missing("root, to mount a disk")
    folder = tmp_path / "disk"
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder],
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode:
        missing(f"the right to mount a disk ({made.stderr.strip()})")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture(params=["no memory", "no memory, redis", "no disk"])
def refusing(request: pytest.FixtureRequest, make_stack: Callable[..., Stack]) -> Refusing:
    """Give an installation, what makes its server refuse to write, what heals that, the remedy that is
    logged, and how long it is to last."""
    if request.param == "no disk":
        disk: Path = request.getfixturevalue("tiny_disk")
        stack, filling = make_stack("valkey", "--dir", str(disk), "--appendonly", "yes"), disk / "filling"

        def fill() -> None:
            with contextlib.suppress(OSError), filling.open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(4096))

        return stack, fill, filling.unlink, "make room on its disk", 0
    stack = make_stack("redis" if "redis" in request.param else "valkey")

    def limit(size: int) -> Switch:
        return lambda: assert_ok(stack.server.command(f"CONFIG SET maxmemory {size}"))

    return stack, limit(1), limit(0), "raise its maxmemory", 0 if "redis" in request.param else FULL_S


def assert_ok(answer: bytes) -> None:
    assert answer == b"+OK\r\n", answer


async def test_clicks_that_a_server_refuses_are_kept_and_answered_when_it_takes_them(
    refusing: Refusing, new_page: NewPage
) -> None:
    stack, make_refuse, heal, remedy, lasts_s = refusing
    stack.add_supervisor()
    worker = stack.add_worker()
    page, visitor = await opened(new_page, worker.base), new_page(worker.base)
    await page.ask("tick", 100)
    make_refuse()
    await until(lambda: b"-" in stack.server.command("SET x y PX 5000")[:1], "the server refuses", 5)
    lasting = asyncio.gather(passes(lasts_s))
    clicks = [await page.click("run", number) for number in range(3)]
    await until(lambda: is_told(page), "the page is told that it waits", 5)
    await lasting
    refused = await visitor.open(expect=503)
    assert "The server is not ready" in refused.text
    assert "tries again by itself" in refused.text
    assert refused.headers["retry-after"]
    assert not page.answers.keys() & set(clicks)
    heal()
    for number in clicks:
        await page.answer(number, BACK_S)
    await until(lambda: any(">100<" in str(a) for a in page.actions), "the last update is here")
    ticks = [int(n) for a in page.actions for n in re.findall(r'class="ticks"[^>]*>(\d+)<', str(a))]
    assert ticks == list(range(1, 101)), "what the app said meanwhile is kept, too"
    assert await ran(page) == ["before", "0", "1", "2"]
    assert (page.gaps, page.ends, page.errors) == ([], [], [])
    assert not is_told(page)
    assert re.search(rf"clicks \(kept meanwhile\): .*{remedy}", worker.process.text())
    assert remedy in stack.supervisor.text()
    await until(lambda: serves(visitor), "a new visitor comes in", BACK_S)


async def test_a_click_that_is_refused_for_too_long_is_told_and_the_log_names_the_remedy(
    make_stack: Callable[..., Stack], new_page: NewPage
) -> None:
    stack = make_stack()
    stack.env["PATIENCE_S"] = "1"
    stack.add_supervisor()
    worker = stack.add_worker()
    page = await opened(new_page, worker.base)
    pid = pid_of(page)
    assert_ok(stack.server.command("CONFIG SET maxmemory 1"))
    await page.click("run", "given-up")
    await until(lambda: page.errors, "the page is told")
    assert "may not have been carried out" in page.errors[0]
    assert re.search(r"an interaction was given up: OOM .*raise its maxmemory", worker.process.text())
    assert_ok(stack.server.command("CONFIG SET maxmemory 0"))
    await page.ask("run", "after")
    assert await ran(page) == ["before", "after"]
    assert pid_of(page) == pid


# A server that is away for long


async def test_clicks_made_in_a_long_outage_are_answered_after_it(
    make_stack: Callable[..., Stack], new_page: NewPage
) -> None:
    stack = make_stack("valkey", *DURABLE)
    stack.add_supervisor()
    base = stack.add_worker().base
    pages = [await opened(new_page, base) for _ in range(2)]
    posting = new_page(base)
    await posting.open("/http-only")
    pids = [pid_of(page) for page in [*pages, posting]]
    begun = asyncio.gather(posting.post("wait", "posted", 2.0))
    await until(lambda: in_work(stack, "Posted"), "the POST is in work")
    slow = {page: await page.click("wait", "slow", 1.0) for page in pages}
    for page in pages:
        await page.ask("run", "quick")
    stack.server.kill()
    during = {page: await page.click("run", "during") for page in pages}
    await passes(AWAY_S)
    stack.server.start()
    for page in pages:
        await page.answer(slow[page], BACK_S)
        await page.answer(during[page], BACK_S)
        assert await ran(page) == ["before", "quick", "slow", "during"]
        assert (page.gaps, page.ends, page.errors) == ([], [], [])
    ((posted),) = await begun
    assert "posted" in posted.text
    for page, pid in zip([*pages, posting], pids, strict=True):
        assert pid_of(page) == pid
        assert psutil.pid_exists(pid)


def in_work(stack: Stack, app: str) -> bool:
    """Whether an inbox of the app holds an interaction: it stays there until it is answered."""
    found = stack.server.command(f"KEYS *:inbox:*{app}").split()
    return len(found) == 3 and stack.server.command(f"XLEN {found[2].decode()}") == b":1\r\n"


# Passwords


def guarded(stack: Stack, password: str) -> str:
    """Give the server a user with all rights, and return the address with this password."""
    assert_ok(stack.server.command("ACL SETUSER product on >right ~* &* +@all"))
    return f"unix://product:{password}@{stack.server.path}"


def test_a_supervisor_with_a_wrong_password_ends_and_says_what_is_wrong(
    make_stack: Callable[..., Stack],
) -> None:
    stack = make_stack()
    env = {"HTAGWEB_REDIS_URL": guarded(stack, "hunter2")}
    log = stack.directory / "refused.log"
    process = Process("supervisor", python("-m", "htagweb.supervisor.cli"), log, env)
    assert process.popen.wait(20) == ExitCode.NO_BROKER
    (line,) = [line for line in process.text().splitlines() if "cannot be used" in line]
    assert "invalid username-password pair" in line
    assert "HTAGWEB_REDIS_URL" in line
    assert "hunter2" not in process.text()


async def test_a_password_that_is_changed_is_told_in_the_logs_and_costs_no_app_its_life(
    make_stack: Callable[..., Stack], new_page: NewPage
) -> None:
    stack = make_stack()
    stack.env["HTAGWEB_REDIS_URL"] = guarded(stack, "right")
    stack.add_supervisor()
    worker = stack.add_worker()
    page, visitor = await opened(new_page, worker.base), new_page(worker.base)
    pid = pid_of(page)
    slow = await page.click("wait", "slow", 1.0)
    await page.ask("run", "quick")
    assert_ok(stack.server.command("ACL SETUSER product resetpass >changed"))
    assert stack.server.command("CLIENT KILL USER product").startswith(b":")
    during = await page.click("run", "during")
    for process in (worker.process, stack.supervisor):
        await until(lambda process=process: says_wrong(process), f"{process.name} says what is wrong")  # type: ignore[misc]
    await visitor.open(expect=503)
    assert_ok(stack.server.command("ACL SETUSER product >right"))
    await page.answer(slow, BACK_S)
    await page.answer(during, BACK_S)
    assert sorted(await ran(page)) == ["before", "during", "quick", "slow"]
    assert pid_of(page) == pid
    await until(lambda: serves(visitor), "a new visitor comes in", BACK_S)


def says_wrong(process: Process) -> bool:
    """Whether its log names a wrong password, and the remedy."""
    return bool(re.search(r"invalid username-password pair.*HTAGWEB_REDIS_URL", process.text()))
