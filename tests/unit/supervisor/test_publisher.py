"""What an instance tells the broker: in order, kept while the broker is away, given up at last."""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from htagweb_broker import (
    Answered,
    BrokerRefused,
    Claimed,
    InstanceId,
    MessageError,
    NotOwner,
    PageReply,
    Record,
    SessionData,
    UpdatedByApp,
)

from htagweb.host.frames import Changes
from htagweb.supervisor import publisher as module
from htagweb.supervisor.publisher import (
    HIGH_WATER,
    LOW_WATER,
    REFUSED_TIMEOUT_S,
    RETRY_S,
    Publisher,
)
from tests.support.fakes import FakeBroker, FakeClock, turns

INSTANCE = InstanceId("00ff" * 8, "m.App")
RAW = msgspec.Raw(b"{}")


class Heard:
    """A publisher, and what it told its instance."""

    def __init__(self) -> None:
        self.broker = FakeBroker()
        self.clock = FakeClock()
        self.fenced = 0
        self.pressure: list[bool] = []
        self.loaded: list[tuple[SessionData, int]] = []
        self.publisher = Publisher(
            self.broker.supervisor_side,
            INSTANCE,
            Claimed("1-a", "me"),
            SessionData({}, ""),
            facts={"host": "h"},
            clock=self.clock,
            log=logging.LoggerAdapter(logging.getLogger(module.__name__)),
            on_fenced=self.handle_fenced,
            on_pressure=self.pressure.append,
        )

    def handle_fenced(self) -> None:
        self.fenced += 1

    def load(self) -> None:
        self.publisher.load_session(lambda data, saves: self.loaded.append((data, saves)))

    def answer(self, number: int, worker: str = "", **changes: bytes) -> None:
        raw: Changes = {key: msgspec.Raw(value) for key, value in changes.items()}
        self.publisher.answer(Answered("page", number, RAW, RAW), worker, raw)


@pytest.fixture
async def heard() -> AsyncIterator[Heard]:
    it = Heard()
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(it.publisher.run())
        yield it
        running.cancel()


async def test_jobs_are_done_in_the_order_in_which_they_were_added(heard: Heard) -> None:
    heard.answer(1, a=b"1")
    heard.publisher.reply("r", "w", PageReply("1-a", "html"))
    heard.publisher.renew({"pid": "7"})
    heard.publisher.release("exit")
    await turns()
    assert heard.broker.verbs() == ["write", "emit", "reply", "renew", "release"]


async def test_actions_are_numbered_one_after_the_other_and_the_end_comes_next(heard: Heard) -> None:
    heard.answer(1)
    heard.publisher.update(RAW, RAW, {}, lambda _: None)
    heard.publisher.release("exit")
    await turns()
    assert [number for number, *_ in heard.broker.of("emit")] == [1, 2]
    assert heard.broker.of("release") == [("1-a", 3, "exit", "")]


async def test_a_web_worker_that_waits_is_told_with_the_answer(heard: Heard) -> None:
    heard.answer(7, "worker")
    heard.answer(8)
    await turns()
    assert [waiting for *_, waiting in heard.broker.of("emit")] == [("worker", "page:7"), None]


async def test_every_job_says_what_was_taken_when_it_is_done(heard: Heard) -> None:
    heard.publisher.taken = "1-0"
    heard.answer(1)
    await turns()
    heard.publisher.taken = "2-0"
    heard.publisher.reply("r", "w", PageReply("1-a", "html"))
    await turns()
    assert heard.broker.of("emit")[0][2] == "1-0"
    assert heard.broker.of("reply")[0][3] == "2-0"


@pytest.mark.parametrize(("receivers", "heard_it"), [(0, False), (1, True), (3, True)])
async def test_an_update_hears_whether_somebody_listened(
    heard: Heard, receivers: int, heard_it: bool
) -> None:
    heard.broker.receivers = receivers
    told: list[bool] = []
    heard.publisher.update(RAW, RAW, {}, told.append)
    await turns()
    assert told == [heard_it]
    assert heard.broker.of("emit")[0][1] == UpdatedByApp(RAW, RAW)


async def test_what_the_broker_does_not_take_is_kept_told_once_and_done_in_order_when_it_is_back(
    heard: Heard, caplog: pytest.LogCaptureFixture
) -> None:
    heard.broker.away = True
    heard.answer(1)
    heard.answer(2)
    for _ in range(10):
        await heard.clock.advance(RETRY_S)
    assert heard.broker.done == []
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    heard.broker.away = False
    await heard.clock.advance(RETRY_S)
    assert [number for number, *_ in heard.broker.of("emit")] == [1, 2]


