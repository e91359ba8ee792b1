"""The browser client without a WebSocket: hello, order, overlap, what is sent again, what is refused."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from playwright.async_api import expect

if TYPE_CHECKING:
    from tests.browser.post_page import PostPage

pytestmark = pytest.mark.asyncio(loop_scope="module")

LOST = "Connection lost. Reconnecting…"
WAITING = "Waiting for the server…"
HELLO = {"page", "generation", "last"}


async def test_no_socket_is_opened_and_a_hello_comes_first(post_page: PostPage) -> None:
    await post_page.open()
    hello = await post_page.post(1)
    assert set(hello.message) == {"htagweb"}
    assert re.fullmatch(r"[A-Za-z0-9_-]{22}", hello.extra["page"])
    assert hello.extra == {"page": hello.extra["page"], "generation": "3-9f86d081", "last": 12}
    assert hello.headers["content-type"] == "application/json"
    await hello.answer()
    await post_page.post(2)
    assert post_page.lines == []


async def test_what_was_missed_comes_with_the_hello_before_anything_is_asked(post_page: PostPage) -> None:
    await post_page.open()
    hello = await post_page.post(1)
    await hello.answer({"post": "13", "htagweb": {"n": 13}}, {"post": "14", "htagweb": {"n": 14}})
    started = await post_page.post(2)
    assert [call["post"] for call in await post_page.calls()] == ["13", "14"]
    assert (started.extra["last"], started.extra["n"]) == (14, 1)


async def test_an_interaction_has_its_fields_its_number_and_where_the_page_is(post_page: PostPage) -> None:
    await post_page.open_ready()
    await post_page.interact("a")
    post = await post_page.post(3)
    identity = {"page": post.extra["page"], "generation": "3-9f86d081", "last": 13}
    assert post.message == {
        "id": "a", "method": "click", "args": [], "kargs": {}, "event": {}, "htagweb": {"n": 2} | identity,
    }  # fmt: skip


async def test_the_next_interaction_goes_out_at_the_headers_of_the_one_before(post_page: PostPage) -> None:
    await post_page.open_ready()
    await post_page.interact("long", "cancel")
    long = await post_page.post(3)
    await post_page.run(2_000)
    assert len(post_page.server.posts) == 3
    await long.begin()
    cancel = await post_page.post(4)
    assert cancel.extra["n"] == 3
    await cancel.begin()
    await cancel.settle(14, post="cancelled")
    await post_page.until_unanswered(2)
    await long.finish({"htagweb": {"n": 14}}, long.answered_by(15, post="done"))
    await post_page.until_unanswered()
    assert [call["post"] for call in await post_page.calls() if "post" in call] == ["cancelled", "done"]


async def test_an_answer_brings_what_other_pages_changed_and_each_is_applied_once(
    post_page: PostPage,
) -> None:
    await post_page.open_ready()
    await post_page.interact("a", "b")
    first = await post_page.post(3)
    await first.begin()
    second = await post_page.post(4)
    await second.begin()
    other = {"post": "other", "htagweb": {"n": 14}}
    await second.finish(other, first.answered_by(15, post="a"), second.answered_by(16, post="b"))
    await post_page.until_unanswered()
    await first.finish(other, first.answered_by(15, post="a"))
    await post_page.until(lambda: first.gone, "the first answer was read")
    await post_page.interact("c")
    assert (await post_page.post(5)).extra["last"] == 16
    assert [call["post"] for call in await post_page.calls() if "post" in call] == ["other", "a", "b"]


async def test_five_are_open_at_once_and_the_sixth_waits_for_an_answer(post_page: PostPage) -> None:
    await post_page.open_ready()
    await post_page.interact(*range(7))
    for count in range(3, 8):
        await (await post_page.post(count)).begin()
    await post_page.page.evaluate("window.dispatchEvent(new Event('online'))")
    hello = await post_page.post(8)
    assert set(hello.extra) == HELLO
    await hello.answer()
    await (await post_page.post(4)).settle(14)
    assert (await post_page.post(9)).extra["n"] == 7


@pytest.mark.parametrize("how", ["at once", "before the headers", "after the headers", "within the body"])
async def test_a_lost_post_is_sent_again_with_its_number_after_a_hello(post_page: PostPage, how: str) -> None:
    await post_page.open_ready()
    await post_page.interact("a", "b")
    post = await post_page.post(3)
    if how != "at once":
        await post_page.run(1_000)
    if how in ("after the headers", "within the body"):
        await post.begin()
        await post_page.post(4)
    if how == "within the body":
        await post.write(b'40\r\n[{"htagweb":')
    count = len(post_page.server.posts)
    post.die()
    await post_page.until_state("retrying")
    await post_page.run(250)
    hello = await post_page.post(count + 1)
    assert hello.extra == {"page": post.extra["page"], "generation": "3-9f86d081", "last": 13}
    await hello.answer()
    again = await post_page.post(count + 2)
    assert (again.message["id"], again.extra["n"]) == ("a", 2)
    await again.begin()
    assert (await post_page.post(count + 3)).extra["n"] == 3


async def test_what_the_hello_answers_is_not_sent_again(post_page: PostPage) -> None:
    await post_page.open_ready()
    await post_page.interact("a", "b")
    post = await post_page.post(3)
    await post.begin()
    (await post_page.post(4)).die()
    await post_page.until_state("retrying")
    await post_page.until(lambda: post.gone, "the other POST was left")
    await post_page.run(250)
    await (await post_page.post(5)).answer(post.answered_by(14, post="a"))
    assert (await post_page.post(6)).extra["n"] == 3
    assert [call["post"] for call in await post_page.calls() if "post" in call] == ["a"]


@pytest.mark.parametrize("status", [409, 429, 502, 503, 504, 522])
async def test_a_passing_refusal_is_told_and_tried_again(post_page: PostPage, status: int) -> None:
    await post_page.open_ready()
    await post_page.random(0.0)
    await post_page.interact("a")
    await (await post_page.post(3)).refuse(status, "not now")
    await post_page.until_state("retrying")
    assert await post_page.is_off()
    for attempt, wait_ms in enumerate([125, 250, 500], start=4):
        await post_page.run(wait_ms)
        hello = await post_page.post(attempt)
        if attempt < 6:
            await hello.refuse(status)
            await post_page.until_state("retrying")
    await post_page.run(125)
    await expect(post_page.notice).to_have_text(f"{LOST}\nYour last action is kept until then.")
    await hello.answer()
    assert (await post_page.post(7)).extra["n"] == 2
    await expect(post_page.notice).to_be_hidden()


async def test_a_page_that_is_not_of_the_wire_counts_as_a_failure(post_page: PostPage) -> None:
    """The sign-in page of a hotel's network, say."""
    await post_page.open_ready()
    await post_page.interact("a")
    post = await post_page.post(3)
    await post.begin()
    await post.finish_body(b"<h1>Sign in</h1>")
    await post_page.until_state("retrying")
    assert await post_page.inspect("unanswered") == [2]


