"""How a page ends and comes back: on a click, at a change, with too many pages; and the flag ssl."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.async_api import expect

if TYPE_CHECKING:
    from tests.browser.client_page import ClientPage, Line, OpenPage

pytestmark = pytest.mark.asyncio(loop_scope="module")

UNUSED = {"reason": "inactivity", "text": "This app ended after a while without use.", "restart": "click"}
CHANGED = {"reason": "changed", "text": "The app's source has changed.", "restart": "auto"}


async def end(client: ClientPage, line: Line, **ending: str) -> None:
    """End the app process and wait until the page knows."""
    line.send({"end": ending})
    await client.until_state("ended")


async def test_an_app_that_ended_unused_is_told_with_a_button(open_page: OpenPage) -> None:
    client = await open_page()
    await end(client, await client.ready(), **UNUSED)
    await expect(client.notice).to_have_text("This app ended after a while without use.")
    await client.run(120_000)
    assert client.loads == 1
    await client.click("Start again")
    await client.until_loads(2)


async def test_the_next_click_in_the_page_opens_an_app_that_ended_unused(open_page: OpenPage) -> None:
    client = await open_page()
    await end(client, await client.ready(), **UNUSED)
    await client.interact("a")
    await client.until_loads(2)


async def test_such_a_reload_counts_for_nothing(open_page: OpenPage) -> None:
    client = await open_page()
    for load in range(2, 9):
        await end(client, await client.line(load - 1), **UNUSED)
        await client.interact("a")
        await client.until_loads(load)


async def test_a_change_of_the_source_reloads_at_once_and_as_often_as_it_comes(open_page: OpenPage) -> None:
    client = await open_page()
    for load in range(2, 10):
        (await client.line(load - 1)).send({"end": CHANGED})
        await client.until_loads(load)
    assert await client.page.evaluate("Object.keys(sessionStorage)") == []


async def test_too_many_pages_are_told_and_trying_again_is_offered(open_page: OpenPage) -> None:
    client = await open_page()
    line = await client.line(1)
    await client.dropped(line, code=4429, reason="64 pages are open already.")
    await expect(client.notice).to_have_text("64 pages are open already.")
    assert await client.is_off()
    await client.interact("meanwhile")
    await client.run(14_900)
    assert (await client.inspect("state"), len(client.lines)) == ("paused", 1)
    await client.click("Try again")
    second = await client.line(2)
    await expect(client.notice).to_be_hidden()
    second.send({"ready": True})
    await client.received(second, 2)
    assert (second.query["page"], [each["id"] for each in second.messages]) == (
        line.query["page"], [0, "meanwhile"],
    )  # fmt: skip
    assert not await client.is_off()


async def test_a_page_too_many_tries_again_by_itself_within_half_a_minute(open_page: OpenPage) -> None:
    client = await open_page()
    await client.random(0.999999)
    await client.dropped(await client.line(1), code=4429)
    await client.run(30_000)
    await client.dropped(await client.line(2), code=4429)
    await expect(client.notice).to_be_visible()
    await client.run(30_000)
    await client.line(3)
    await expect(client.notice).to_be_visible()
    await client.ready(3)
    await expect(client.notice).to_be_hidden()


@pytest.mark.parametrize("wake", ["online", "visibilitychange"])
async def test_a_page_too_many_tries_again_when_somebody_comes_back_to_it(
    open_page: OpenPage, wake: str
) -> None:
    client = await open_page()
    await client.dropped(await client.line(1), code=4429)
    target = "window" if wake == "online" else "document"
    await client.page.evaluate(f"{target}.dispatchEvent(new Event('{wake}'))")
    await client.line(2)


async def test_too_many_pages_without_a_reason_are_told_too(open_page: OpenPage) -> None:
    client = await open_page()
    await client.dropped(await client.line(1), code=4429)
    await expect(client.notice).to_have_text("Too many pages are open. Close some of them.")


async def test_a_page_with_ssl_connects_with_wss_though_it_came_by_http(open_page: OpenPage) -> None:
    assert (await (await open_page(ssl=True)).line(1)).url.scheme == "wss"
