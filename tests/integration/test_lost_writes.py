"""What a fail-over or a crash of the broker loses: acknowledged writes. What pages see of it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
import websockets

from tests.support.page import PageClient
from tests.support.processes import Process
from tests.support.rewind import ForgetfulServer
from tests.support.stack import Stack
from tests.support.waiting import until

NewPage = Callable[[str], PageClient]


class Site(Stack):
    """An installation whose broker can lose its last writes."""

    def __init__(self, directory: Path) -> None:
        self.broker = ForgetfulServer("valkey", directory)
        super().__init__(directory, server=self.broker)
        self.add_supervisor()
        self.add_worker()

    @property
    def base(self) -> str:
        """The web worker's address."""
        return self.workers[0].base

    def ask(self, *command: str) -> object:
        """Run a command."""
        with redis.Redis(unix_socket_path=str(self.broker.path), decode_responses=True) as client:
            return client.execute_command(*command)

    def key(self, kind: str) -> str:
        """Return the only key of a kind."""
        found = self.ask("KEYS", f"htagweb:*:{kind}:*")
        assert isinstance(found, list) and len(found) == 1, found
        return str(found[0])

    def clicks(self) -> int:
        """Return how many clicks are in the inboxes."""
        keys = self.ask("KEYS", "htagweb:*:inbox:*")
        assert isinstance(keys, list)
        return sum(str(self.ask("XRANGE", key, "-", "+")).count('"interact"') for key in keys)

    @contextlib.contextmanager
    def deaf(self) -> Iterator[Process]:
        """Keep the supervisor from reading what is asked of it."""
        os.kill(self.supervisor.pid, signal.SIGSTOP)
        try:
            yield self.supervisor
        finally:
            os.kill(self.supervisor.pid, signal.SIGCONT)


@pytest.fixture
def site(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    try:
        made.close()
    finally:
        request.node.add_report_section("teardown", "logs", made.logs())


async def opened(site: Site, new_page: NewPage, path: str = "/") -> PageClient:
    page = new_page(site.base)
    await page.open(path)
    await page.connect()
    return page


async def connects(page: PageClient) -> bool:
    """Connect, as a browser does that tries again after a refusal."""
    with contextlib.suppress(OSError, websockets.WebSocketException):
        await page.connect()
        return True
    return False


async def shown(page: PageClient, css_class: str, path: str = "/") -> str:
    """Load the page anew, as its browser does when it is told to; return what it shows."""
    found: list[str] = []

    async def shows() -> bool:
        with contextlib.suppress(AssertionError):
            await page.open(path)
            found[:] = re.findall(rf'class="{css_class}"[^>]*>(.*?)</', page.html)
        return bool(found)

    await until(shows, "the page can be loaded")
    return found[0]


async def test_a_click_that_was_taken_and_lost_is_sent_again_and_runs_once(
    site: Site, new_page: NewPage
) -> None:
    page = await opened(site, new_page)
    await page.ask("run", 1)
    site.broker.mark()
    with site.deaf():
        lost = await page.click("run", 2)
        await until(lambda: site.clicks() == 1, "the click is taken")
        site.broker.go_back()
        assert site.clicks() == 0
    await page.answer(lost)
    await page.ask("run", 3)
    assert await shown(page, "ran") == "1 2 3"
    assert (page.errors, page.gaps) == ([], [])


async def test_clicks_after_a_lost_one_wait_for_it(site: Site, new_page: NewPage) -> None:
    page = await opened(site, new_page)
    site.broker.mark()
    with site.deaf():
        await page.click("run", 1)
        await until(lambda: site.clicks() == 1, "the click is taken")
        site.broker.kill()
        await page.click("run", 2)
        site.broker.go_back()
    last = await page.click("run", 3)
    await page.answer(last)
    await until(lambda: not page.waiting, "all are answered")
    assert await shown(page, "ran") == "1 2 3"


async def test_a_click_by_post_that_was_taken_and_lost_runs_once(site: Site, new_page: NewPage) -> None:
    page = new_page(site.base)
    await page.open()
    extra = {"htagweb": {"n": 1, "page": page.page, "generation": page.config["generation"], "last": 0}}
    site.broker.mark()
    async with asyncio.TaskGroup() as tasks:
        with site.deaf():
            posting = tasks.create_task(page.post("run", 1, **extra))
            await until(lambda: site.clicks() == 1, "the click is taken")
            site.broker.go_back()
    assert posting.result().status_code == 200
    assert await shown(page, "ran") == "1"


async def test_a_lost_action_has_pages_loaded_anew_that_have_not_got_it(
    site: Site, new_page: NewPage
) -> None:
    page = await opened(site, new_page)
    await page.ask("run", 1)
    other = PageClient(site.base, page.http)
    await other.open()
    await other.connect()
    site.broker.mark()
    await other.disconnect()
    await page.ask("run", 2)
    site.broker.go_back()
    await until(lambda: "has lost actions" in site.supervisor.text(), "its owner notices")
    await until(lambda: connects(other), "its worker has found the broker again")
    await until(lambda: other.reloads, "the page that missed it is told to load anew")
    assert await shown(page, "ran") == "1 2"
    assert other.gaps == []


async def test_an_answer_that_was_lost_is_not_waited_for(site: Site, new_page: NewPage) -> None:
    page = await opened(site, new_page)
    site.broker.mark()
    await page.ask("run", 1)
    # Its page has not heard of the answer: it asks again.
    page.waiting[1] = page.texts[1]
    del page.answers[1]
    site.broker.go_back()
    with contextlib.suppress(AssertionError):  # told to load anew
        await page.answer(1, 5)
    assert page.reloads or 1 in page.answers
    assert await shown(page, "ran") == "1"


async def test_an_app_whose_claim_was_lost_lives_on(site: Site, new_page: NewPage) -> None:
    page = await opened(site, new_page)
    site.broker.mark()
    await page.open("/?v=2")  # another process, under the next generation
    await page.connect()
    await page.ask("run", 1)
    pid = re.findall(r'class="pid"[^>]*>(\d+)<', page.html)
    site.broker.go_back()
    await until(lambda: "it was written again" in site.supervisor.text(), "its owner says that it is its own")
    assert [await shown(page, "pid", "/?v=2")] == pid
    assert re.findall(r'class="ran"[^>]*>(.*?)</', page.html) == ["1"]


async def test_an_end_that_was_lost_is_told_again(site: Site, new_page: NewPage) -> None:
    page = await opened(site, new_page)
    site.broker.mark()
    await page.click("die")
    await until(lambda: site.ask("HGET", site.key("instance"), "owner") is None, "the end is known")
    page.ends.clear()
    site.broker.go_back()
    assert site.ask("HGET", site.key("instance"), "owner")
    await until(lambda: site.ask("HGET", site.key("instance"), "reason") == "lost", "it is ended again")
    assert await shown(page, "ran") == ""


async def test_a_session_goes_back_to_what_was_kept(site: Site, new_page: NewPage) -> None:
    page = await opened(site, new_page)
    await page.ask("remember", "fruit", "pear")
    site.broker.mark()
    await page.ask("remember", "fruit", "fig")
    site.broker.go_back()
    assert "fruit=pear" in await shown_after(page, "recall", "fruit")


async def shown_after(page: PageClient, method: str, *args: object) -> str:
    """Load the page anew, then interact; return the answer."""
    await page.disconnect()
    await shown(page, "ran")
    fresh = PageClient(page.base, page.http)
    await fresh.open()
    await fresh.connect()
    answer = str(await fresh.ask(method, *args))
    await fresh.disconnect()
    return answer