async def test_a_refusal_in_the_array_is_applied_and_settles(post_page: PostPage) -> None:
    await post_page.open_ready()
    await post_page.interact("a")
    post = await post_page.post(3)
    control = {"page": post.extra["page"], "answers": 2}
    await post.answer({"err": "busy", "htagweb": control})
    await post_page.until_unanswered()
    assert (await post_page.calls())[-1]["err"] == "busy"


@pytest.mark.parametrize(("status", "text"), [(400, "expected an id"), (500, "The server answered 500.")])
async def test_an_interaction_that_is_refused_for_what_it_is_is_not_sent_again(
    post_page: PostPage, status: int, text: str
) -> None:
    await post_page.open_ready()
    await post_page.interact("a")
    await (await post_page.post(3)).refuse(status, text if status == 400 else "")
    await post_page.until_unanswered()
    assert (await post_page.calls())[-1]["err"] == text
    assert await post_page.inspect("state") == "ready"


async def test_nothing_is_sent_after_an_interaction_that_was_not_taken(post_page: PostPage) -> None:
    await post_page.open_ready()
    await post_page.interact("a", "b")
    await (await post_page.post(3)).refuse(503)
    await post_page.until_state("retrying")
    await post_page.run(250)
    await (await post_page.post(4)).answer()
    again = await post_page.post(5)
    await again.begin()
    await post_page.post(6)
    assert [post.extra.get("n") for post in post_page.server.posts[2:]] == [2, None, 2, 3]


async def test_a_post_too_big_is_taken_back_and_told_and_the_rest_moves_up(post_page: PostPage) -> None:
    await post_page.open_ready()
    await post_page.interact("a" * 1000, "b")
    await (await post_page.post(3)).refuse(413, "too much")
    await expect(post_page.notice).to_have_text("This message is too large (1076 bytes).")
    await post_page.run(250)
    await (await post_page.post(4)).answer()
    again = await post_page.post(5)
    assert (again.message["id"], again.extra["n"]) == ("b", 2)


@pytest.mark.parametrize("how", ["hello", "interaction", "control"])
async def test_a_page_of_an_app_that_is_gone_is_loaded_anew(post_page: PostPage, how: str) -> None:
    await (post_page.open() if how == "hello" else post_page.open_ready())
    if how == "hello":
        await (await post_page.post(1)).refuse(404)
    else:
        await post_page.interact("a")
        post = await post_page.post(3)
        await (post.refuse(404) if how == "interaction" else post.answer({"htagweb": {"reload": True}}))
    await post_page.until_state("ended")
    await post_page.run(300)
    await post_page.until_loads(2)


