"""How the browser client loads its page anew: only when there is one, not too often, and saying why."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.async_api import expect

if TYPE_CHECKING:
    from tests.browser.client_page import ClientPage, OpenPage

pytestmark = pytest.mark.asyncio(loop_scope="module")

WAITING = "Waiting for the server…"
LOST = {"reason": "lost", "text": "The server was interrupted.", "restart": "auto"}
CRASHED = {"reason": "crashed", "text": "The app stopped.", "restart": "button"}
RELOADS = "htagweb.reloads:/_/examples.main.App"
UNANSWERED = "htagweb.unanswered:/_/examples.main.App"
BLOCK_STORAGE = "() => { Storage.prototype.setItem = () => { throw new Error('blocked') } }"

COUNT_ANSWERS = """() => {
  const ask = window.fetch;
  window.answers = 0;
  window.fetch = (...args) => ask(...args).finally(() => { answers += 1; });
}"""


async def reload_by(client: ClientPage, how: str) -> None:
    """Make the newest load of the page, which connects, reload by itself, in one of the three ways."""
    await client.until(lambda: len(client.lines) >= client.loads, "the newest load connects")
    await client.until_js("['catching up', 'ready'].includes(htagweb.inspect().state)")
    line = client.lines[-1]
    if how == "message":
        line.send({"reload": True})
    elif how == "close code":
        await line.close(code=4404)
    else:
        line.send({"end": LOST})
    await client.until_state("ended")


async def stored(client: ClientPage) -> list[str]:
    """Return the keys of what the page has stored."""
    return list(await client.page.evaluate("Object.keys(sessionStorage)"))


async def clicked(client: ClientPage, count: int) -> None:
    """Make the newest load ready and click, so often, without an answer."""
    line = await client.line(client.loads)
    line.send({"ready": True})
    await client.until_state("ready")
    await client.interact(*range(count))


# How often


@pytest.mark.parametrize("how", ["message", "close code"])
async def test_a_stale_page_is_loaded_anew_within_300_ms(open_page: OpenPage, how: str) -> None:
    client = await open_page()
    await reload_by(client, how)
    await client.run(300)
    await client.until_loads(2)
    assert client.probes == 1


@pytest.mark.parametrize("how", ["message", "close code", "end"])
async def test_after_five_reloads_in_a_row_the_page_waits_says_so_and_goes_on(
    open_page: OpenPage, how: str
) -> None:
    client = await open_page()
    for load in range(2, 7):
        await reload_by(client, how)
        await client.run(1_500)
        await client.until_loads(load)
    await client.random(0.999999)
    await reload_by(client, how)
    await expect(client.notice).to_have_text("This page is loaded anew in 5 s.")
    await client.run(4_999)
    assert client.loads == 6
    await client.run(1)
    await client.until_loads(7)


async def test_the_wait_doubles_up_to_a_minute(open_page: OpenPage) -> None:
    client = await open_page()
    for load, (reloads, wait_s) in enumerate([(6, 10), (8, 40), (9, 60), (99, 60)], start=2):
        await client.page.evaluate(f"sessionStorage.setItem('{RELOADS}', {reloads})")
        await client.random(0.999999)
        await reload_by(client, "message")
        await expect(client.notice).to_have_text(f"This page is loaded anew in {wait_s} s.")
        await client.run(wait_s * 1_000 - 1)
        assert client.loads == load - 1
        await client.run(1)
        await client.until_loads(load)


async def test_nobody_has_to_wait_for_it(open_page: OpenPage) -> None:
    client = await open_page()
    await client.page.evaluate(f"sessionStorage.setItem('{RELOADS}', 10)")
    await reload_by(client, "message")
    await client.click("Reload now")
    await client.until_loads(2)


@pytest.mark.parametrize(("steady_ms", "kept"), [(29_000, [RELOADS]), (30_000, [])])
async def test_thirty_seconds_of_being_ready_clear_the_count_of_reloads(
    open_page: OpenPage, steady_ms: int, kept: list[str]
) -> None:
    client = await open_page(ping_s=60)
    await reload_by(client, "message")
    await client.run(300)
    await client.until_loads(2)
    (await client.line(2)).send({"ready": True})
    await client.until_state("ready")
    await client.run(steady_ms)
    assert await stored(client) == kept


async def test_without_storage_a_page_waits_a_minute_as_a_loop_would_go_unnoticed(
    open_page: OpenPage,
) -> None:
    client = await open_page()
    await client.line(1)
    await client.page.evaluate(BLOCK_STORAGE)
    await reload_by(client, "message")
    await client.run(59_900)
    assert client.loads == 1
    await client.run(100)
    await client.until_loads(2)


# Only when there is a page


async def test_a_page_stays_while_the_server_has_none_to_give(open_page: OpenPage) -> None:
    client = await open_page()
    await client.page.evaluate(COUNT_ANSWERS)
    client.probe_status = None
    await reload_by(client, "end")
    await client.run(1_500)
    for asked, status in enumerate([429, 502, 503, 504, 522, 200], start=1):
        await client.until_js(f"answers === {asked}")
        await expect(client.notice).to_have_text(WAITING)
        assert client.loads == 1
        client.probe_status = status
        await client.page.evaluate("window.dispatchEvent(new Event('online'))")
    await client.until_loads(2)


async def test_any_other_answer_is_shown_by_the_reload(open_page: OpenPage) -> None:
    """A sign-in page, say."""
    client = await open_page()
    for load, status in enumerate([302, 401, 404, 405, 500], start=2):
        client.probe_status = status
        client.probe_headers = {"location": "https://login.example/"} if status == 302 else {}
        await reload_by(client, "message")
        await client.run(300)
        await client.until_loads(load)


async def test_waits_between_questions_double_up_to_ten_seconds(open_page: OpenPage) -> None:
    client = await open_page()
    await client.random(0.999999)
    await client.page.evaluate(COUNT_ANSWERS)
    client.probe_status = None
    await reload_by(client, "message")
    await client.run(300)
    for asked, wait_ms in enumerate([250, 500, 1000, 2000, 4000, 8000, 10_000, 10_000], start=1):
        await client.until_js(f"answers === {asked}")
        await client.run(wait_ms - 1)
        assert client.probes == asked
        await client.run(1)
    await client.until_probes(9)


async def test_no_answer_is_told_after_a_second_and_asked_again_after_fifteen(open_page: OpenPage) -> None:
    client = await open_page()
    await client.random(0.0)
    client.probe_status = 0
    await reload_by(client, "message")
    await client.run(1)
    await client.until_probes(1)
    await client.run(900)
    await expect(client.notice).to_be_hidden()
    await client.run(100)
    await expect(client.notice).to_have_text(WAITING)
    await client.run(14_000)
    await client.until_asked()
    assert client.probes == 1
    await client.run(125)
    await client.until_probes(2)


async def test_what_the_server_says_is_wrong_is_told(open_page: OpenPage) -> None:
    client = await open_page()
    client.probe_status = 503
    client.probe_headers = {"x-htagweb-problem": "All places are taken"}
    await reload_by(client, "message")
    await client.run(300)
    await expect(client.notice).to_have_text("All places are taken. This page comes back by itself.")


async def test_a_person_or_a_wake_up_makes_it_ask_at_once(open_page: OpenPage) -> None:
    client = await open_page()
    online = "window.dispatchEvent(new Event('online'))"
    visible = "document.dispatchEvent(new Event('visibilitychange'))"
    for load, wake in enumerate(["", online, visible], start=2):
        client.probe_status = None
        await reload_by(client, "message")
        await client.run(300)
        await client.until_asked()
        client.probe_status = 200
        await (client.page.evaluate(wake) if wake else client.click("Try now"))
        await client.until_loads(load)


async def test_a_button_pressed_while_the_server_is_away_does_not_lose_the_page(open_page: OpenPage) -> None:
    client = await open_page()
    (await client.ready()).send({"end": CRASHED})
    client.probe_status = None
    await client.click("Start again")
    await client.until_asked()
    assert await client.page.inner_text("h1") == "Counter"
    client.probe_status = 200
    await client.run(250)
    await client.until_loads(2)


async def test_a_content_policy_that_lets_the_page_connect_lets_it_ask(open_page: OpenPage) -> None:
    client = await open_page(csp="connect-src 'self'")
    await reload_by(client, "message")
    await client.run(300)
    await client.until_loads(2)


# What was not answered


@pytest.mark.parametrize(
    ("how", "clicks", "what"),
    [("message", 1, "action"), ("close code", 3, "3 actions"), ("end", 1, "action")],
)
async def test_what_was_not_answered_is_told_before_and_after_the_reload(
    open_page: OpenPage, how: str, clicks: int, what: str
) -> None:
    told = f"Your last {what} may not have been carried out."
    client = await open_page()
    await clicked(client, clicks)
    await reload_by(client, how)
    await expect(client.notice).to_have_text(f"{LOST['text']}\n{told}" if how == "end" else told)
    await client.run(1_500)
    await client.until_loads(2)
    await expect(client.notice).to_have_text(told)
    await client.ready(2)
    await expect(client.notice).to_have_text(told)
    await client.run(9_900)
    await expect(client.notice).to_be_visible()
    await client.run(100)
    await expect(client.notice).to_be_hidden()
    assert UNANSWERED not in await stored(client)


async def test_it_goes_when_it_is_dismissed_and_does_not_come_back(open_page: OpenPage) -> None:
    client = await open_page()
    await clicked(client, 1)
    await reload_by(client, "message")
    await client.run(300)
    await client.until_loads(2)
    await client.click("Dismiss")
    await expect(client.notice).to_be_hidden()
    assert UNANSWERED not in await stored(client)


async def test_what_nobody_had_time_to_read_is_told_by_the_load_after_that(open_page: OpenPage) -> None:
    client = await open_page()
    await clicked(client, 2)
    await reload_by(client, "message")
    await client.run(300)
    await client.until_loads(2)
    await clicked(client, 1)
    await reload_by(client, "message")
    await client.run(300)
    await client.until_loads(3)
    await expect(client.notice).to_have_text("Your last 3 actions may not have been carried out.")


async def test_it_is_told_when_somebody_looks(open_page: OpenPage) -> None:
    client = await open_page()
    hide = "Object.defineProperty(document, 'hidden', { get: () => !window.looked })"
    await client.page.add_init_script(hide)
    await clicked(client, 1)
    await reload_by(client, "message")
    await client.run(300)
    await client.until_loads(2)
    await client.run(20_000)
    await expect(client.notice).to_be_hidden()
    await client.page.evaluate(
        "() => { window.looked = true; document.dispatchEvent(new Event('visibilitychange')) }"
    )
    await expect(client.notice).to_have_text("Your last action may not have been carried out.")


async def test_what_the_page_asks_by_itself_at_its_start_is_not_told(open_page: OpenPage) -> None:
    """The next load asks it again."""
    client = await open_page()
    line = await client.line(1)
    assert await client.inspect("unanswered") == [1]
    line.send({"reload": True})
    await client.run(300)
    await client.until_loads(2)
    assert await stored(client) == [RELOADS]
    await expect(client.notice).to_be_hidden()
