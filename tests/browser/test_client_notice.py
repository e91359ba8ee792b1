"""What the browser client tells the person: notices, endings, limits, the class htagoff."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from playwright.async_api import expect

if TYPE_CHECKING:
    from tests.browser.client_page import ClientPage, Line, OpenPage

pytestmark = pytest.mark.asyncio(loop_scope="module")

LOST = "Connection lost. Reconnecting…"
CRASHED = {"reason": "crashed", "text": "The app stopped working.", "restart": "button"}


async def end(client: ClientPage, line: Line, restart: str = "button") -> None:
    """End the app process and wait until the page knows."""
    line.send({"end": CRASHED | {"restart": restart}})
    await client.until_state("ended")


async def lose(client: ClientPage, attempts: int) -> None:
    """Drop the ready connection, then refuse attempts after 125, 250, 500, 1000… ms."""
    await client.random(0.0)
    client.refuse_with = 1013
    await client.dropped(client.lines[-1])
    for attempt in range(attempts):
        await client.run(125 * 2**attempt)
        await client.line(attempt + 2)
        await client.until_state("retrying")


async def test_nothing_is_shown_while_all_is_well(open_page: OpenPage) -> None:
    client = await open_page()
    await client.ready()
    await expect(client.notice).to_be_hidden()


async def test_a_lost_connection_is_told_after_a_second_until_ready(open_page: OpenPage) -> None:
    client = await open_page()
    await client.ready()
    await lose(client, 3)  # until 0.875 s
    await client.run(124)
    await expect(client.notice).to_be_hidden()
    client.refuse_with = None
    await client.run(1)
    await expect(client.notice).to_have_text(LOST)
    await expect(client.page.get_by_role("button")).to_be_hidden()
    await client.run(875)
    await client.line(5)
    await expect(client.notice).to_be_visible()
    await client.ready(5)
    await expect(client.notice).to_be_hidden()


async def test_what_is_kept_while_the_connection_is_lost_is_told(open_page: OpenPage) -> None:
    client = await open_page()
    await client.ready()
    await lose(client, 4)
    await expect(client.notice).to_have_text(LOST)
    await client.interact("a")
    await expect(client.notice).to_have_text(f"{LOST}\nYour last action is kept until then.")
    await client.interact("b", "c")
    await expect(client.notice).to_have_text(f"{LOST}\nYour last 3 actions are kept until then.")


async def test_a_loss_of_less_than_a_second_is_not_told(open_page: OpenPage) -> None:
    client = await open_page()
    await client.dropped(await client.ready())
    await client.run(250)
    await client.ready(2)
    await client.run(5_000)
    await expect(client.notice).to_be_hidden()


async def test_trying_now_is_offered_when_the_wait_is_over_two_seconds(open_page: OpenPage) -> None:
    client = await open_page()
    await client.ready()
    await lose(client, 4)
    await expect(client.page.get_by_role("button")).to_be_hidden()
    await client.random(0.001)  # the next wait: 2002 ms
    await client.run(2_000)
    await client.line(6)
    await client.until_state("retrying")
    client.refuse_with = None
    await client.click("Try now")
    await client.line(7)


async def test_the_body_has_htagoff_from_a_lost_connection_until_ready(open_page: OpenPage) -> None:
    client = await open_page()
    await client.line(1)
    assert not await client.is_off()
    await client.dropped(await client.ready())
    assert await client.is_off()
    await client.run(250)
    await client.line(2)
    assert await client.is_off()
    await client.ready(2)
    assert not await client.is_off()


async def test_a_body_replaced_before_ready_has_htagoff_too(open_page: OpenPage) -> None:
    client = await open_page()
    await client.dropped(await client.ready())
    await client.run(250)
    line = await client.line(2)
    line.send({"n": 13}, update={"0": "<body>anew</body>"})
    await client.until_js("document.body.innerText === 'anew'")
    assert await client.is_off()
    await client.ready(2)
    assert not await client.is_off()


async def test_a_notice_survives_the_replacement_of_the_body(open_page: OpenPage) -> None:
    client = await open_page()
    line = await client.ready()
    line.send({"waiting": True, "text": "The server restarts."})
    line.send({"n": 13}, update={"0": "<body>anew</body>"})
    await client.until_js("document.body.innerText === 'anew'")
    await expect(client.notice).to_have_text("The server restarts.")
    await expect(client.notice).to_be_visible()


async def test_a_notice_comes_back_when_the_app_clears_the_whole_document(open_page: OpenPage) -> None:
    client = await open_page()
    line = await client.ready()
    await client.page.evaluate("document.documentElement.innerHTML = '<body>anew</body>'")
    line.send({"waiting": True, "text": "The server restarts."})
    await expect(client.notice).to_be_visible()


async def test_an_end_is_told_with_a_button_that_loads_the_page_anew(open_page: OpenPage) -> None:
    client = await open_page()
    line = await client.ready()
    await end(client, line)
    await expect(client.notice).to_have_text("The app stopped working.")
    await client.run(120_000)
    assert (line.closed, len(client.lines), client.loads) == (True, 1, 1)
    await client.click("Start again")
    await client.until_loads(2)


async def test_an_end_that_restarts_by_itself_is_told_and_reloads_after_a_jittered_wait(
    open_page: OpenPage,
) -> None:
    client = await open_page()
    line = await client.ready()
    await client.random(0.999999)
    await end(client, line, restart="auto")
    await expect(client.notice).to_have_text("The app stopped working.")
    await client.run(1_499)
    assert client.loads == 1
    await client.run(1)
    await client.until_loads(2)


async def test_a_reload_after_an_end_waits_a_fifth_of_a_second_at_least(open_page: OpenPage) -> None:
    client = await open_page()
    line = await client.ready()
    await client.random(0.0)
    await end(client, line, restart="auto")
    await client.run(199)
    assert client.loads == 1
    await client.run(1)
    await client.until_loads(2)


@pytest.mark.parametrize(("clicks", "told"), [(1, "Your last action may"), (3, "Your last 3 actions may")])
async def test_an_end_tells_of_what_was_not_answered(open_page: OpenPage, clicks: int, told: str) -> None:
    client = await open_page()
    line = await client.ready()
    await client.interact(*range(clicks))
    await end(client, line)
    await expect(client.notice).to_have_text(re.compile(f"^The app stopped working.\n{told} not have been"))
    assert await client.inspect("unanswered") == []


async def test_an_end_carried_by_an_action_applies_it_first(open_page: OpenPage) -> None:
    client = await open_page()
    line = await client.ready()
    line.send({"n": 13, "end": CRASHED}, post="last words")
    await client.until_state("ended")
    assert [call["post"] for call in await client.calls()] == ["last words"]


# A pulse is over after 0.4 s, which a busy machine may take to look for it: they are counted as they begin.
COUNT_PULSES = """card => {
  const animate = card.animate;
  card.pulses = 0;
  card.animate = (...given) => { card.pulses += 1; return animate.apply(card, given); };
}"""


async def test_a_click_after_the_end_pulses_the_notice_and_does_not_throw(open_page: OpenPage) -> None:
    client = await open_page()
    await end(client, await client.ready())
    await client.card.evaluate(COUNT_PULSES)
    await client.interact("a")
    assert (await client.card.evaluate("card => card.pulses"), await client.inspect("unanswered")) == (1, [])


async def test_nothing_pulses_for_who_asked_for_less_motion(open_page: OpenPage) -> None:
    client = await open_page()
    await client.page.emulate_media(reduced_motion="reduce")
    await end(client, await client.ready())
    await client.card.evaluate(COUNT_PULSES)
    await client.interact("a")
    assert await client.card.evaluate("card => card.pulses") == 0
    await expect(client.card).to_have_css("transition-property", "none")
    await expect(client.notice).to_be_visible()


async def test_a_page_that_is_refused_says_why_and_does_not_try_again(open_page: OpenPage) -> None:
    client = await open_page()
    await client.dropped(await client.line(1), code=4403, reason="This page is of another user.")
    await expect(client.notice).to_have_text("This page is of another user.")
    await client.run(60_000)
    assert len(client.lines) == 1
    await client.click("Reload")
    await client.until_loads(2)


async def test_a_page_that_is_not_understood_says_so_and_is_loaded_anew(open_page: OpenPage) -> None:
    """Its client is perhaps of an older release than the web worker."""
    client = await open_page()
    await client.dropped(await client.line(1), code=4400, reason="expected page, generation and last")
    await expect(client.notice).to_have_text("expected page, generation and last")
    await client.run(1_500)
    await client.until_loads(2)


async def test_what_the_supervisor_refused_is_told(open_page: OpenPage) -> None:
    client = await open_page()
    line = await client.ready()
    await client.interact("a")
    control = {"n": 13, "page": line.query["page"], "answers": 2, "refused": True}
    line.send(control, err="Too many interactions wait for an answer.")
    await expect(client.notice).to_have_text("Too many interactions wait for an answer.")
    assert await client.inspect("unanswered") == []


async def test_what_the_web_worker_could_not_pass_on_is_told(open_page: OpenPage) -> None:
    """htag writes errors to the browser's console alone."""
    client = await open_page()
    line = await client.ready()
    await client.interact("a")
    control = {"page": line.query["page"], "answers": 2}
    line.send(control, err="This click may not have been carried out.")
    await expect(client.notice).to_have_text("This click may not have been carried out.")
    assert await client.inspect("unanswered") == []
    assert [call["err"] for call in await client.calls()] == ["This click may not have been carried out."]
    await client.run(10_000)
    await expect(client.notice).to_be_hidden()