async def test_a_record_that_the_server_lost_is_written_again_and_the_job_done(heard: Heard) -> None:
    heard.answer(1)
    heard.publisher.renew({"pid": "7"})
    await turns()
    heard.broker.errors["emit"] = NotOwner("gone")
    heard.broker.restorable = True
    heard.broker.on_restore = heard.broker.errors.clear
    heard.answer(2)
    await turns()
    assert heard.broker.of("restore") == [(Claimed("1-a", "me"), 1, {"host": "h", "pid": "7"})]
    assert [number for number, *_ in heard.broker.of("emit")] == [1, 2]
    assert heard.fenced == 0


async def test_a_server_that_has_lost_actions_is_found_out_and_the_gap_shown_to_pages(heard: Heard) -> None:
    heard.answer(1)
    await turns()
    heard.broker.records[INSTANCE] = Record("1-a", "me", 0, None)
    heard.publisher.confirm()
    await turns()
    assert len(heard.broker.of("emit")) == 1, "the connection is the same"
    heard.broker.connections += 1
    heard.publisher.confirm()
    heard.publisher.confirm()
    await turns()
    assert [(number, action) for number, action, *_ in heard.broker.of("emit")][1:] == [
        (2, UpdatedByApp(RAW, RAW))
    ]


async def test_a_page_comes_after_the_action_that_shows_the_gap(heard: Heard) -> None:
    heard.answer(1)
    await turns()
    heard.broker.records[INSTANCE] = Record("1-a", "me", 0, None)
    heard.broker.connections += 1
    heard.broker.done.clear()
    heard.publisher.reply("r", "w", PageReply("1-a", "<html>"))
    await turns()
    assert [verb for verb in heard.broker.verbs() if verb in ("emit", "reply")] == ["emit", "reply"]


async def test_a_server_that_has_lost_nothing_is_told_nothing_more(heard: Heard) -> None:
    heard.answer(1)
    await turns()
    heard.broker.records[INSTANCE] = Record("1-a", "me", 1, None)
    heard.broker.connections += 1
    heard.publisher.confirm()
    await turns()
    assert len(heard.broker.of("emit")) == 1


async def test_a_record_that_cannot_be_written_again_yet_is_tried_with_pauses(heard: Heard) -> None:
    heard.broker.errors |= {"emit": NotOwner("gone"), "restore": BrokerRefused("OOM")}
    heard.broker.restorable = True
    heard.broker.on_restore = heard.broker.errors.clear
    heard.answer(1)
    await turns()
    assert heard.broker.of("note_owned") == [("me", INSTANCE)]
    del heard.broker.errors["restore"]
    await heard.clock.advance(RETRY_S)
    assert [number for number, *_ in heard.broker.of("emit")] == [1]
    assert heard.fenced == 0


async def test_a_refusal_of_the_server_is_tried_again(heard: Heard) -> None:
    heard.broker.errors["emit"] = BrokerRefused("OOM")
    heard.answer(1)
    await turns()
    heard.broker.errors.clear()
    await heard.clock.advance(RETRY_S)
    assert len(heard.broker.of("emit")) == 1


async def test_a_job_that_the_server_refuses_for_too_long_loses_the_instance(
    heard: Heard, caplog: pytest.LogCaptureFixture
) -> None:
    heard.broker.errors["emit"] = BrokerRefused("WRONGTYPE")
    heard.answer(1)
    await heard.clock.advance(REFUSED_TIMEOUT_S)
    assert heard.fenced == 0
    await heard.clock.advance(1)
    assert heard.fenced == 1
    assert "given up: the broker refuses it: WRONGTYPE" in caplog.text


async def test_a_message_that_cannot_be_written_is_dropped_and_logged(
    heard: Heard, caplog: pytest.LogCaptureFixture
) -> None:
    heard.broker.errors["write"] = MessageError("too large")
    heard.answer(1, a=b"1")
    await turns()
    assert heard.broker.verbs() == ["emit"]
    assert "not written: too large" in caplog.text


async def test_an_answer_over_the_limit_is_refused_where_it_is_given_and_gets_no_number(heard: Heard) -> None:
    large = msgspec.Raw(b'"' + b"x" * 17_000_000 + b'"')
    with pytest.raises(MessageError, match="over the limit"):
        heard.publisher.answer(Answered("page", 1, large, RAW))
    heard.answer(1)
    await turns()
    assert heard.broker.of("emit")[0][0] == 1


async def test_a_write_of_another_generations_is_told_and_not_tried_again(heard: Heard) -> None:
    heard.broker.errors["emit"] = NotOwner("2-b owns it")
    heard.answer(1)
    await heard.clock.advance(RETRY_S)
    assert heard.fenced == 1


