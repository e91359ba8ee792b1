"""Interactions by POST: what is refused, where the answer comes from, and what is said without one."""

import asyncio
import json
from typing import Any

import httpx
import msgspec
import pytest
from htagweb_broker import Answered, BrokerUnavailable, Emission, Ended, FeedBroken, Interact, UpdatedByApp

from htagweb.web import posts, submitting
from tests.support.waiting import until
from tests.unit.web.harness import GENERATION, PAGE, Site

CALL = {"id": 1, "method": "m"}
RAW = msgspec.Raw(b'{"update":{}}')
SCRIPTS = msgspec.Raw(b'{"post":"say()"}')


def numbered(n: int, **more: Any) -> dict[str, Any]:
    return {**CALL, "htagweb": {"n": n, "page": PAGE, **more}}


async def submitted(site: Site) -> Interact:
    await until(lambda: site.broker.of("submit"), "a submission")
    message: Interact = site.broker.of("submit")[-1][0]
    return message


async def post_answered(site: Site, body: Any, *emissions: Emission, hint: bool = True) -> httpx.Response:
    """POST and have the outbox bring these."""
    async with asyncio.TaskGroup() as tasks:
        posting = tasks.create_task(site.post(body))
        message = await submitted(site)
        site.broker.emissions += emissions
        if hint:
            site.broker.hints[f"{message.page}:{message.number}"].set()
    return posting.result()


def answer(number: int = 4, page: str = PAGE, n: int = 7) -> Emission:
    return Emission(number, GENERATION, Answered(page, n, RAW, SCRIPTS))


@pytest.mark.parametrize("hint", [True, False])
async def test_the_answer_is_the_action_with_a_hint_or_without(site: Site, hint: bool) -> None:
    site.own()
    response = await post_answered(site, numbered(7), answer(), hint=hint)
    assert response.status_code == 200
    assert response.headers["cache-control"] == "no-store"
    extra = {"n": 4, "page": PAGE, "answers": 7}
    assert response.json() == {"update": {}, "post": "say()", "htagweb": extra}


async def test_a_client_without_numbers_gets_a_page_of_its_own(site: Site) -> None:
    site.own()
    async with asyncio.TaskGroup() as tasks:
        posting = tasks.create_task(site.post(CALL))
        message = await submitted(site)
        site.broker.emissions.append(answer(page=message.page, n=message.number))
    assert message.number == 1
    assert message.worker == site.service.worker
    assert posting.result().status_code == 200


async def test_only_its_own_answer_is_the_answer(site: Site) -> None:
    site.own()
    others = [answer(4, n=6), answer(5, "other-page"), Emission(6, GENERATION, UpdatedByApp(RAW, RAW))]
    response = await post_answered(site, numbered(7), *others, answer(7))
    assert response.json()["htagweb"]["n"] == 7


async def test_what_was_emitted_before_is_not_looked_at(site: Site) -> None:
    site.own(out=3)
    await post_answered(site, numbered(7), answer())
    assert site.broker.of("read_after")[0] == (3,)


async def test_the_end_of_the_app_is_an_answer(site: Site) -> None:
    site.own()
    response = await post_answered(site, numbered(7), Emission(4, GENERATION, Ended("crashed")))
    assert response.json()["htagweb"]["end"]["reason"] == "crashed"


async def test_an_interaction_of_another_generation_is_told_to_load_anew(site: Site) -> None:
    site.own()
    response = await site.post(numbered(7, generation="9-0123abcd"))
    assert response.json()["htagweb"] == {"reload": True}
    assert site.broker.of("submit") == []


async def test_a_feed_that_is_broken_is_told_to_load_anew(site: Site) -> None:
    site.own()
    site.broker.errors["read_after"] = FeedBroken("trimmed")
    assert (await site.post(numbered(7))).json()["htagweb"] == {"reload": True}


@pytest.mark.parametrize("submitted_as", ["stale", "unknown"])
async def test_what_came_too_late_is_told_to_load_anew(site: Site, submitted_as: Any) -> None:
    site.own()
    site.broker.submitted = submitted_as
    assert (await site.post(numbered(7))).json()["htagweb"] == {"reload": True}


async def test_what_came_after_the_end_is_told_why(site: Site) -> None:
    site.own("", reason="inactivity")
    site.broker.submitted = "ended"
    assert (await site.post(numbered(7))).json()["htagweb"]["end"]["reason"] == "inactivity"


