"""What one machine can lose: each part is killed for real, and the guarantees are checked."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
from collections.abc import Callable

import psutil

from tests.support.page import PageClient
from tests.support.stack import Stack
from tests.support.waiting import until

NewPage = Callable[[str], PageClient]


def pid_of(page: PageClient) -> int:
    """Return the app's process id, as its page shows it."""
    found = re.search(r'class="pid"[^>]*>(\d+)<', page.html)
    assert found
    return int(found[1])


async def shows(page: PageClient, text: str) -> bool:
    """Load the page again; return whether it could be had and has the text."""
    with contextlib.suppress(AssertionError):  # not served yet
        await page.open()
        return text in page.html
    return False


async def ran(page: PageClient) -> list[str]:
    """Return what the app ran, as it tells it now."""
    await page.open()
    found = re.search(r'class="ran"[^>]*>(.*?)</pre>', page.html)
    assert found
    return found[1].split()


async def opened(new_page: NewPage, base: str, path: str = "/") -> PageClient:
    """Return a page that is open and connected."""
    page = new_page(base)
    await page.open(path)
    await page.connect()
    return page


async def test_a_killed_web_worker_loses_no_click_and_no_update_and_runs_none_twice(
    stack: Stack, new_page: NewPage
) -> None:
    first, second = stack.workers[0], stack.add_worker()
    page = await opened(new_page, first.base)
    await page.ask("tick", 150)
    clicks = 0
    for base in (second.base, first.base, second.base):
        for _ in range(20):
            clicks += 1
            await page.click("run", clicks)
        victim = first if page.base == first.base else second
        victim.process.kill()
        await until(lambda: not page.is_connected, "the page notices")
        await page.connect(base)
        victim.restart()
    await until(lambda: not page.waiting, "every click is answered")
    await until(lambda: any(">150<" in str(a) for a in page.actions), "the last update is here")
    assert page.errors == []
    assert await ran(page) == [str(n) for n in range(1, clicks + 1)]
    assert page.gaps == []
    ticks = [int(n) for a in page.actions for n in re.findall(r'class="ticks"[^>]*>(\d+)<', str(a))]
    assert ticks == list(range(1, 151))


async def test_a_killed_app_process_is_told_to_its_page_and_starts_again(
    stack: Stack, new_page: NewPage
) -> None:
    page = await opened(new_page, stack.workers[0].base)
    os.kill(pid_of(page), signal.SIGKILL)
    await until(lambda: page.ends, "the page is told")
    assert page.ends[0]["reason"] == "crashed"
    assert page.ends[0]["restart"] == "button"
    await page.open()
    assert await ran(page) == []
    assert "signal SIGKILL" in stack.supervisor.text()


async def test_a_process_that_ends_inside_a_handler_is_told_to_its_page(
    stack: Stack, new_page: NewPage
) -> None:
    page = await opened(new_page, stack.workers[0].base)
    await page.click("die")
    await until(lambda: page.ends, "the page is told")
    assert page.ends[0]["reason"] == "crashed"
    assert "exit code 9" in stack.supervisor.text()


async def test_a_restarted_broker_loses_neither_apps_nor_sessions(
    make_stack: Callable[..., Stack], new_page: NewPage
) -> None:
    stack = make_stack("valkey", "--appendonly", "yes", "--appendfsync", "always")
    stack.add_supervisor()
    stack.add_worker()
    page = await opened(new_page, stack.workers[0].base)
    await page.ask("remember", "fruit", "pear")
    await page.ask("run", "before")
    stack.server.kill()
    during = await page.click("run", "during")
    stack.server.start()
    if not page.is_connected:
        await page.connect()
    await page.answer(during)
    assert await ran(page) == ["before", "during"]
    answer = await page.ask("recall", "fruit")
    assert "fruit=pear" in str(answer)
    assert page.gaps == []


