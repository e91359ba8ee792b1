"""Pages without a WebSocket: arrays of actions, responses that start before the answer, a hello."""

import asyncio
import json
from typing import Any

import msgspec
import pytest
from htagweb_broker import (
    Answered,
    BrokerUnavailable,
    Connect,
    Emission,
    Ended,
    FeedBroken,
    Interact,
    UpdatedByApp,
)

from htagweb.web import posts, submitting
from tests.support.waiting import until
from tests.unit.web.harness import GENERATION, PAGE, Post, Site

DOM = msgspec.Raw(b'{"update":{}}')
SCRIPTS = msgspec.Raw(b'{"post":"say()"}')
HELLO = {"htagweb": {"page": PAGE, "generation": GENERATION, "last": 3}}


def interaction(n: int = 7, last: int = 3) -> bytes:
    extra = {"n": n, "page": PAGE, "generation": GENERATION, "last": last}
    return json.dumps({"id": 1, "method": "m", "htagweb": extra}).encode()


def update(number: int) -> Emission:
    return Emission(number, GENERATION, UpdatedByApp(DOM, msgspec.Raw(b"{}")))


def answer(number: int, page: str = PAGE, n: int = 7) -> Emission:
    return Emission(number, GENERATION, Answered(page, n, DOM, SCRIPTS))


def ended(number: int) -> Emission:
    return Emission(number, GENERATION, Ended("exit"))


async def submitted(site: Site) -> None:
    await until(lambda: site.broker.of("submit"), "a submission")


async def array(site: Site, *emissions: Emission) -> list[Any]:
    """POST an interaction and have the outbox bring these; return the messages."""
    async with asyncio.TaskGroup() as tasks:
        posting = tasks.create_task(site.post(interaction()))
        await submitted(site)
        site.broker.emissions += emissions
    messages: list[Any] = posting.result().json()
    return messages


# An array


async def test_the_answer_comes_with_all_that_the_page_has_missed_in_order(site: Site) -> None:
    site.own(out=5)
    site.broker.emissions = [update(3), update(4), answer(5, "other-page")]
    messages = await array(site, answer(6), update(7))
    assert [message["htagweb"]["n"] for message in messages] == [4, 5, 6]
    assert messages[2]["htagweb"] == {"n": 6, "page": PAGE, "answers": 7}
    assert ["post" in message for message in messages] == [False, False, True]


async def test_what_is_missed_is_whole_also_when_it_was_read_in_parts(site: Site) -> None:
    site.own()
    async with asyncio.TaskGroup() as tasks:
        posting = tasks.create_task(site.post(interaction()))
        await submitted(site)
        for number in (4, 5, 6):
            site.broker.emissions.append(update(number))
            await until(lambda: (number,) in site.broker.of("read_after"), "it was read")  # noqa: B023
        site.broker.emissions.append(answer(7))
    assert [message["htagweb"]["n"] for message in posting.result().json()] == [4, 5, 6, 7]


async def test_the_end_of_the_app_ends_the_array(site: Site) -> None:
    site.own()
    messages = await array(site, update(4), ended(5))
    assert [message["htagweb"]["n"] for message in messages] == [4, 5]
    assert messages[1]["htagweb"]["end"]["reason"] == "exit"


async def test_a_page_that_missed_too_much_is_told_to_load_anew(site: Site) -> None:
    site.own()
    site.broker.errors["read_after"] = FeedBroken("trimmed")
    assert (await site.post(interaction())).json() == [{"htagweb": {"reload": True}}]


async def test_a_page_of_another_generation_is_told_to_load_anew(site: Site) -> None:
    site.own()
    body = interaction().replace(b"1-0123abcd", b"9-0123abcd")
    assert (await site.post(body)).json() == [{"htagweb": {"reload": True}}]
    assert site.broker.of("submit") == []


async def test_a_refusal_comes_after_what_was_missed(site: Site) -> None:
    site.own()
    site.broker.submitted = "busy"
    site.broker.emissions = [update(4)]
    first, second = (await site.post(interaction())).json()
    assert first["htagweb"] == {"n": 4}
    assert (second["err"], second["htagweb"]["answers"]) == ("Too many clicks wait for this app.", 7)


async def test_a_repetition_after_the_end_gets_its_answer(site: Site) -> None:
    site.own("", reason="exit")
    site.broker.submitted = "ended"
    site.broker.emissions = [answer(4), ended(5)]
    (message,) = (await site.post(interaction())).json()
    assert message["htagweb"]["answers"] == 7


async def test_an_interaction_after_the_end_hears_of_it_once(site: Site) -> None:
    site.own("", reason="exit")
    site.broker.submitted = "ended"
    site.broker.emissions = [update(4), ended(5)]
    messages = (await site.post(interaction())).json()
    assert [message["htagweb"].get("n") for message in messages] == [4, 5]


async def test_a_repetition_that_the_page_has_the_answer_of_gets_it_again(site: Site) -> None:
    site.own(out=9)
    site.broker.kept_answer = answer(4)
    (message,) = (await site.post(interaction(last=9))).json()
    assert message["htagweb"] == {"n": 4, "page": PAGE, "answers": 7}


async def test_an_answer_that_comes_while_it_is_looked_back_for_comes_with_what_was_before(
    site: Site,
) -> None:
    site.own()
    site.broker.kept_answer = answer(5)
    async with asyncio.TaskGroup() as tasks:
        posting = tasks.create_task(site.post(interaction()))
        await until(lambda: site.broker.of("find_answer"), "it was looked for")
        site.broker.emissions = [update(4), answer(5)]
    assert [message["htagweb"]["n"] for message in posting.result().json()] == [4, 5]


