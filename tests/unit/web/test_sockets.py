"""A page's WebSocket: who is let in, what was missed, what follows, and how it ends."""

import asyncio
from collections.abc import AsyncIterator, Callable
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

from htagweb.web import lines, submitting
from htagweb.web.lines import LOOK_S, NORMAL, SEND_TIMEOUT_S
from htagweb.web.sockets import BAD_HELLO, GONE, NOT_READY, TOO_LARGE
from tests.support.fakes import turns
from tests.support.waiting import until
from tests.unit.web.harness import GENERATION, PAGE, Site, Socket

RAW = msgspec.Raw(b"{}")
HELLO = f"page={PAGE}&generation={GENERATION}&last=3"
Connected = Callable[..., Socket]


def update(number: int) -> Emission:
    return Emission(number, GENERATION, UpdatedByApp(RAW, RAW))


@pytest.fixture
async def connect(site: Site) -> AsyncIterator[Connected]:
    """Give a function that connects a page; it leaves when the test ends."""
    made: list[Socket] = []
    async with asyncio.TaskGroup() as tasks:

        def start(query: str = HELLO, **headers: str) -> Socket:
            made.append(Socket(site, query, **headers))
            tasks.create_task(made[-1].serve())
            return made[-1]

        yield start
        for socket in made:
            socket.leave()


async def ready(socket: Socket) -> Socket:
    await socket.hears(lambda extra: extra.get("ready"))
    return socket


# Who is let in


async def test_a_socket_from_another_site_is_refused(site: Site, connect: Connected) -> None:
    site.own()
    socket = connect(origin="https://evil.org")
    await until(lambda: socket.status, "a refusal")
    assert socket.status == 403


async def test_an_app_that_was_not_opened_is_not_found(site: Site, connect: Connected) -> None:
    socket = connect("")
    await until(lambda: socket.status, "a refusal")
    assert socket.status == 404


async def test_a_broker_that_is_away_refuses(site: Site, connect: Connected) -> None:
    site.broker.errors["read_record"] = BrokerUnavailable("away")
    socket = connect()
    await until(lambda: socket.status, "a refusal")
    assert socket.status == 503


async def test_a_wrong_introduction_is_closed_with_its_own_code(site: Site, connect: Connected) -> None:
    site.own()
    socket = connect("page=x")
    await until(lambda: socket.code, "a close")
    assert socket.code == BAD_HELLO


@pytest.mark.parametrize("owned", [True, False])
async def test_a_page_of_an_earlier_run_is_told_to_load_anew(
    site: Site, connect: Connected, owned: bool
) -> None:
    if owned:
        site.own()
    socket = connect(f"page={PAGE}&generation=9-0123abcd&last=3")
    await until(lambda: socket.code, "a close")
    assert (socket.extras, socket.code) == ([{"reload": True}], GONE)


# Out


async def test_what_was_missed_comes_before_ready_and_the_app_hears_of_the_browser_after(
    site: Site, connect: Connected
) -> None:
    site.own()
    site.broker.emissions = [update(3), update(4), update(5)]
    socket = await ready(connect())
    assert socket.extras == [{"n": 4}, {"n": 5}, {"ready": True}]
    await until(lambda: site.broker.of("submit"), "the connection is told")
    assert site.broker.of("submit") == [(Connect(GENERATION),)]


async def test_a_client_without_an_introduction_follows_from_now(site: Site, connect: Connected) -> None:
    site.own(out=8)
    connect("")
    await until(lambda: site.broker.of("follow"), "a feed")
    assert site.broker.of("follow") == [(GENERATION, 8)]


async def test_a_client_without_an_introduction_hears_nothing_but_actions(
    site: Site, connect: Connected
) -> None:
    site.own()
    site.broker.feed.put_nowait(update(4))
    socket = connect("")
    await until(lambda: socket.messages, "the update")
    assert socket.extras == [{"n": 4}]


async def test_an_answers_scripts_are_for_its_asker_alone(site: Site, connect: Connected) -> None:
    site.own()
    mine = Emission(4, GENERATION, Answered(PAGE, 1, RAW, msgspec.Raw(b'{"post":"x"}')))
    others = Emission(5, GENERATION, Answered("other-page", 1, RAW, msgspec.Raw(b'{"post":"x"}')))
    site.broker.emissions = [mine, others]
    socket = await ready(connect())
    assert ["post" in message for message in socket.messages[:2]] == [True, False]