async def test_a_broker_that_comes_back_without_its_data_costs_no_app_its_life(
    make_stack: Callable[..., Stack], new_page: NewPage
) -> None:
    stack = make_stack()
    stack.add_supervisor()
    stack.add_supervisor()
    stack.add_worker()
    pages = [await opened(new_page, stack.workers[0].base) for _ in range(4)]
    for page in pages:
        await page.ask("run", "before")
    pids = [pid_of(page) for page in pages]
    stack.server.kill()
    stack.server.start()
    for page, pid in zip(pages, pids, strict=True):
        await page.disconnect()
        await until(lambda page=page: shows(page, "before"), "the page comes back", 20)  # type: ignore[misc]
        assert pid_of(page) == pid
        await page.connect()
        assert "before last" in str(await page.ask("run", "last"))


async def test_a_killed_supervisor_leaves_no_process_and_its_pages_come_back_with_their_session(
    stack: Stack, new_page: NewPage
) -> None:
    page = await opened(new_page, stack.workers[0].base)
    await page.ask("remember", "fruit", "pear")
    pid, started = pid_of(page), [*stack.supervisor.descendants()]
    assert pid in [process.pid for process in started]
    stack.supervisor.kill()
    await until(lambda: not any(p.is_running() for p in started), "its apps and templates died with it")
    stack.add_supervisor()
    await until(lambda: page.ends, "the page is told", 20)
    assert page.ends[0] | {"text": ""} == {"reason": "lost", "restart": "auto", "text": ""}
    await page.open()
    assert pid_of(page) != pid
    await page.disconnect()
    await page.connect()
    assert "fruit=pear" in str(await page.ask("recall", "fruit"))


async def test_a_page_hears_that_nobody_runs_its_app_and_that_this_is_over(
    stack: Stack, new_page: NewPage
) -> None:
    page = await opened(new_page, stack.workers[0].base)
    stack.supervisor.kill()
    await until(lambda: page.notices, "the page is told", 20)
    assert page.notices[0]["waiting"] is True


async def test_an_endless_loop_is_killed_on_time_with_its_stack_in_the_log(
    stack: Stack, new_page: NewPage
) -> None:
    looping = await opened(new_page, stack.workers[0].base, "/short")
    other = await opened(new_page, stack.workers[0].base)
    pid = pid_of(looping)
    await looping.click("spin")
    loop = asyncio.get_running_loop()
    slowest_s = 0.0
    while not looping.ends:
        began = loop.time()
        await other.ask("run", "x")
        slowest_s = max(slowest_s, loop.time() - began)
    assert looping.ends[0]["reason"] == "interaction_timeout"
    assert slowest_s < 1.0, "another user's click waited"
    assert not psutil.pid_exists(pid)
    log = stack.supervisor.text()
    assert re.search(r"\| +File .*site_for_tests.py.* in spin", log), log


async def test_a_handler_stuck_in_c_is_killed_on_time(stack: Stack, new_page: NewPage) -> None:
    page = await opened(new_page, stack.workers[0].base, "/short")
    await page.click("sleep_in_c")
    await until(lambda: page.ends, "the page is told")
    assert page.ends[0]["reason"] == "interaction_timeout"
    assert not psutil.pid_exists(pid_of(page))


async def test_an_update_is_no_activity_and_an_idle_app_ends(stack: Stack, new_page: NewPage) -> None:
    page = await opened(new_page, stack.workers[0].base, "/idle")
    await page.ask("remember", "fruit", "pear")
    await page.ask("tick", 1000)
    await until(lambda: page.ends, "the page is told")
    assert page.ends[0]["reason"] == "inactivity"
    assert not psutil.pid_exists(pid_of(page))
    await page.open("/idle")
    assert "fruit=pear" in (await page.post("recall", "fruit")).text