async def test_an_answer_that_does_not_come_is_a_message(site: Site) -> None:
    site.own()
    site.monkeypatch.setattr(posts, "LONGEST_ANSWER_S", 2**-6)
    (message,) = (await site.post(interaction())).json()
    assert (message["err"], message["htagweb"]["answers"]) == ("The app did not answer in time.", 7)


# A response that starts first


async def test_status_and_headers_go_out_as_soon_as_the_inbox_has_the_interaction(site: Site) -> None:
    site.own()
    post = Post(site, interaction())
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(post.serve())
        start = await post.started()
        assert start["status"] == 200
        headers = dict(start["headers"])
        assert headers[b"content-type"] == b"application/json"
        assert headers[b"x-accel-buffering"] == b"no"
        assert b"content-length" not in headers
        (submission,) = site.broker.of("submit")[-1]
        assert isinstance(submission, Interact)
        assert (post.body, post.is_complete) == (b"", False)
        site.broker.emissions.append(answer(4))
    assert post.is_complete
    assert json.loads(post.body)[0]["htagweb"]["answers"] == 7


async def test_nothing_goes_out_before_the_inbox_has_the_interaction(site: Site) -> None:
    site.own()
    site.broker.errors["submit"] = BrokerUnavailable("away")
    post = Post(site, interaction())
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(post.serve())
        await until(lambda: site.broker.of("read_record"), "the request is under way")
        await site.clock.advance(submitting.RETRY_S)
        assert post.sent == []
        site.broker.errors.clear()
        await site.clock.advance(submitting.RETRY_S)
        await post.started()
        site.broker.emissions.append(answer(4))


async def test_a_short_absence_of_the_broker_is_waited_out(site: Site) -> None:
    site.own()
    post = Post(site, interaction())
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(post.serve())
        await post.started()
        site.broker.errors["read_after"] = BrokerUnavailable("away")
        await site.clock.advance(submitting.PATIENCE_S - 1)
        site.broker.emissions.append(answer(4))
        site.broker.errors.clear()
    assert post.is_complete


async def test_a_long_absence_breaks_the_connection_and_does_not_end_the_body(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    site.own()
    post = Post(site, interaction())
    serving = asyncio.gather(post.serve(), return_exceptions=True)
    await post.started()
    site.broker.errors["read_after"] = BrokerUnavailable("away")
    await site.clock.advance(submitting.PATIENCE_S + 1)
    assert isinstance((await serving)[0], BrokerUnavailable)
    assert (post.body, post.is_complete) == (b"", False)
    assert "an answer was given up" in caplog.text


async def test_a_page_that_left_is_waited_for_no_longer(site: Site) -> None:
    site.own()
    post = Post(site, interaction())
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(post.serve())
        await post.started()
        post.leave()
    assert not post.is_complete
    assert site.broker.hints == {}


# A hello


async def test_a_hello_tells_the_app_of_the_browser_and_gets_what_was_missed(site: Site) -> None:
    site.own()
    site.broker.emissions = [update(3), update(4), answer(5, "other-page")]
    messages = (await site.post(HELLO)).json()
    assert [message["htagweb"] for message in messages] == [{"n": 4}, {"n": 5}]
    assert site.broker.of("submit") == [(Connect(GENERATION),)]


async def test_a_hello_that_missed_nothing_gets_an_empty_array_at_once(site: Site) -> None:
    site.own()
    assert (await site.post(HELLO)).json() == []


async def test_a_hello_of_another_generation_is_told_to_load_anew(site: Site) -> None:
    site.own()
    hello = {"htagweb": {**HELLO["htagweb"], "generation": "9-0123abcd"}}
    assert (await site.post(hello)).json() == [{"htagweb": {"reload": True}}]


@pytest.mark.parametrize("became", ["stale", "unknown"])
async def test_a_hello_that_came_too_late_is_told_to_load_anew(site: Site, became: Any) -> None:
    site.own()
    site.broker.submitted = became
    assert (await site.post(HELLO)).json() == [{"htagweb": {"reload": True}}]


async def test_a_hello_that_missed_too_much_is_told_to_load_anew(site: Site) -> None:
    site.own()
    site.broker.errors["read_after"] = FeedBroken("trimmed")
    assert (await site.post(HELLO)).json() == [{"htagweb": {"reload": True}}]


@pytest.mark.parametrize("missed", [[ended(4)], []])
async def test_a_hello_after_the_end_hears_of_it_once(site: Site, missed: list[Emission]) -> None:
    site.own("", reason="exit")
    site.broker.submitted = "ended"
    site.broker.emissions = missed
    (message,) = (await site.post(HELLO)).json()
    assert message["htagweb"]["end"]["reason"] == "exit"


async def test_a_hello_to_a_full_inbox_is_asked_to_come_again(site: Site) -> None:
    site.own()
    site.broker.submitted = "busy"
    response = await site.post(HELLO)
    assert (response.status_code, response.headers["retry-after"]) == (503, "3")


async def test_a_hello_without_a_broker_is_asked_to_come_again(site: Site) -> None:
    site.own()
    site.broker.errors["submit"] = BrokerUnavailable("away")
    assert (await site.post(HELLO)).status_code == 503


@pytest.mark.parametrize("missing", ["page", "generation", "last"])
async def test_half_a_hello_is_refused_with_what_was_expected(site: Site, missing: str) -> None:
    site.own()
    extra = {name: value for name, value in HELLO["htagweb"].items() if name != missing}
    response = await site.post({"htagweb": extra})
    assert response.status_code == 400
    assert "expected an id (a number), or page, generation and last" in response.text