async def test_what_the_app_raised_is_told_by_htag_alone(open_page: OpenPage) -> None:
    client = await open_page()
    line = await client.ready()
    await client.interact("a")
    line.send({"n": 13, "page": line.query["page"], "answers": 2}, err="ValueError: no luck")
    await client.until_js("htagweb.inspect().last === 13")
    await expect(client.notice).to_be_hidden()


async def test_the_hundred_and_first_unanswered_click_is_refused_until_one_is_answered(
    open_page: OpenPage,
) -> None:
    client = await open_page()
    line = await client.ready()
    await client.interact(*range(101))
    await expect(client.notice).to_have_text("Too many clicks are waiting for an answer.")
    client.answer(line, 2)
    await expect(client.notice).to_be_hidden()
    await client.interact("one more")
    await client.received(line, 102)
    assert line.numbers == list(range(1, 103))


async def test_a_message_over_the_limit_is_refused_here_and_takes_no_number(open_page: OpenPage) -> None:
    client = await open_page(max_message_bytes=200)
    line = await client.ready()
    await client.interact("é" * 100, "a")
    await expect(client.notice).to_have_text("This message is too large (276 bytes; the limit is 200).")
    await client.received(line, 2)
    assert [(each["id"], each["htagweb"]["n"]) for each in line.messages[1:]] == [("a", 2)]


