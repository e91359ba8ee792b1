"""Several supervisors: who gets new apps, and what happens to those of one that dies, hangs or is cut off."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import psutil

from tests.support.brokers import Bench
from tests.support.page import PageClient
from tests.support.processes import APPS, Process, python
from tests.support.proxy import proxy_to
from tests.support.servers import free_port
from tests.support.stack import Stack
from tests.support.waiting import until

NewPage = Callable[[str], PageClient]
SHORT = ("--dead-after-s", "2")


def pid_of(page: PageClient) -> int:
    """Return the app's process id, as its page shows it."""
    found = re.search(r'class="pid"[^>]*>(\d+)<', page.html)
    assert found
    return int(found[1])


def owns(supervisor: Process, page: PageClient) -> bool:
    """Return whether the page's app is one of the supervisor's."""
    return pid_of(page) in {process.pid for process in supervisor.descendants()}


@asynccontextmanager
async def looking_at(stack: Stack) -> AsyncIterator[Bench]:
    """Give a look into the broker."""
    bench = Bench(stack.server.url)
    try:
        yield bench
    finally:
        bench.close()


async def loads(bench: Bench) -> dict[str, int]:
    """Return how many apps each supervisor says that it has, by name."""
    living = (await bench.presence.supervisors()).living
    return {beat.name: beat.load for beat in living.values()}


async def until_they_know_each_other(bench: Bench, count: int = 2) -> None:
    """Wait until each of the supervisors has beaten, and so looked at the others."""
    beats: dict[str, list[int]] = {}

    async def have_beaten() -> bool:
        for name in (await bench.presence.supervisors()).living:
            ttl_ms = await bench.ttl_ms(bench.keys.beat(name))
            seen = beats.setdefault(name, [ttl_ms])
            if ttl_ms > seen[-1]:
                seen.append(ttl_ms)
            else:
                seen[-1] = ttl_ms
        return len(beats) == count and all(len(seen) > 1 for seen in beats.values())

    await until(have_beaten, "all supervisors beat")


async def open_all(new_page: NewPage, base: str, count: int, at_once: int) -> list[PageClient]:
    """Open pages of so many users, some at the same time."""
    pages = [new_page(base) for _ in range(count)]
    for start in range(0, count, at_once):
        await asyncio.gather(*(page.open() for page in pages[start : start + at_once]))
    return pages


async def opened(new_page: NewPage, base: str) -> PageClient:
    """Return a page that is open and connected."""
    page = new_page(base)
    await page.open()
    await page.connect()
    return page