async def test_a_full_inbox_is_an_error_that_settles_the_interaction(site: Site) -> None:
    site.own()
    site.broker.submitted = "busy"
    response = (await site.post(numbered(7))).json()
    assert response["err"] == "Too many clicks wait for this app."
    assert response["htagweb"] == {"page": PAGE, "answers": 7}


async def test_a_broker_that_stays_away_gives_the_interaction_up(site: Site) -> None:
    site.own()
    site.broker.errors["submit"] = BrokerUnavailable("away")
    async with asyncio.TaskGroup() as tasks:
        posting = tasks.create_task(site.post(numbered(7)))
        await until(lambda: site.broker.of("read_record"), "the request is under way")
        await site.clock.advance(submitting.PATIENCE_S - 1)
        assert not posting.done()
        await site.clock.advance(1)
    assert "may not have been carried out" in posting.result().json()["err"]


async def test_after_a_new_connection_to_the_broker_an_interaction_is_submitted_again(site: Site) -> None:
    site.own()
    async with asyncio.TaskGroup() as tasks:
        posting = tasks.create_task(site.post(numbered(7)))
        await submitted(site)
        site.broker.connections += 1
        await until(lambda: len(site.broker.of("submit")) == 2, "it is submitted again")
        site.broker.emissions.append(answer(n=7))
    assert posting.result().status_code == 200
    first, second = site.broker.of("submit")
    assert first == second


async def test_a_broker_that_comes_back_gets_the_interaction(site: Site) -> None:
    site.own()
    site.broker.errors["submit"] = BrokerUnavailable("away")
    async with asyncio.TaskGroup() as tasks:
        posting = tasks.create_task(site.post(numbered(7)))
        await until(lambda: site.broker.of("read_record"), "the request is under way")
        site.broker.errors.clear()
        await site.clock.advance(submitting.RETRY_S)
        await submitted(site)
        site.broker.emissions.append(answer())
    assert posting.result().json()["htagweb"]["answers"] == 7
    assert len(site.broker.of("submit")) == 1


@pytest.mark.parametrize("body", [b"", b"nonsense", b'{"id":"x"}', b"{}", b"\xff", b'{"id":1,"args":{}}'])
async def test_what_is_no_interaction_is_refused_with_what_was_expected(site: Site, body: bytes) -> None:
    site.own()
    response = await site.post(body)
    assert response.status_code == 400
    assert "expected " in response.text
    assert site.broker.of("submit") == []


async def test_an_app_that_was_not_opened_is_not_found(site: Site) -> None:
    response = await site.post(CALL)
    assert response.status_code == 404
    assert "not opened in this session" in response.text


async def test_a_post_from_another_site_is_refused(site: Site) -> None:
    site.own()
    response = await site.post(CALL, origin="https://evil.org")
    assert response.status_code == 403
    assert site.broker.of("submit") == []


async def test_a_message_over_the_limit_is_refused(site: Site) -> None:
    limit = site.service.settings.max_message_bytes
    response = await site.post(b" " * (limit + 1))
    assert response.status_code == 413
    assert str(limit) in response.text


async def test_a_broker_that_is_away_is_told_in_plain_text(site: Site) -> None:
    site.broker.errors["read_record"] = BrokerUnavailable("away")
    response = await site.post(CALL)
    assert (response.status_code, response.text) == (503, "The server is not ready.")
    assert response.headers["retry-after"] == "3"


async def test_an_answer_that_does_not_come_is_told_and_settles_the_interaction(site: Site) -> None:
    site.own()
    site.monkeypatch.setattr(posts, "LONGEST_ANSWER_S", 2**-6)
    response = (await site.post(numbered(7))).json()
    assert response == {
        "err": "The app did not answer in time.",
        "htagweb": {"page": PAGE, "answers": 7},
    }


async def test_a_refusal_is_in_the_log_without_the_payload(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    site.own()
    await site.post(json.dumps({"id": "x", "method": "secret words"}).encode())
    assert "a POST was refused" in caplog.text
    assert "secret words" not in caplog.text


async def test_a_repetition_gets_the_answer_that_was_lost_on_its_way(site: Site) -> None:
    site.own(out=9)
    site.broker.kept_answer = answer(4)
    assert (await site.post(numbered(7))).json()["htagweb"] == {"n": 4, "page": PAGE, "answers": 7}


async def test_a_repetition_gets_its_answer_though_the_app_has_ended_since(site: Site) -> None:
    site.own("", out=9, reason="exit")
    site.broker.submitted = "ended"
    site.broker.kept_answer = answer(4)
    assert (await site.post(numbered(7))).json()["htagweb"]["answers"] == 7
