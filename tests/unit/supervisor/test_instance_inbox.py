"""What an owned instance does with its inbox: order, repetitions, limits, other parameters, the session."""

import asyncio
from typing import Any

import msgspec
import pytest
from htagweb_broker import Answered, Connect, End, Entry, FailureReply, NotOwner, SessionData, UpdatedByApp
from msgspec import structs

from htagweb.host import frames
from htagweb.supervisor.asked import BUSY_PAGES
from htagweb.supervisor.life import Phase
from tests.support.fakes import turns
from tests.unit.supervisor.harness import (
    GENERATION,
    INSTANCE,
    LAUNCH,
    NOTHING,
    OTHER,
    Rig,
    interaction,
    opening,
)


def numbers(rig: Rig) -> list[tuple[str, int]]:
    """Return the interactions that the app was given."""
    return [(frame.page, frame.number) for frame in rig.process.sent if isinstance(frame, frames.Interact)]


def handed(rig: Rig) -> list[Any]:
    """Return interactions by number, and session data by its saves and values."""
    result: list[Any] = []
    for frame in rig.process.sent:
        if isinstance(frame, frames.Interact):
            result.append(frame.number)
        elif isinstance(frame, frames.SessionData):
            result.append({key: bytes(value) for key, value in frame.values.items()})
    return result


async def test_an_interaction_is_handed_to_the_app_and_its_answer_emitted(rig: Rig) -> None:
    await rig.start()
    await rig.bring(interaction(1))
    assert numbers(rig) == [("page", 1)]
    await rig.answer(1)
    assert rig.answers == [Answered("page", 1, NOTHING, NOTHING)]


async def test_an_interaction_that_was_taken_already_is_dropped(rig: Rig) -> None:
    await rig.start()
    await rig.bring(interaction(1), interaction(1), interaction(2), interaction(1), interaction(2))
    assert numbers(rig) == [("page", 1), ("page", 2)]


async def test_a_repetition_is_dropped_after_its_answer_too(rig: Rig) -> None:
    await rig.start()
    await rig.bring(interaction(1))
    await rig.answer(1)
    await rig.bring(interaction(1))
    assert numbers(rig) == [("page", 1)]


async def test_who_asks_for_what_was_answered_is_told_that_it_was(rig: Rig) -> None:
    # The server may have lost the answer: by the number of this one its page finds that one is missing.
    await rig.start()
    await rig.bring(interaction(1))
    await rig.bring(interaction(1))
    assert rig.answers == []
    await rig.answer(1)
    await rig.bring(interaction(1))
    assert rig.answers == [Answered("page", 1, NOTHING, NOTHING)] * 2


async def test_an_inbox_that_is_read_anew_is_not_trimmed_by_ids_of_before(rig: Rig) -> None:
    await rig.start()
    await rig.bring(interaction(1))
    rig.owned.handle_entries([])
    await rig.answer(1)
    assert rig.broker.of("emit")[-1][2] == ""


async def test_what_waits_for_the_session_while_the_inbox_is_read_anew_comes_again(rig: Rig) -> None:
    await rig.start()
    rig.broker.away = True
    await rig.bring(interaction(1), version="new")
    rig.owned.handle_entries([])
    rig.broker.away = False
    await rig.clock.advance(0.2)
    assert handed(rig) == [{}]
    await rig.bring(interaction(1))
    assert numbers(rig) == [("page", 1)]


async def test_pages_count_for_themselves(rig: Rig) -> None:
    await rig.start()
    await rig.bring(interaction(1, "one"), interaction(1, "two"))
    assert numbers(rig) == [("one", 1), ("two", 1)]


async def test_what_is_meant_for_another_generation_is_dropped(rig: Rig) -> None:
    owned = await rig.start()
    await rig.bring(interaction(1, generation="0-old"), Connect("0-old"))
    assert rig.process.sent == []
    assert not owned.life.connected


async def test_an_end_from_outside_ends_the_living_generation_alone(rig: Rig) -> None:
    owned = await rig.start()
    await rig.bring(End("0-old", "killed"))
    assert not owned.life.is_ending
    await rig.bring(End(GENERATION, "killed"))
    assert owned.life.reason == "killed"
    await rig.gone()
    assert rig.ended() == "killed"


