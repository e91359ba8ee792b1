"""What one session, and all together, may have: pages, apps; past it a page waits and comes in by itself."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import websockets

from tests.support.edge import edge_worker
from tests.support.page import PageClient
from tests.support.stack import Stack
from tests.support.waiting import until

NewPage = Callable[[str], PageClient]
TOO_MANY_PAGES = 4429


def another_tab(page: PageClient) -> PageClient:
    """Return another page of the same user."""
    tab = PageClient(page.base, page.http)
    tab.html, tab.config, tab.last = page.html, page.config, page.last
    return tab


async def close_code(page: PageClient) -> int | None:
    """Return with which code the page's socket is closed at once, None when it stays open."""
    query = f"page={page.page}&generation={page.config['generation']}&last={page.last}"
    url = f"ws{page.base[4:]}{page.config['url']}?{query}"
    async with websockets.connect(url, additional_headers={"Cookie": page.cookie}) as socket:
        try:
            await socket.recv()
        except websockets.ConnectionClosed as exc:
            return exc.rcvd.code if exc.rcvd else None
    return None


async def test_a_session_has_so_many_connected_pages_over_all_workers(
    shared_stack: Stack, new_page: NewPage
) -> None:
    with (
        edge_worker(shared_stack, max_pages_per_session="2") as one,
        edge_worker(shared_stack, max_pages_per_session="2") as two,
    ):
        page = new_page(one.base)
        await page.open()
        tabs = [page, another_tab(page)]
        await tabs[0].connect()
        await tabs[1].connect(two.base)
        assert await close_code(another_tab(page)) == TOO_MANY_PAGES
        await tabs[1].disconnect()

        async def is_let_in() -> bool:
            return await close_code(another_tab(page)) is None

        await until(is_let_in, "the place is free again")


async def test_past_its_limit_of_apps_a_session_waits_and_comes_in_when_one_has_ended(
    shared_stack: Stack, new_page: NewPage
) -> None:
    with edge_worker(shared_stack, max_apps_per_session="1") as worker:
        page = new_page(worker.base)
        await page.open()
        await page.connect()
        assert_waits(await page.http.get(f"{worker.base}/other"), "Too many apps are open")
        await page.click("exit")
        await until(lambda: page.ends, "the first app has ended")

        async def is_open() -> bool:
            return (await page.http.get(f"{worker.base}/other")).status_code == 200

        await until(is_open, "the second app comes in", 20)


async def test_past_the_limit_of_all_apps_a_newcomer_waits_and_comes_in_when_one_has_ended(
    make_stack: Callable[..., Stack], new_page: NewPage
) -> None:
    stack = make_stack()
    stack.add_supervisor("--never-connected-s", "1")
    with edge_worker(stack, max_apps_in_total="1") as worker:
        page = new_page(worker.base)
        await page.open()
        await page.connect()

        async def status_of_a_newcomer() -> int:
            response = await new_page(worker.base).http.get(worker.base)
            if response.status_code == 503:
                assert_waits(response, "All places are taken")
            return response.status_code

        async def is_refused() -> bool:
            return await status_of_a_newcomer() == 503

        async def is_open() -> bool:
            return await status_of_a_newcomer() == 200

        await until(is_refused, "the heartbeat has counted the first app")
        await page.click("exit")
        await until(is_open, "a newcomer comes in", 20)


def assert_waits(response: httpx.Response, title: str) -> None:
    """See that a page says why it waits, and tries again by itself."""
    assert (response.status_code, response.headers["retry-after"]) == (503, "3")
    assert title in response.text
    assert 'http-equiv="refresh"' in response.text