@pytest.mark.parametrize(("status", "text"), [(403, "Another user's."), (400, "expected a page")])
async def test_a_hello_that_is_refused_is_told_and_not_tried_again(
    post_page: PostPage, status: int, text: str
) -> None:
    await post_page.open()
    await (await post_page.post(1)).refuse(status, text)
    await expect(post_page.notice).to_have_text(text)
    await post_page.run(60_000)
    assert len(post_page.server.posts) == 1


async def test_a_click_that_meets_an_app_that_ended_unused_opens_it_again(post_page: PostPage) -> None:
    await post_page.open_ready()
    await post_page.interact("a")
    post = await post_page.post(3)
    await post.begin()
    end: dict[str, Any] = {"reason": "inactivity", "text": "This app ended unused.", "restart": "click"}
    await post.finish({"htagweb": {"n": 14, "end": end}})
    await post_page.until_loads(2)


async def test_an_end_is_told_and_the_rest_of_the_answers_ignored(post_page: PostPage) -> None:
    await post_page.open_ready()
    await post_page.interact("a", "b")
    post = await post_page.post(3)
    await post.begin()
    other = await post_page.post(4)
    end: dict[str, Any] = {"reason": "exit", "text": "This app has ended.", "restart": "button"}
    await post.finish({"htagweb": {"n": 14, "end": end}}, {"post": "late", "htagweb": {"n": 15}})
    await expect(post_page.notice).to_contain_text("This app has ended.\nYour last 2 actions may not")
    await post_page.until(lambda: other.gone, "the other POST was left")
    assert [call for call in await post_page.calls() if "post" in call] == []


@pytest.mark.parametrize("wake", ["window.dispatchEvent(new Event('online'))",
                                  "document.dispatchEvent(new Event('visibilitychange'))"],
                         ids=["online", "visible"])  # fmt: skip
async def test_a_wake_up_says_hello_and_gets_what_was_missed(post_page: PostPage, wake: str) -> None:
    await post_page.open_ready()
    await post_page.page.evaluate(wake)
    hello = await post_page.post(3)
    assert (set(hello.extra), hello.extra["last"]) == (HELLO, 13)
    await hello.answer({"post": "missed", "htagweb": {"n": 14}})
    await post_page.until_js("htagweb.inspect().last === 14")
    await post_page.run(3_000)
    assert await post_page.inspect("state") == "ready"


async def test_a_hello_at_wake_up_that_stays_unanswered_means_the_connection_is_lost(
    post_page: PostPage,
) -> None:
    await post_page.open_ready()
    await post_page.page.evaluate("window.dispatchEvent(new Event('online'))")
    await post_page.post(3)
    await post_page.run(3_000)
    assert await post_page.inspect("state") == "retrying"


async def test_coming_back_from_the_browsers_cache_says_hello_and_sends_what_was_asked(
    post_page: PostPage,
) -> None:
    await post_page.open_ready()
    await post_page.page.evaluate(
        "window.dispatchEvent(new PageTransitionEvent('pagehide', {persisted: true}))"
    )
    await post_page.interact("meanwhile")
    await post_page.page.evaluate(
        "window.dispatchEvent(new PageTransitionEvent('pageshow', {persisted: true}))"
    )
    hello = await post_page.post(3)
    assert set(hello.extra) == HELLO
    await hello.answer()
    assert (await post_page.post(4)).extra["n"] == 2


async def test_an_idle_page_sends_nothing(post_page: PostPage) -> None:
    await post_page.open_ready()
    await post_page.run(600_000)
    assert len(post_page.server.posts) == 2


async def test_a_long_answer_is_waited_for_while_the_worker_lives(post_page: PostPage) -> None:
    await post_page.open_ready()
    await post_page.interact("long")
    long = await post_page.post(3)
    await long.begin()
    await post_page.run(24_000)
    assert len(post_page.server.posts) == 3
    await post_page.run(3_500)
    await (await post_page.post(4)).answer()
    await post_page.until(lambda: post_page.server.posts[3].gone, "the hello was answered")
    await long.settle(14)
    await post_page.until_unanswered()
    assert await post_page.inspect("state") == "ready"


async def test_a_network_that_dies_silently_during_a_long_answer_is_noticed(post_page: PostPage) -> None:
    await post_page.open_ready()
    await post_page.interact("long")
    await (await post_page.post(3)).begin()
    await post_page.run(27_500)
    await post_page.post(4)
    await post_page.run(10_000)
    assert await post_page.inspect("state") != "ready"


async def test_an_interaction_that_is_not_taken_for_three_seconds_is_told(post_page: PostPage) -> None:
    await post_page.open_ready()
    await post_page.interact("a")
    post = await post_page.post(3)
    await post_page.run(2_900)
    await expect(post_page.notice).to_be_hidden()
    await post_page.run(100)
    await expect(post_page.notice).to_have_text(WAITING)
    await post.begin()
    await expect(post_page.notice).to_be_hidden()