async def test_what_is_emitted_is_sent_on(site: Site, connect: Connected) -> None:
    site.own()
    socket = await ready(connect())
    site.broker.feed.put_nowait(update(4))
    await socket.hears(lambda extra: extra.get("n") == 4)


@pytest.mark.parametrize("missed", [True, False])
async def test_the_end_is_told_and_the_socket_closed(site: Site, connect: Connected, missed: bool) -> None:
    site.own()
    ended = Emission(4, GENERATION, Ended("exit"))
    if missed:
        site.broker.emissions = [ended]
    else:
        site.broker.feed.put_nowait(ended)
    socket = connect()
    await until(lambda: socket.code, "a close")
    assert (socket.extras[-1]["end"]["reason"], socket.code) == ("exit", NORMAL)


async def test_a_server_that_had_been_away_has_the_page_send_again_what_was_not_answered(
    site: Site, connect: Connected
) -> None:
    site.own()
    socket = await ready(connect())
    site.broker.feed.interrupt(update(4))
    await until(lambda: socket.extras == [{"ready": True}, {"n": 4}, {"ready": True}], "ready once more")
    await until(lambda: site.broker.of("submit") == [(Connect(GENERATION),)] * 2, "the app hears of it")


async def test_an_interaction_names_the_unanswered_one_before_it(site: Site, connect: Connected) -> None:
    site.own()
    socket = await ready(connect())
    for number in (1, 2, 3):
        socket.say({"id": 1, "htagweb": {"n": number}})
    await until(lambda: len(site.broker.of("submit")) == 4, "submissions")
    site.broker.feed.put_nowait(Emission(4, GENERATION, Answered(PAGE, 3, RAW, RAW)))
    await socket.hears(lambda extra: extra.get("n") == 4)
    for number in (2, 4):
        socket.say({"id": 1, "htagweb": {"n": number}})
    await until(lambda: len(site.broker.of("submit")) == 6, "submissions")
    asked = [message for (message,) in site.broker.of("submit") if isinstance(message, Interact)]
    assert [(each.number, each.after) for each in asked] == [(1, 0), (2, 1), (3, 2), (2, 1), (4, 2)]


async def test_a_broken_feed_is_told_to_load_anew(site: Site, connect: Connected) -> None:
    site.own()
    site.broker.feed.put_nowait(FeedBroken("trimmed"))
    socket = connect()
    await until(lambda: socket.code, "a close")
    assert (socket.extras[-1], socket.code) == ({"reload": True}, GONE)


async def test_a_broker_that_goes_away_closes_for_a_while(site: Site, connect: Connected) -> None:
    site.own()
    site.broker.errors["follow"] = BrokerUnavailable("away")
    socket = connect()
    await until(lambda: socket.code, "a close")
    assert socket.code == NOT_READY


# In


async def test_a_browser_that_takes_nothing_is_disconnected(site: Site, connect: Connected) -> None:
    site.own()
    socket = await ready(connect())
    await site.clock.advance(2 * SEND_TIMEOUT_S)  # nothing was to be sent: that is no fault of the browser
    socket.takes.clear()
    site.broker.feed.put_nowait(update(4))
    for _ in range(round(SEND_TIMEOUT_S / LOOK_S)):
        assert socket.code is None
        await site.clock.advance(LOOK_S)
    await until(lambda: socket.code == NOT_READY, "the socket is closed")


async def test_a_browser_that_does_not_even_take_the_close_is_left(
    site: Site, connect: Connected, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "CLOSE_TIMEOUT_S", 0.01)
    site.own()
    socket = await ready(connect())
    socket.takes.clear()
    site.broker.feed.put_nowait(FeedBroken("trimmed"))  # its last words wait
    await until(lambda: not site.service.watchers, "the page is let go of")
    assert socket.code is None


async def test_a_browser_that_takes_something_slowly_stays(site: Site, connect: Connected) -> None:
    site.own()
    socket = await ready(connect())
    for number in range(4, 8):
        socket.takes.clear()
        site.broker.feed.put_nowait(update(number))
        for _ in range(round(SEND_TIMEOUT_S / LOOK_S) - 1):
            await site.clock.advance(LOOK_S)
        socket.takes.set()
        await turns()
    assert socket.code is None