async def test_one_page_has_so_many_interactions_unanswered_and_another_its_own(rig: Rig) -> None:
    await rig.start()
    await rig.bring(*(interaction(number) for number in range(1, 6)), interaction(1, "other"))
    assert numbers(rig) == [*(("page", number) for number in range(1, 5)), ("other", 1)]


async def test_all_pages_together_have_a_limit_too(rig: Rig) -> None:
    await rig.start()
    await rig.bring(*(interaction(1, f"page {number}") for number in range(100)))
    assert len(numbers(rig)) == 4 * BUSY_PAGES
    assert len(rig.answers) == 100 - 4 * BUSY_PAGES


async def test_how_its_pages_speak_goes_to_the_app_and_into_the_record(rig: Rig) -> None:
    await rig.start()
    await rig.bring(opening("r2", structs.replace(LAUNCH, http_only=True, parano=True)))
    assert rig.process.sent == [frames.Render("r2", http_only=True)]
    assert rig.broker.of("renew")[-1] == ({"parano": "1"},)


async def test_a_connection_is_noted(rig: Rig) -> None:
    owned = await rig.start()
    await rig.connect()
    assert owned.life.connected


async def test_too_many_in_flight_are_answered_with_an_error_and_not_run(rig: Rig) -> None:
    await rig.start()
    await rig.bring(*[interaction(number) for number in range(1, 7)])
    assert numbers(rig) == [("page", number) for number in range(1, 5)]
    assert [answer.number for answer in rig.answers] == [5, 6]
    assert b"Too many interactions" in bytes(rig.answers[0].scripts)
    assert rig.answers[0].refused
    await rig.answer(1)
    await rig.bring(interaction(7))
    assert numbers(rig)[-1] == ("page", 7)


async def test_a_web_worker_whose_request_waits_is_told_with_its_answer_alone(rig: Rig) -> None:
    await rig.start()
    await rig.bring(interaction(1, worker="w"), interaction(2))
    await rig.answer(2)
    await rig.answer(1)
    assert [waiting for *_, waiting in rig.broker.of("emit")] == [None, ("w", "page:1")]


async def test_a_web_worker_is_told_too_when_its_request_was_one_too_many(rig: Rig) -> None:
    await rig.start()
    await rig.bring(*[interaction(number) for number in range(1, 5)], interaction(5, worker="w"))
    assert rig.broker.of("emit")[0][3] == ("w", "page:5")


async def test_an_answer_over_the_limit_becomes_an_error_for_its_page(rig: Rig) -> None:
    await rig.start()
    await rig.bring(interaction(1, worker="w"))
    large = msgspec.Raw(b'{"update":"' + b"x" * 17_000_000 + b'"}')
    rig.owned.handle_frame(frames.Answer("page", 1, large, NOTHING))
    await turns()
    assert b"too large" in bytes(rig.answers[0].scripts)
    assert rig.answers[0].refused
    assert rig.broker.of("emit")[0][3] == ("w", "page:1")


@pytest.mark.parametrize(("receivers", "delivered"), [(0, False), (1, True)])
async def test_an_update_is_emitted_and_the_app_told_whether_somebody_listens(
    rig: Rig, receivers: int, delivered: bool
) -> None:
    await rig.start()
    rig.broker.receivers = receivers
    rig.owned.handle_frame(frames.Update(3, NOTHING, NOTHING))
    await turns()
    assert rig.broker.of("emit")[0][1] == UpdatedByApp(NOTHING, NOTHING)
    assert rig.process.sent == [frames.Updated(3, delivered)]


async def test_an_update_over_the_limit_is_not_delivered(rig: Rig) -> None:
    await rig.start()
    large = msgspec.Raw(b'{"update":"' + b"x" * 17_000_000 + b'"}')
    rig.owned.handle_frame(frames.Update(3, large, NOTHING))
    assert rig.process.sent == [frames.Updated(3, False)]