async def test_a_release_of_what_another_owns_ends_the_publisher_without_a_word(heard: Heard) -> None:
    heard.broker.errors["release"] = NotOwner("2-b owns it")
    heard.publisher.release("lost")
    await asyncio.wait_for(heard.publisher.run(), 1)
    assert heard.fenced == 0


async def test_the_publisher_ends_after_the_release() -> None:
    it = Heard()
    it.publisher.release("exit")
    it.answer(1)
    await asyncio.wait_for(it.publisher.run(), 1)
    assert it.broker.verbs() == ["release"]


async def test_a_release_is_tried_again_while_the_broker_is_away(heard: Heard) -> None:
    heard.broker.away = True
    heard.publisher.release("exit")
    await heard.clock.advance(10 * REFUSED_TIMEOUT_S)
    heard.broker.away = False
    await heard.clock.advance(RETRY_S)
    assert heard.broker.verbs() == ["release"]


async def test_last_words_are_given_up_when_the_broker_refuses_them(caplog: pytest.LogCaptureFixture) -> None:
    it = Heard()
    it.broker.errors["release"] = BrokerRefused("WRONGTYPE")
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(it.publisher.run())
        it.publisher.release("exit")
        await it.clock.advance(REFUSED_TIMEOUT_S)
        assert not running.done()
        await it.clock.advance(1)
        assert running.done()
    assert "given up: the broker refuses it: WRONGTYPE" in caplog.text


@pytest.mark.parametrize("words", ["OOM command not allowed", "MISCONF Errors writing to the AOF file"])
async def test_what_an_operator_can_heal_is_waited_for_and_its_remedy_logged_once(
    heard: Heard, caplog: pytest.LogCaptureFixture, words: str
) -> None:
    heard.broker.errors["emit"] = BrokerRefused(words)
    heard.answer(1)
    await heard.clock.advance(10 * REFUSED_TIMEOUT_S)
    assert heard.fenced == 0
    assert caplog.text.count("kept for later") == 1
    assert BrokerRefused(words).remedy in caplog.text
    heard.broker.errors.clear()
    await heard.clock.advance(RETRY_S)
    assert [number for number, *_ in heard.broker.of("emit")] == [1]


async def test_many_waiting_jobs_are_pressure_until_few_are_left(heard: Heard) -> None:
    heard.broker.away = True
    for number in range(HIGH_WATER):
        heard.answer(number)
    assert heard.pressure == []
    heard.answer(HIGH_WATER)
    heard.answer(HIGH_WATER + 1)
    assert heard.pressure == [True]
    heard.broker.away = False
    left: list[int] = []
    heard.publisher._on_pressure = lambda high: left.append(len(heard.publisher._jobs))
    await heard.clock.advance(RETRY_S)
    await heard.clock.advance(RETRY_S)
    assert left == [LOW_WATER - 1]


async def test_a_save_writes_json_and_deletions(heard: Heard) -> None:
    heard.publisher.save({"a": msgspec.Raw(b"[1]"), "gone": None})
    await turns()
    assert heard.broker.of("write") == [({"a": b"[1]", "gone": None},)]


@pytest.mark.parametrize("nothing", [None, {}])
async def test_no_changes_are_no_write(heard: Heard, nothing: Any) -> None:
    heard.publisher.save(nothing)
    await turns()
    assert heard.broker.done == []


async def test_an_own_write_on_top_of_what_the_app_has_is_the_version_it_has(heard: Heard) -> None:
    heard.publisher.save({"a": msgspec.Raw(b"1")})
    await turns()
    assert heard.publisher.session_version == "v1"


async def test_an_own_write_on_top_of_anothers_leaves_the_version_that_the_app_has(heard: Heard) -> None:
    heard.broker.sessions_data[INSTANCE.session] = SessionData({"b": b"2"}, "other")
    heard.publisher.save({"a": msgspec.Raw(b"1")})
    await turns()
    assert heard.publisher.session_version == ""


async def test_a_session_is_read_after_the_saves_before_it_and_tells_how_many_it_has(heard: Heard) -> None:
    heard.publisher.save({"a": msgspec.Raw(b"1")})
    heard.publisher.save({"b": msgspec.Raw(b"2")})
    heard.load()
    heard.publisher.save({"c": msgspec.Raw(b"3")})
    await turns()
    assert heard.loaded == [(SessionData({"a": b"1", "b": b"2"}, "v2"), 2)]
    assert heard.broker.verbs() == ["write", "write", "read_session", "write"]


async def test_a_session_that_was_read_is_the_version_that_the_app_has(heard: Heard) -> None:
    heard.broker.sessions_data[INSTANCE.session] = SessionData({}, "other")
    heard.load()
    await turns()
    assert heard.publisher.session_version == "other"
