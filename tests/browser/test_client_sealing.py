"""The browser client of a parano page: all is sealed, and what was altered or repeated is refused."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from playwright.async_api import expect

if TYPE_CHECKING:
    from tests.browser.client_page import ClientPage, Line, OpenPage
    from tests.browser.post_page import Post, PostPage

pytestmark = pytest.mark.asyncio(loop_scope="module")

SECURE_ONLY = (
    "This page speaks encrypted only, and the browser offers that on https:// and on localhost alone."
)
NO_CURVE = "This page speaks encrypted only, and this browser cannot."
ALTERED = "What came from the server was altered on its way, several times in a row."
WITHOUT = """
const generate = crypto.subtle.generateKey.bind(crypto.subtle);
crypto.subtle.generateKey = (algorithm, ...rest) => %s.includes(algorithm.name)
  ? Promise.reject(new DOMException("Unrecognized name.", "NotSupportedError"))
  : generate(algorithm, ...rest);
"""


async def open_sealed(open_page: OpenPage) -> ClientPage:
    """Open a parano page that has WebSockets."""
    return await open_page(scheme="https", parano=True)


async def test_a_socket_offers_a_key_and_carries_frames_after_the_answer(open_page: OpenPage) -> None:
    client = await open_sealed(open_page)
    line = await client.ready()
    assert (line.query["curve"], len(line.query["key"])) == ("X25519", 43)
    await client.interact("héllo")
    await client.received(line, 2)
    assert (line.messages[1]["id"], line.numbers) == ("héllo", [1, 2])
    line.send({"n": 13, "page": line.query["page"], "answers": 2}, post="ok €")
    await client.until_js("htagweb.inspect().unanswered.length === 0")
    assert (await client.calls())[-1]["post"] == "ok €"


async def test_many_frames_keep_their_order_both_ways(open_page: OpenPage) -> None:
    client = await open_sealed(open_page)
    line = await client.ready()
    await client.interact(*("x" * (97 * each % 89 * 50) for each in range(60)))
    for number in range(13, 73):
        line.send({"n": number}, post="y" * (number * 7919 % 5000))
    await client.received(line, 61)
    assert line.numbers == list(range(1, 62))
    await client.until_js("htagweb.inspect().last === 72")
    assert len(client.lines) == 1


async def test_nothing_is_sent_in_clear_text_before_the_workers_key(client_page: ClientPage) -> None:
    client_page.agrees = False
    await client_page.open(scheme="https", parano=True)
    await client_page.until(lambda: len(client_page.lines) == 1, "a connection")
    await client_page.run(9_000)
    assert (await client_page.inspect("state"), client_page.lines[0].texts) == ("connecting", [])


async def test_a_connection_after_a_loss_has_keys_of_its_own(open_page: OpenPage) -> None:
    client = await open_sealed(open_page)
    first = await client.ready()
    await client.interact("a")
    await client.received(first, 2)
    await client.dropped(first)
    await client.run(250)
    second = await client.line(2)
    second.send({"ready": True})
    await client.received(second, 1)
    assert second.query["key"] != first.query["key"]
    assert second.numbers == [2]


async def test_without_x25519_the_page_takes_p_256(client_page: ClientPage) -> None:
    await client_page.page.add_init_script(WITHOUT % '["X25519"]')
    line = await (await client_page.open(scheme="https", parano=True)).ready()
    assert (line.query["curve"], len(line.query["key"])) == ("P-256", 87)
    assert line.messages[0]["id"] == 0


async def test_without_any_curve_the_page_says_so_and_stays_closed(client_page: ClientPage) -> None:
    await client_page.page.add_init_script(WITHOUT % '["X25519", "ECDH"]')
    await client_page.open(scheme="https", parano=True)
    await expect(client_page.notice).to_contain_text(NO_CURVE)
    await client_page.interact("a")
    await client_page.run(60_000)
    assert (client_page.lines, await client_page.inspect("unanswered")) == ([], [])


@pytest.mark.parametrize("http_only", [False, True], ids=["socket", "posts"])
async def test_without_a_secure_context_the_page_says_so_and_stays_closed(
    open_page: OpenPage, http_only: bool
) -> None:
    client = await open_page(parano=True, http_only=http_only)
    posts: list[str] = []
    client.page.on("request", lambda request: posts.append(request.method))
    await expect(client.notice).to_contain_text(SECURE_ONLY)
    await expect(client.page.get_by_role("button")).to_be_hidden()
    await client.interact("a")
    await client.run(60_000)
    await client.page.evaluate("window.dispatchEvent(new Event('online'))")
    assert (client.lines, posts) == ([], [])
    assert [await client.inspect("state"), await client.inspect("unanswered")] == ["ended", []]


def altered(frame: bytes, position: int) -> bytes:
    """Return the frame with one bit changed."""
    return frame[:position] + bytes([frame[position] ^ 1]) + frame[position + 1 :]


def bad_frame(line: Line, how: str) -> str | bytes:
    """Return what no page may take as the next frame."""
    assert line.seal is not None
    text = json.dumps({"post": "evil", "htagweb": {"n": 13}})
    if how == "in clear text":
        return text
    if how == "repeated":
        return line.seal.seal(1, json.dumps({"htagweb": {"ready": True}}))
    if how == "skipped":
        line.frame(text)
    frame = line.frame(text)
    changes = {"number altered": 7, "text altered": 20, "tag altered": len(frame) - 1}
    if how in changes:
        return altered(frame, changes[how])
    return {"truncated": frame[:-1], "too short": frame[:5], "empty": b"", "skipped": frame}[how]


HOWS = [
    "in clear text", "repeated", "skipped", "number altered", "text altered", "tag altered", "truncated",
    "too short", "empty",
]  # fmt: skip


@pytest.mark.parametrize("how", HOWS)
async def test_a_frame_that_is_not_the_workers_next_is_refused_by_the_page(
    open_page: OpenPage, how: str
) -> None:
    client = await open_sealed(open_page)
    line = await client.ready()
    line.send_raw(bad_frame(line, how))
    line.send({"n": 13}, post="after it")
    await client.until_state("retrying")
    await client.until(lambda: line.closed, "the line was closed")
    assert await client.calls() == []
    await client.run(250)
    await client.ready(2)


async def test_what_is_said_in_place_of_the_key_is_refused(client_page: ClientPage) -> None:
    client_page.agrees = False
    await client_page.open(scheme="https", parano=True)
    await client_page.until(lambda: len(client_page.lines) == 1, "a connection")
    client_page.lines[0].send({"n": 13}, post="evil")
    await client_page.until_state("retrying")
    assert await client_page.calls() == []


@pytest.mark.parametrize("who", ["page", "worker"])
async def test_after_three_in_a_row_the_page_stops_with_a_notice(open_page: OpenPage, who: str) -> None:
    client = await open_sealed(open_page)
    for count in (1, 2, 3):
        line = await client.ready(count)
        if who == "page":
            line.send_raw("{}")
        else:
            await line.close(code=4422, reason="<b>call 0900</b>")
        await client.until_js("htagweb.inspect().state !== 'ready'")
        await client.run(250)
    await expect(client.notice).to_have_text(ALTERED)
    await client.run(60_000)
    assert (await client.inspect("state"), len(client.lines)) == ("ended", 3)
    await client.click("Reload")
    await client.until_loads(2)


async def test_two_long_ago_do_not_count(open_page: OpenPage) -> None:
    client = await open_page(scheme="https", parano=True, ping_s=120)
    for count in (1, 2, 3):
        line = await client.ready(count)
        if count == 3:
            await client.run(30_000)
        line.send_raw("{}")
        await client.until_js("htagweb.inspect().state !== 'ready'")
        await client.run(250)
    await client.line(4)


async def test_what_a_worker_says_outside_of_a_frame_is_not_shown(open_page: OpenPage) -> None:
    client = await open_sealed(open_page)
    await (await client.line(1)).close(code=4403, reason="Call 0900.")
    await expect(client.notice).to_have_text("This page cannot be connected.")


# POSTs


async def ready_posts(client: PostPage) -> PostPage:
    """Open a parano page that has POSTs alone; two of them are answered."""
    await client.open_ready(parano=True)
    return client


async def test_posts_are_frames_of_a_channel_with_growing_numbers(post_page: PostPage) -> None:
    await ready_posts(post_page)
    await post_page.interact("héllo", "b")
    first = await post_page.post(3)
    await first.begin()
    second = await post_page.post(4)
    await second.begin()
    await second.settle(14)
    await post_page.until_unanswered(2)
    await first.settle(15, post="ok €")
    await post_page.until_unanswered()
    posts = post_page.server.posts
    assert (first.message["id"], [post.number for post in posts]) == ("héllo", [1, 2, 3, 4])
    assert {post.headers["x-htagweb-channel"] for post in posts} == {"0"}
    assert {post.headers["content-type"] for post in posts} == {"application/octet-stream"}
    assert (await post_page.calls())[-1]["post"] == "ok €"


@pytest.mark.parametrize("status", [409, 422, 503])
async def test_a_channel_that_is_not_taken_is_followed_by_a_new_one(post_page: PostPage, status: int) -> None:
    await ready_posts(post_page)
    await post_page.interact("a")
    await (await post_page.post(3)).refuse(status, "not this one")
    await post_page.until_state("retrying")
    await post_page.run(250)
    hello = await post_page.post(4)
    assert (hello.headers["x-htagweb-channel"], hello.number) == ("1", 1)
    await hello.answer()
    again = await post_page.post(5)
    assert (again.extra["n"], again.number) == (2, 2)


async def test_a_worker_that_dies_before_its_sealed_answer_is_asked_again(post_page: PostPage) -> None:
    await ready_posts(post_page)
    await post_page.interact("a")
    post = await post_page.post(3)
    await post.begin()
    post.die()
    await post_page.until_state("retrying")
    await post_page.run(250)
    await (await post_page.post(4)).answer()
    assert (await post_page.post(5)).extra["n"] == 2


def bad_body(post: Post, how: str) -> bytes:
    """Return what no page may take as the answer to this POST."""
    assert post.seal is not None
    text = json.dumps([{"post": "evil", "htagweb": {"n": 14}}])
    if how == "in clear text":
        return text.encode()
    if how == "of another post":
        return post.seal.seal(post.number - 1, text)
    frame = post.seal.seal(post.number, text)
    return altered(frame, 20) if how == "altered" else frame[:-1]


@pytest.mark.parametrize("how", ["in clear text", "of another post", "altered", "truncated"])
async def test_an_answer_that_is_not_the_workers_is_refused_by_the_page(
    post_page: PostPage, how: str
) -> None:
    await ready_posts(post_page)
    await post_page.interact("a")
    for count in (3, 5, 7):
        post = await post_page.post(count)
        await post.begin()
        await post.finish_body(bad_body(post, how))
        await post_page.until_js("htagweb.inspect().state !== 'ready'")
        if count < 7:
            await post_page.run(250)
            await (await post_page.post(count + 1)).answer()
    await expect(post_page.notice).to_have_text(f"{ALTERED}\nYour last action may not have been carried out.")
    assert [call for call in await post_page.calls() if call.get("post") == "evil"] == []


async def test_a_refusal_in_clear_text_settles_but_its_words_are_not_shown(post_page: PostPage) -> None:
    await ready_posts(post_page)
    await post_page.interact("a")
    await (await post_page.post(3)).refuse(400, "Call 0900.")
    await post_page.until_unanswered()
    assert (await post_page.calls())[-1]["err"] == "The server answered 400."