async def took_s(work: Awaitable[object]) -> float:
    """Return how long it took."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    await work
    return loop.time() - began


async def come_back(page: PageClient) -> None:
    """Load the page again and connect, as a browser does when its app is lost."""
    await page.disconnect()
    page.ends.clear()
    page.waiting.clear()
    await page.open()
    await page.connect()


# Placement


async def test_apps_are_spread_by_capacity(make_stack: Callable[..., Stack], new_page: NewPage) -> None:
    stack = make_stack()
    stack.add_supervisor("--max-apps", "20")
    stack.add_supervisor("--max-apps", "60")
    base = stack.add_worker().base
    async with looking_at(stack) as bench:
        await until_they_know_each_other(bench)
        await open_all(new_page, base, 40, 10)
        found = await until(lambda: all_told(bench, 40), "every app is in a heartbeat")
    assert 6 <= found["s1"] <= 14, found


async def all_told(bench: Bench, count: int) -> dict[str, int] | None:
    """Return how many apps each has, None while they are not so many together."""
    found = await loads(bench)
    return found if sum(found.values()) == count else None


async def test_who_comes_later_gets_new_apps_until_both_have_as_many(
    make_stack: Callable[..., Stack], new_page: NewPage
) -> None:
    stack = make_stack()
    stack.add_supervisor("--max-apps", "40")
    base = stack.add_worker().base
    await open_all(new_page, base, 9, 9)
    stack.add_supervisor("--max-apps", "40")
    async with looking_at(stack) as bench:
        await until_they_know_each_other(bench)
        await open_all(new_page, base, 7, 1)
        found = await until(lambda: all_told(bench, 16), "every app is in a heartbeat")
        # It gives way when it is more than 5 % fuller, and hears of that with a heartbeat.
        assert found["s1"] <= 12, found
        await open_all(new_page, base, 8, 1)
        found = await until(lambda: all_told(bench, 24), "every app is in a heartbeat")
    assert abs(found["s1"] - found["s2"]) <= 5, found


async def test_the_freest_that_hangs_holds_no_page_up(
    make_stack: Callable[..., Stack], new_page: NewPage
) -> None:
    stack = make_stack()
    first = stack.add_supervisor("--max-apps", "10")
    base = stack.add_worker().base
    await open_all(new_page, base, 3, 3)
    freest = stack.add_supervisor("--max-apps", "1000")
    async with looking_at(stack) as bench:
        await until_they_know_each_other(bench)
    pages = [new_page(base) for _ in range(4)]
    freest.popen.send_signal(signal.SIGSTOP)
    try:
        # The one request that the stopped one was handed already is asked for again after a second.
        assert max([await took_s(page.open()) for page in pages]) < 2.5
        assert all(owns(first, page) for page in pages)
    finally:
        freest.popen.send_signal(signal.SIGCONT)


# The dead


async def test_a_killed_supervisors_page_is_told_at_once_by_another_of_its_host(
    make_stack: Callable[..., Stack], new_page: NewPage
) -> None:
    stack = make_stack()
    first = stack.add_supervisor()
    page = await opened(new_page, stack.add_worker().base)
    second = stack.add_supervisor()
    async with looking_at(stack) as bench:
        await until_they_know_each_other(bench)
    first.kill()
    told_s = await took_s(until(lambda: page.ends, "the page is told"))
    assert page.ends[0]["reason"] == "lost"
    assert told_s < 2.5
    await come_back(page)
    assert owns(second, page)
    await page.ask("run", "there")
    assert page.gaps == []


async def test_a_killed_supervisors_page_is_told_and_comes_back_by_one_of_another_host_within_10_s(
    make_stack: Callable[..., Stack], new_page: NewPage
) -> None:
    stack = make_stack()
    first = add_supervisor_of_another_host(stack)
    page = await opened(new_page, stack.add_worker().base)
    assert owns(first, page)
    second = stack.add_supervisor()
    async with looking_at(stack) as bench:
        await until_they_know_each_other(bench)
    first.kill()

    async def is_served_again() -> None:
        await until(lambda: page.ends, "the page is told")
        assert page.ends[0]["reason"] == "lost"
        await come_back(page)
        await page.ask("run", "there")

    served_s = await took_s(is_served_again())
    # Not at once: only a supervisor of its own host could know that.
    assert 2.5 < served_s < 10.0
    assert owns(second, page)
    assert page.gaps == []


def add_supervisor_of_another_host(stack: Stack) -> Process:
    """Start a supervisor of which no other can see whether its process is there: its heartbeat has to age."""
    code = "import sys; from htagweb.supervisor import cli, whereabouts; "
    code += "whereabouts.place = lambda: 'another host'; sys.exit(cli.main())"
    command = python("-c", code, "--app-dir", str(APPS), "--name", "far")
    process = Process("far", command, stack.directory / "far.log", stack.env)
    stack.supervisors.append(process)
    process.wait_for("is ready")
    return process


async def test_a_supervisor_that_was_stopped_too_long_ends_what_was_taken_over_and_commits_nothing(
    make_stack: Callable[..., Stack], new_page: NewPage
) -> None:
    stack = make_stack()
    first = stack.add_supervisor(*SHORT)
    base = stack.add_worker().base
    pages = [await opened(new_page, base) for _ in range(3)]
    for page in pages:
        await page.ask("remember", "ran", ["before"])
    old = [psutil.Process(pid_of(page)) for page in pages]
    second = stack.add_supervisor(*SHORT)
    async with looking_at(stack) as bench:
        await until_they_know_each_other(bench)
    first.popen.send_signal(signal.SIGSTOP)
    try:
        for page in pages:
            await page.click("append", "ran", "while it hangs")
        # 2 s of silence, two looks, and some time for a busy machine.
        assert await took_s(until(lambda: all(page.ends for page in pages), "the pages are told")) < 5.0
        for page in pages:
            assert page.ends[0]["reason"] == "lost"
            await come_back(page)
            assert owns(second, page)
            await page.ask("append", "ran", "after")
    finally:
        first.popen.send_signal(signal.SIGCONT)
    await until(lambda: not any(each.is_running() for each in old), "the old apps end")
    own = await opened(new_page, base)  # it lives, and takes new apps
    for page in pages:
        shown = json.dumps(await page.ask("recall", "ran"))
        assert "ran=['before', 'after']" in shown
        assert owns(second, page)
        assert page.gaps == []
    await own.ask("run", "here")


async def test_a_supervisor_that_was_stopped_for_less_keeps_all_its_apps(
    make_stack: Callable[..., Stack], new_page: NewPage
) -> None:
    stack = make_stack()
    first = stack.add_supervisor(*SHORT)
    base = stack.add_worker().base
    pages = [await opened(new_page, base) for _ in range(3)]
    stack.add_supervisor(*SHORT)
    async with looking_at(stack) as bench:
        await until_they_know_each_other(bench)
        (name,) = [n for n, b in (await bench.presence.supervisors()).living.items() if b.pid == first.pid]
        first.popen.send_signal(signal.SIGSTOP)
        try:
            clicks = [await page.click("run", "waited") for page in pages]
            await until(lambda: is_nearly_dead(bench, name), "its heartbeat counts for a second more")
        finally:
            first.popen.send_signal(signal.SIGCONT)
        for page, click in zip(pages, clicks, strict=True):
            await page.answer(click)
        await until_they_know_each_other(bench)
    for page in pages:
        pid = pid_of(page)
        assert page.ends == []
        await page.open()
        assert pid_of(page) == pid
        assert owns(first, page)


async def is_nearly_dead(bench: Bench, name: str) -> bool:
    return await bench.ttl_ms(bench.keys.beat(name)) < 1000


async def test_a_supervisor_that_is_cut_off_from_the_broker_loses_its_apps_to_another(
    make_stack: Callable[..., Stack], new_page: NewPage
) -> None:
    port = free_port()
    stack = make_stack("valkey", "--port", str(port))
    async with proxy_to(port) as proxy:
        url = proxy.base.replace("http", "redis")
        cut_off = await asyncio.to_thread(stack.add_supervisor, *SHORT, "--redis-url", url)
        base = (await asyncio.to_thread(stack.add_worker)).base
        page = await opened(new_page, base)
        await page.ask("remember", "ran", [])
        old = psutil.Process(pid_of(page))
        second = await asyncio.to_thread(stack.add_supervisor, *SHORT)
        async with looking_at(stack) as bench:
            await until_they_know_each_other(bench)
        await page.click("wait", "slow", 1.0)  # its answer is there when nobody can be told
        await page.ask("append", "ran", "before")
        proxy.freeze()
        proxy.refuses = True
        await page.click("append", "ran", "unheard")
        await until(lambda: page.ends, "the page is told")
        assert page.ends[0]["reason"] == "lost"
        await come_back(page)
        assert owns(second, page)
        await page.ask("append", "ran", "after")
        proxy.cut()
        proxy.refuses = False
        await until(lambda: not old.is_running(), "the old app ends", 20)
        answer = str(await page.ask("recall", "ran"))
        assert "before" in answer and "after" in answer and "unheard" not in answer
        assert (page.gaps, page.errors) == ([], [])
        assert await asyncio.to_thread(cut_off.stop) == 0


# The broker


async def test_a_broker_that_hangs_for_long_costs_no_app_of_three_supervisors(
    make_stack: Callable[..., Stack], new_page: NewPage
) -> None:
    stack = make_stack()
    for _ in range(3):
        stack.add_supervisor()
    base = stack.add_worker().base
    pages = await open_all(new_page, base, 30, 10)
    pids = [pid_of(page) for page in pages]
    await asyncio.gather(*(page.connect() for page in pages))
    async with looking_at(stack) as bench:
        await until(lambda: all_told(bench, 30), "every app is in a heartbeat")
    assert stack.server.process is not None
    server = stack.server.process.pid
    os.kill(server, signal.SIGSTOP)
    try:
        await until(
            lambda: all("heartbeat" in each.text() for each in stack.supervisors), "all miss the broker"
        )
        began = asyncio.get_running_loop().time()
        clicks = [await page.click("run", "waited") for page in pages]
        await until(lambda: asyncio.get_running_loop().time() > began + 6, "heartbeats are too old")
    finally:
        os.kill(server, signal.SIGCONT)
    for page, click in zip(pages, clicks, strict=True):
        await page.answer(click, 30)
    async with looking_at(stack) as bench:
        await until_they_know_each_other(bench, 3)
        assert sum((await loads(bench)).values()) == 30
    assert all(psutil.pid_exists(pid) for pid in pids)
    assert [page.ends for page in pages] == [[]] * 30
    assert not any("is dead" in each.text() for each in stack.supervisors)
