"""The browser client on the wire: numbers, order, answers, reconnects, its pulse, reloads."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.browser.client_page import OpenPage

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_interactions_are_numbered_from_one_and_keep_their_fields(open_page: OpenPage) -> None:
    client = await open_page()
    line = await client.ready()
    await client.interact("a", "b")
    await client.received(line, 3)
    assert line.messages[1] == {
        "id": "a", "method": "click", "args": [], "kargs": {}, "event": {}, "htagweb": {"n": 2},
    }  # fmt: skip
    assert line.numbers == [1, 2, 3]


async def test_the_connection_names_the_page_the_generation_and_the_last_number(open_page: OpenPage) -> None:
    line = await (await open_page()).line(1)
    assert (line.url.scheme, line.url.netloc, line.url.path) == ("ws", "app.test", "/_/examples.main.App")
    assert re.fullmatch(r"[A-Za-z0-9_-]{22}", line.query.pop("page"))
    assert line.query == {"generation": "3-9f86d081", "last": "12"}


async def test_a_page_over_https_connects_with_wss(open_page: OpenPage) -> None:
    assert (await (await open_page(scheme="https")).line(1)).url.scheme == "wss"


async def test_every_load_makes_a_page_token_of_its_own(open_page: OpenPage) -> None:
    client = await open_page()
    first = await client.line(1)
    await client.page.reload()
    second = await client.line(2)
    assert first.query["page"] != second.query["page"]


async def test_start_is_called_once_when_the_document_is_there_whatever_reconnects(
    open_page: OpenPage,
) -> None:
    client = await open_page()
    await client.dropped(await client.ready())
    await client.run(250)
    await client.ready(2)
    assert await client.page.evaluate("starts") == [["interactive", "function"]]


async def test_what_is_asked_before_ready_waits_and_goes_out_in_order(open_page: OpenPage) -> None:
    client = await open_page()
    line = await client.line(1)
    await client.interact("a", "b")
    assert await client.inspect("unanswered") == [1, 2, 3]
    assert line.texts == []
    line.send({"ready": True})
    await client.received(line, 3)
    assert [each["id"] for each in line.messages] == [0, "a", "b"]


async def test_only_the_unanswered_are_sent_again_and_as_the_same_text(open_page: OpenPage) -> None:
    client = await open_page()
    first = await client.ready()
    await client.interact("a", "b", "c")
    await client.received(first, 4)
    client.answer(first, 3)
    await client.until_js("htagweb.inspect().unanswered.length === 2")
    await client.dropped(first)
    await client.interact("d")
    await client.run(250)
    second = await client.line(2)
    second.send({"ready": True})
    await client.received(second, 3)
    assert second.numbers == [2, 4, 5]
    assert second.texts[:2] == [first.texts[1], first.texts[3]]


async def test_an_answer_replayed_before_ready_is_not_asked_again(open_page: OpenPage) -> None:
    client = await open_page()
    first = await client.ready()
    await client.interact("a", "b")
    await client.dropped(first)
    await client.run(250)
    second = await client.line(2)
    second.send({"n": 13, "page": second.query["page"], "answers": 2}, update={})
    second.send({"ready": True})
    await client.received(second, 1)
    assert second.numbers == [3]


async def test_the_answer_of_another_page_settles_nothing(open_page: OpenPage) -> None:
    client = await open_page()
    line = await client.ready()
    await client.interact("a")
    line.send({"n": 13, "page": "another-page", "answers": 2}, post="x")
    await client.until_js("calls.length === 1")
    assert await client.inspect("unanswered") == [2]


async def test_a_refusal_without_a_number_is_applied_and_settles(open_page: OpenPage) -> None:
    client = await open_page()
    line = await client.ready()
    await client.interact("a")
    line.send({"page": line.query["page"], "answers": 2}, err="refused")
    await client.until_js("calls.length === 1")
    assert await client.inspect("unanswered") == []
    assert await client.inspect("last") == 12


async def test_actions_already_applied_are_ignored(open_page: OpenPage) -> None:
    client = await open_page()
    line = await client.ready()
    for number in (12, 13, 13, 5, 14):
        line.send({"n": number}, post=str(number))
    await client.until_js("htagweb.inspect().last === 14")
    assert [call["post"] for call in await client.calls()] == ["13", "14"]


async def test_a_gap_applies_nothing_and_reconnects_from_the_last_applied(open_page: OpenPage) -> None:
    client = await open_page()
    first = await client.ready()
    first.send({"n": 13}, post="13")
    first.send({"n": 15, "page": first.query["page"], "answers": 1}, post="15")
    await client.until_state("retrying")
    await client.run(250)
    second = await client.line(2)
    assert second.query == {**first.query, "last": "13"}
    assert first.closed
    assert [call["post"] for call in await client.calls()] == ["13"]


async def test_an_action_that_throws_counts_as_applied_and_later_ones_follow(open_page: OpenPage) -> None:
    client = await open_page()
    line = await client.ready()
    line.send({"n": 13}, err="Traceback")
    line.send({"n": 14}, post="next")
    await client.until_js("htagweb.inspect().last === 14")
    assert [list(call) for call in await client.calls()] == [["err", "htagweb"], ["post", "htagweb"]]


async def test_plain_actions_of_old_are_all_applied(open_page: OpenPage) -> None:
    client = await open_page()
    line = await client.ready()
    line.send(post="one")
    line.send(post="one")
    line.send_text("Internal Server Error")
    await client.until_js("calls.length === 3")
    assert await client.calls() == [{"post": "one"}, {"post": "one"}, "Internal Server Error"]


async def test_control_messages_do_not_reach_the_app(open_page: OpenPage) -> None:
    client = await open_page()
    await client.ready()
    assert await client.calls() == []


async def test_what_json_cannot_hold_throws_to_the_caller_and_takes_no_number(open_page: OpenPage) -> None:
    client = await open_page()
    line = await client.ready()
    thrown = await client.page.evaluate(
        "() => { try { interact({args: [1n]}) } catch (e) { return e.name } }"
    )
    await client.interact("a")
    await client.received(line, 2)
    assert (thrown, line.numbers) == ("TypeError", [1, 2])


async def test_interact_can_be_awaited_as_in_version_1(open_page: OpenPage) -> None:
    client = await open_page()
    assert await client.page.evaluate("interact({id: 1}).then(() => 'taken')") == "taken"


async def test_silence_is_followed_by_a_ping_and_a_pong_keeps_the_connection(open_page: OpenPage) -> None:
    client = await open_page()
    line = await client.ready()
    await client.run(24_000)
    assert line.pings == []
    await client.run(1_000)
    await client.until(lambda: line.pings == [1], "the first ping")
    line.send({"pong": 1})
    await client.until_js("true")
    line.send({"n": 13}, post="after the pong")
    await client.until_js("calls.length === 1")
    await client.run(24_900)
    assert (await client.inspect("state"), line.pings) == ("ready", [1])


async def test_no_ping_is_sent_while_something_is_received(open_page: OpenPage) -> None:
    client = await open_page()
    line = await client.ready()
    for number in range(13, 17):
        await client.run(15_000)
        line.send({"n": number})
        await client.until_js(f"htagweb.inspect().last === {number}")
    assert line.pings == []


async def test_a_ping_unanswered_for_ten_seconds_ends_the_connection(open_page: OpenPage) -> None:
    client = await open_page()
    await client.ready()
    await client.run(25_000 + 9_900)
    assert await client.inspect("state") == "ready"
    await client.run(100)
    assert await client.inspect("state") == "retrying"
    await client.run(250)
    await client.line(2)


async def test_after_the_computer_slept_three_seconds_without_a_pong_are_enough(open_page: OpenPage) -> None:
    client = await open_page()
    line = await client.ready()
    await client.sleep_computer(3_600_000)
    await client.until(lambda: line.pings == [1], "a ping at once")
    await client.run(2_900)
    assert await client.inspect("state") == "ready"
    await client.run(100)
    assert await client.inspect("state") == "retrying"


async def test_the_late_ticks_of_a_hidden_tab_do_not_put_off_the_end_of_a_dead_line(
    open_page: OpenPage,
) -> None:
    client = await open_page()
    await client.ready()
    await client.sleep_computer(60_000)
    await client.sleep_computer(60_000)
    assert await client.inspect("state") != "ready"


@pytest.mark.parametrize(
    ("random", "waits_ms"),
    [
        (0.0, [125, 250, 500, 1000, 2000, 4000, 5000, 5000]),
        (0.999999, [250, 500, 1000, 2000, 4000, 8000, 10_000, 10_000]),
    ],
    ids=["shortest", "longest"],
)
async def test_waits_between_attempts_double_up_to_ten_seconds_with_jitter(
    open_page: OpenPage, random: float, waits_ms: list[int]
) -> None:
    client = await open_page()
    await client.ready()
    await client.random(random)
    client.refuse_with = 1013
    await client.dropped(client.lines[0])
    for attempt, wait_ms in enumerate(waits_ms, start=2):
        await client.run(wait_ms - 1)
        assert (await client.inspect("state"), len(client.lines)) == ("retrying", attempt - 1)
        await client.run(1)
        await client.line(attempt)
        await client.until_state("retrying")


async def test_ready_makes_the_next_wait_short_again(open_page: OpenPage) -> None:
    client = await open_page()
    await client.ready()
    await client.random(0.0)
    client.refuse_with = 1013
    await client.dropped(client.lines[0])
    for attempt, wait_ms in enumerate([125, 250, 500], start=2):
        await client.run(wait_ms)
        await client.line(attempt)
        await client.until_state("retrying")
    client.refuse_with = None
    await client.run(1_000)
    await client.dropped(await client.ready(5))
    await client.run(125)
    await client.line(6)


WAKES = ["window.dispatchEvent(new Event('online'))", "document.dispatchEvent(new Event('visibilitychange'))"]


@pytest.mark.parametrize("wake", WAKES, ids=["online", "visible"])
async def test_a_wake_up_tries_at_once(open_page: OpenPage, wake: str) -> None:
    client = await open_page()
    await client.dropped(await client.ready())
    await client.page.evaluate(wake)
    await client.line(2)


@pytest.mark.parametrize("wake", WAKES, ids=["online", "visible"])
async def test_a_wake_up_with_a_connection_asks_whether_it_lives(open_page: OpenPage, wake: str) -> None:
    client = await open_page()
    line = await client.ready()
    await client.page.evaluate(wake)
    await client.until(lambda: line.pings == [1], "a ping at once")
    await client.run(3_000)
    assert await client.inspect("state") == "retrying"


async def test_an_attempt_of_more_than_ten_seconds_counts_as_failed(open_page: OpenPage) -> None:
    client = await open_page()
    await client.ready()
    await client.page.evaluate("() => { window.WebSocket = class { close() { window.aborted = true } } }")
    await client.dropped(client.lines[0])
    await client.run(250)
    await client.until_state("connecting")
    await client.run(9_500)
    assert await client.inspect("state") == "connecting"
    await client.run(500)
    assert await client.page.evaluate("[htagweb.inspect().state, window.aborted]") == ["retrying", True]


async def test_leaving_the_page_closes_and_coming_back_from_the_cache_goes_on(open_page: OpenPage) -> None:
    client = await open_page()
    first = await client.ready()
    await client.page.evaluate("window.dispatchEvent(new PageTransitionEvent('pagehide', {persisted: true}))")
    await client.until(lambda: first.closed, "the line closed")
    await client.interact("meanwhile")
    await client.run(60_000)
    assert (await client.inspect("state"), len(client.lines)) == ("away", 1)
    await client.page.evaluate("window.dispatchEvent(new PageTransitionEvent('pageshow', {persisted: true}))")
    second = await client.line(2)
    second.send({"ready": True})
    await client.received(second, 1)
    assert (second.query["page"], second.numbers) == (first.query["page"], [2])


async def test_after_close_1009_the_largest_is_refused_and_the_rest_moves_up(open_page: OpenPage) -> None:
    client = await open_page()
    first = await client.ready()
    await client.interact("a", "b" * 1000, "c")
    await client.received(first, 4)
    await client.dropped(first, code=1009)
    await client.interact("d")
    await client.run(250)
    second = await client.line(2)
    second.send({"ready": True})
    await client.received(second, 3)
    assert [(each["id"], each["htagweb"]) for each in second.messages] == [
        ("a", {"n": 2}), ("c", {"n": 3}), ("d", {"n": 4}),
    ]  # fmt: skip


async def test_a_second_ready_sends_again_in_order_what_is_still_unanswered(open_page: OpenPage) -> None:
    """The web worker says it after its own connection to the broker was interrupted."""
    client = await open_page()
    line = await client.ready()
    await client.interact("a", "b", "c")
    await client.received(line, 4)
    client.answer(line, 3)
    await client.until_js("htagweb.inspect().unanswered.length === 2")
    line.send({"ready": True})
    await client.received(line, 6)
    assert line.numbers == [1, 2, 3, 4, 2, 4]
    assert line.texts[4:] == [line.texts[1], line.texts[3]]
    line.send({"ready": True})
    await client.interact("d")
    await client.received(line, 9)
    assert line.numbers[6:] == [2, 4, 5]
    assert (await client.inspect("state"), len(client.lines)) == ("ready", 1)
    await client.run(24_900)
    assert line.pings == []
    await client.run(100)
    await client.until(lambda: line.pings == [1], "one ping, as with one ready")