async def test_a_message_refused_by_close_code_1009_is_told(open_page: OpenPage) -> None:
    client = await open_page()
    line = await client.ready()
    await client.interact("a" * 1000)
    await client.dropped(line, code=1009)
    await expect(client.notice).to_have_text("This message is too large (1076 bytes).")


async def test_an_error_goes_away_when_dismissed(open_page: OpenPage) -> None:
    client = await open_page(max_message_bytes=10)
    await client.interact("a")
    await client.click("Dismiss")
    await expect(client.notice).to_be_hidden()


async def test_an_error_goes_away_after_ten_seconds(open_page: OpenPage) -> None:
    client = await open_page(max_message_bytes=10)
    await client.interact("a")
    await client.run(9_900)
    await expect(client.notice).to_be_visible()
    await client.run(100)
    await expect(client.notice).to_be_hidden()


async def test_waiting_for_a_supervisor_is_told_until_one_answers(open_page: OpenPage) -> None:
    client = await open_page()
    line = await client.ready()
    line.send({"waiting": True, "text": "The server restarts."})
    await expect(client.notice).to_have_text("The server restarts.")
    line.send({"waiting": False})
    await expect(client.notice).to_be_hidden()


async def test_waiting_on_a_new_connection_takes_the_place_of_lost_and_lost_comes_back(
    open_page: OpenPage,
) -> None:
    client = await open_page()
    await client.ready()
    await lose(client, 3)
    client.refuse_with = None
    await client.run(1_000)
    line = await client.line(5)
    await expect(client.notice).to_have_text(LOST)
    line.send({"waiting": True, "text": "The server restarts."})
    await expect(client.notice).to_have_text("The server restarts.")
    client.refuse_with = 1013
    await client.dropped(line)
    await client.run(1_000)
    await expect(client.notice).to_have_text(LOST)


async def test_waiting_is_forgotten_on_a_new_connection_which_says_it_again_if_so(
    open_page: OpenPage,
) -> None:
    client = await open_page()
    line = await client.ready()
    line.send({"waiting": True, "text": "The server restarts."})
    await expect(client.notice).to_have_text("The server restarts.")
    await client.dropped(line)
    await client.run(250)
    await client.ready(2)
    await expect(client.notice).to_be_hidden()


async def test_the_most_serious_notice_is_the_one_shown(open_page: OpenPage) -> None:
    client = await open_page(max_message_bytes=200)
    line = await client.ready()
    line.send({"waiting": True, "text": "The server restarts."})
    await expect(client.notice).to_have_text("The server restarts.")
    await lose(client, 4)
    await expect(client.notice).to_have_text(LOST)
    await client.interact(*range(101))
    await expect(client.notice).to_contain_text("Too many clicks")
    await client.interact("a" * 200)
    await expect(client.notice).to_contain_text("too large")
    client.refuse_with = None
    await client.run(2_000)
    await end(client, await client.line(6))
    await expect(client.notice).to_contain_text("The app stopped working.")


async def test_styles_of_the_app_do_not_reach_the_notice_nor_the_other_way(open_page: OpenPage) -> None:
    style = (
        "* { display: none !important; } html, body, h1 { display: block !important; } button { width: 9px; }"
    )
    client = await open_page(style=style)
    before = await client.page.locator("h1").bounding_box()
    await end(client, await client.ready())
    await expect(client.notice).to_be_visible()
    box = await client.page.get_by_role("button", name="Start again").bounding_box()
    assert box is not None and box["width"] > 60
    assert await client.page.locator("h1").bounding_box() == before


async def test_the_button_is_reached_by_keyboard(open_page: OpenPage) -> None:
    client = await open_page()
    await end(client, await client.ready())
    button = client.page.get_by_role("button", name="Start again")
    await expect(button).to_be_visible()
    await client.page.keyboard.press("Tab")
    await expect(button).to_be_focused()
    await client.page.keyboard.press("Enter")
    await client.until_loads(2)


async def test_the_notice_is_announced_politely_and_lies_at_the_bottom_centre(open_page: OpenPage) -> None:
    client = await open_page()
    await end(client, await client.ready())
    await expect(client.page.get_by_role("status")).to_have_attribute("aria-live", "polite")
    box = await client.card.bounding_box()
    assert box is not None
    assert abs(box["x"] + box["width"] / 2 - 400) < 1
    assert 470 < box["y"] + box["height"] < 500