async def test_a_page_that_no_browser_connects_to_frees_its_process(
    make_stack: Callable[..., Stack], new_page: NewPage
) -> None:
    stack = make_stack()
    stack.add_supervisor("--never-connected-s", "1")
    base = stack.add_worker().base
    crawler, visitor = new_page(base), await opened(new_page, base)
    await crawler.open()
    await until(lambda: not psutil.pid_exists(pid_of(crawler)), "the crawler's process is gone")
    await until(lambda: "ended: never_connected" in stack.supervisor.text(), "the log says why")
    assert psutil.pid_exists(pid_of(visitor))


async def test_a_drained_supervisor_lets_clicks_finish_tells_its_pages_and_leaves(
    stack: Stack, new_page: NewPage
) -> None:
    page = await opened(new_page, stack.workers[0].base)
    slow = await page.click("wait", "slow", 1.0)
    await page.ask("run", "quick")
    started = stack.supervisor.descendants()
    code = await asyncio.to_thread(stack.supervisor.stop)
    assert code == 0
    await until(lambda: page.ends, "the page is told")
    assert slow in page.answers
    assert page.ends[0]["reason"] == "drained"
    await until(lambda: not any(p.is_running() for p in started), "its apps and templates are gone")
    assert b":0" in stack.server.command("SCARD htagweb:{supervisors}:known")


async def test_a_second_signal_ends_a_supervisor_and_its_apps_now(stack: Stack, new_page: NewPage) -> None:
    page = await opened(new_page, stack.workers[0].base)
    await page.click("wait", "long", 30)
    await page.ask("run", "quick")
    started = stack.supervisor.descendants()
    stack.supervisor.popen.send_signal(signal.SIGTERM)
    stack.supervisor.wait_for("draining: 1 apps")
    assert await asyncio.to_thread(stack.supervisor.stop) == 4
    await until(lambda: not any(p.is_running() for p in started), "its apps died with it")


async def test_a_full_supervisor_refuses_kindly_and_has_room_again_later(
    make_stack: Callable[..., Stack], new_page: NewPage
) -> None:
    stack = make_stack()
    stack.add_supervisor("--max-apps", "1")
    base = stack.add_worker().base
    first, second = await opened(new_page, base), new_page(base)

    async def is_refused() -> bool:
        response = await second.http.get(base + "/")
        return response.status_code == 503 and "All places are taken" in response.text

    await until(is_refused, "the heartbeat says that all places are taken")
    await first.click("exit")
    await until(lambda: first.ends, "the first app ended")

    async def comes_in() -> bool:
        return (await second.http.get(base + "/")).status_code == 200

    await until(comes_in, "there is room again")


async def test_without_a_supervisor_the_page_says_so_at_once(
    make_stack: Callable[..., Stack], new_page: NewPage
) -> None:
    stack = make_stack()
    page = new_page(stack.add_worker().base)
    response = await page.open(expect=503)
    assert "htagweb-supervisor --redis-url" in response.text
    assert response.headers["retry-after"]
    assert response.elapsed.total_seconds() < 3


async def test_without_a_broker_the_page_says_so(stack: Stack, new_page: NewPage) -> None:
    page = new_page(stack.workers[0].base)
    await page.open()
    stack.server.kill()
    response = await page.open(expect=503)
    assert "not ready" in response.text
    stack.server.start()

    async def is_back() -> bool:
        with contextlib.suppress(AssertionError):
            await page.open()
            return True
        return False

    await until(is_back, "the page is served again", 20)


async def test_web_workers_agree_on_a_secret_again_after_the_server_lost_its_data(
    stack: Stack, new_page: NewPage
) -> None:
    first = stack.workers[0]
    page = new_page(first.base)
    await page.open()
    stack.server.command("FLUSHALL")
    second = stack.add_worker()
    page.base = second.base

    async def knows_the_cookie() -> bool:
        before = page.cookie
        await page.http.get(second.base + "/session?seen=1")
        await page.http.get(first.base + "/session?seen=1")
        return page.cookie == before

    await until(knows_the_cookie, "both workers take the same cookie", 20)