async def test_an_interaction_is_submitted_with_its_number(site: Site, connect: Connected) -> None:
    site.own()
    socket = await ready(connect())
    socket.say({"id": 1, "method": "m", "htagweb": {"n": 7}})
    await until(lambda: len(site.broker.of("submit")) == 2, "a submission")
    message = site.broker.of("submit")[-1][0]
    assert isinstance(message, Interact)
    assert (message.generation, message.page, message.number, message.worker) == (GENERATION, PAGE, 7, "")


async def test_interactions_without_numbers_are_counted(site: Site, connect: Connected) -> None:
    site.own()
    socket = connect("")
    socket.say({"id": 1})
    socket.say({"id": 1})
    await until(lambda: len(site.broker.of("submit")) == 3, "submissions")
    interactions = [message for (message,) in site.broker.of("submit") if isinstance(message, Interact)]
    assert [message.number for message in interactions] == [1, 2]


async def test_a_ping_is_answered_and_goes_no_further(site: Site, connect: Connected) -> None:
    site.own()
    socket = await ready(connect())
    socket.say({"htagweb": {"ping": 5}})
    assert await socket.hears(lambda extra: "pong" in extra) == {"pong": 5}
    assert len(site.broker.of("submit")) == 1


async def test_what_is_not_of_the_wire_is_refused_and_the_socket_stays(
    site: Site, connect: Connected
) -> None:
    site.own()
    socket = await ready(connect())
    socket.say("nonsense")
    socket.say({"id": "x", "htagweb": {"n": 4}})
    socket.say({"htagweb": {"ping": 1}})
    await socket.hears(lambda extra: "pong" in extra)
    refused = [message for message in socket.messages if "err" in message]
    assert len(refused) == 2
    assert refused[1]["htagweb"] == {"page": PAGE, "answers": 4}


async def test_a_message_over_the_limit_closes_the_socket(site: Site, connect: Connected) -> None:
    site.own()
    socket = await ready(connect())
    socket.say("é" * (site.service.settings.max_message_bytes // 2 + 1))
    await until(lambda: socket.code, "a close")
    assert socket.code == TOO_LARGE


@pytest.mark.parametrize(
    ("became", "said"),
    [
        ("stale", lambda message: message["htagweb"].get("reload")),
        ("busy", lambda message: message.get("err") and message["htagweb"]["answers"] == 7),
        ("ended", lambda message: message["htagweb"]["end"]["reason"] == "inactivity"),
    ],
)
async def test_an_interaction_that_is_not_taken_is_told_at_once(
    site: Site, connect: Connected, became: Any, said: Callable[[Any], Any]
) -> None:
    site.own()
    socket = await ready(connect())
    site.own("", reason="inactivity")
    site.broker.submitted = became
    socket.say({"id": 1, "htagweb": {"n": 7}})
    await until(lambda: len(socket.messages) == 2, "what became of it")
    assert said(socket.messages[-1])


async def test_a_page_is_told_while_the_broker_is_away_and_when_that_is_over(
    site: Site, connect: Connected
) -> None:
    site.own()
    socket = await ready(connect())
    await until(lambda: site.broker.of("submit"), "the connection is told")
    site.broker.errors["submit"] = BrokerUnavailable("away")
    socket.say({"id": 1, "htagweb": {"n": 7}})
    await socket.hears(lambda extra: extra.get("waiting") is True)
    site.broker.errors.clear()
    await site.clock.advance(submitting.RETRY_S)
    await socket.hears(lambda extra: extra.get("waiting") is False)
    assert len(site.broker.of("submit")) == 2


# Its owner


async def test_a_page_is_told_once_when_its_owner_does_not_answer_and_when_it_does_again(
    site: Site, connect: Connected
) -> None:
    site.own()
    socket = await ready(connect())
    (watcher,) = site.service.watchers
    watcher.note_owner(True)
    watcher.note_owner(False)
    await socket.hears(lambda extra: extra.get("waiting") is True)
    watcher.note_owner(False)
    watcher.note_owner(True)
    await socket.hears(lambda extra: extra.get("waiting") is False)
    watcher.note_owner(True)
    await turns()
    assert [extra["waiting"] for extra in socket.extras if "waiting" in extra] == [True, False]


async def test_a_page_that_left_is_watched_for_no_longer(site: Site, connect: Connected) -> None:
    site.own()
    socket = await ready(connect())
    socket.leave()
    await until(lambda: not site.service.watchers, "the page is forgotten")