async def test_what_is_no_message_is_dropped_and_the_next_one_taken(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    await rig.start()
    rig.owned.handle_entries([Entry("1-0", b"nonsense", "")])
    await rig.bring(interaction(1))
    assert numbers(rig) == [("page", 1)]
    assert "dropped from the inbox" in caplog.text


async def test_what_leads_to_no_action_takes_no_place_in_the_inbox(rig: Rig) -> None:
    await rig.start()
    rig.owned.handle_entries([Entry("9-0", b"nonsense", "")])
    (connected, _, repeated, stale) = await rig.bring(
        Connect(GENERATION), interaction(1), interaction(1), interaction(2, generation="0-old")
    )
    settled = ["9-0", connected.id, repeated.id, stale.id]
    assert rig.broker.of("settle_inbox") == [(entry,) for entry in settled]


# Open


async def test_the_same_parameters_render_the_living_app_again(rig: Rig) -> None:
    await rig.start()
    await rig.bring(opening("r2"))
    assert rig.process.sent == [frames.Render("r2")]
    rig.owned.handle_frame(frames.Page("r2", "<html>again"))
    await turns()
    assert set(rig.replies) == {"r1", "r2"}


async def test_a_request_brings_the_limits_that_its_handler_has_now(rig: Rig) -> None:
    owned = await rig.start()
    await rig.bring(
        opening("r2", msgspec.structs.replace(LAUNCH, timeout_interaction_s=1.0, timeout_inactivity_s=2.0))
    )
    assert (owned.life.times.interaction_s, owned.life.times.inactivity_s) == (1.0, 2.0)


@pytest.mark.parametrize(
    "other", [OTHER, msgspec.structs.replace(LAUNCH, kargs={}), msgspec.structs.replace(LAUNCH, debug=True)]
)
async def test_other_parameters_end_the_app_and_wait_for_the_next(rig: Rig, other: Any) -> None:
    owned = await rig.start()
    await rig.bring(opening("r2", other))
    assert owned.life.phase is Phase.ASKED
    assert rig.process.sent == [frames.End()]
    assert [message.request for message in owned.pending_opens] == ["r2"]
    await rig.gone()
    assert rig.ended() == "replaced"


async def test_requests_while_the_app_ends_wait_for_the_next_one(rig: Rig) -> None:
    owned = await rig.start()
    owned.end("inactivity")
    await rig.bring(opening("r2"), opening("r3", OTHER))
    assert [message.request for message in owned.pending_opens] == ["r2", "r3"]


async def test_a_request_in_flight_is_told_when_the_app_is_replaced(rig: Rig) -> None:
    rig.own()
    await rig.run()
    await rig.bring(opening("r2", OTHER))
    await rig.gone()
    assert set(rig.replies) == {"r1"}
    refused = rig.replies["r1"]
    assert isinstance(refused, FailureReply)
    assert refused.reason == "replaced"


async def test_interactions_while_the_app_ends_are_dropped(rig: Rig) -> None:
    owned = await rig.start()
    owned.end("exit")
    await rig.bring(interaction(1))
    assert rig.process.sent == [frames.End()]
    assert rig.answers == []


# The session


async def test_a_session_that_others_changed_reaches_the_app_before_what_came_after_it(rig: Rig) -> None:
    await rig.start()
    rig.broker.sessions_data[INSTANCE.session] = SessionData({"a": b"2"}, "new")
    await rig.bring(interaction(1), version="")
    await rig.bring(interaction(2), interaction(3), version="new")
    assert handed(rig) == [1, {"a": b"2"}, 2, 3]


async def test_what_comes_while_the_session_is_read_waits_in_order(rig: Rig) -> None:
    await rig.start()
    rig.broker.sessions_data[INSTANCE.session] = SessionData({"a": b"2"}, "new")
    rig.broker.away = True
    await rig.bring(interaction(1), version="new")
    await rig.bring(interaction(2), interaction(3), version="new")
    assert handed(rig) == []
    rig.broker.away = False
    await rig.clock.advance(0.2)
    assert handed(rig) == [{"a": b"2"}, 1, 2, 3]


async def test_each_change_of_the_session_is_read_where_it_came(rig: Rig) -> None:
    await rig.start()
    session = rig.broker.sessions_data
    session[INSTANCE.session] = SessionData({"a": b"1"}, "one")
    await rig.bring(interaction(1), version="one")
    session[INSTANCE.session] = SessionData({"a": b"2"}, "two")
    await rig.bring(interaction(2), version="two")
    await rig.bring(interaction(3), version="two")
    assert handed(rig) == [{"a": b"1"}, 1, {"a": b"2"}, 2, 3]


async def test_a_message_older_than_the_session_that_was_read_is_not_held_for_ever(rig: Rig) -> None:
    await rig.start()
    rig.broker.sessions_data[INSTANCE.session] = SessionData({}, "two")
    await rig.bring(interaction(1), version="one")
    assert numbers(rig) == [("page", 1)]


async def test_an_apps_own_changes_are_written_before_its_answer_and_are_no_reason_to_read(rig: Rig) -> None:
    await rig.start()
    await rig.bring(interaction(1))
    await rig.answer(1, a=b"1")
    await rig.bring(interaction(2), version="v1")
    assert [verb for verb in rig.broker.verbs() if verb in ("write", "emit", "read_session")] == [
        "write",
        "emit",
    ]
    assert handed(rig) == [1, 2]


async def test_an_open_that_was_held_while_the_app_ended_waits_for_the_next_one(rig: Rig) -> None:
    owned = await rig.start()
    rig.broker.away = True
    await rig.bring(opening("r2"), version="new")
    await rig.gone("signal SIGKILL")
    rig.broker.away = False
    await rig.clock.advance(0.2)
    assert [message.request for message in owned.pending_opens] == ["r2"]
    assert rig.running is not None
    assert rig.running.done()


# Its end


async def test_tag_exit_saves_and_ends(rig: Rig) -> None:
    owned = await rig.start()
    owned.handle_frame(frames.Exit())
    owned.handle_frame(frames.Save(changed={"a": msgspec.Raw(b"1")}))
    await rig.gone()
    assert rig.broker.verbs()[-2:] == ["write", "release"]
    assert rig.ended() == "exit"


async def test_a_process_that_ends_by_itself_crashed(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    await rig.start()
    await rig.gone("signal SIGSEGV")
    assert rig.ended() == "crashed"
    assert "its process ended by itself: signal SIGSEGV" in caplog.text


async def test_an_idle_app_that_no_browser_connected_to_is_ended(rig: Rig) -> None:
    await rig.start()
    await rig.advance(60)
    assert rig.process.sent == [frames.End()]
    await rig.gone()
    assert rig.ended() == "never_connected"


async def test_an_instance_that_another_generation_owns_ends_as_lost(rig: Rig) -> None:
    owned = await rig.start()
    rig.broker.errors["emit"] = NotOwner("another")
    await rig.bring(interaction(1), interaction(2))
    await rig.answer(1)
    await rig.answer(2)
    assert owned.life.reason == "lost"
    assert rig.process.sent.count(frames.End()) == 1


async def test_an_app_that_writes_more_than_the_broker_takes_is_paused_for_a_while(rig: Rig) -> None:
    await rig.start()
    rig.broker.away = True
    for number in range(70):
        rig.owned.handle_frame(frames.Update(number, NOTHING, NOTHING))
    assert rig.process.paused
    rig.broker.away = False
    await turns()
    await rig.clock.advance(0.2)
    await rig.clock.advance(0.2)
    assert not rig.process.paused


async def test_an_instance_is_busy_while_somebody_waits(rig: Rig) -> None:
    owned = await rig.start()
    assert not owned.is_busy
    await rig.bring(interaction(1))
    assert owned.is_busy
    await rig.answer(1)
    assert not owned.is_busy


async def test_run_returns_when_the_instance_is_released(rig: Rig) -> None:
    await rig.start()
    await rig.gone()
    assert rig.running is not None
    await asyncio.wait_for(rig.running, 1)


async def test_renewing_keeps_the_record(rig: Rig) -> None:
    owned = await rig.start()
    owned.renew()
    await turns()
    assert rig.broker.of("renew")[-1] == ({},)
    assert owned.generation == GENERATION
