"""An owned instance's start: what its app is given, and what is said when there is none."""

import asyncio
import logging
import signal

import msgspec
import pytest
from htagweb_broker import FailureReply, Launch, PageReply, SessionData

from htagweb.host import frames
from htagweb.supervisor.process import DUMP_SIGNAL
from htagweb.supervisor.templates import LaunchError
from tests.unit.supervisor.harness import GENERATION, OTHER, Rig, opening


async def test_the_app_is_started_with_its_parameters_and_session(rig: Rig) -> None:
    rig.own(session=SessionData({"a": b"[1]"}, "v"))
    await rig.run()
    (start,) = rig.process.sent
    assert isinstance(start, frames.Start)
    assert (start.app, start.args, start.kargs, start.request) == ("m.App", ["arg"], {"k": "v"}, "r1")
    assert {key: bytes(value) for key, value in start.session.items()} == {"a": b"[1]"}


async def test_the_app_is_forked_from_its_template(rig: Rig) -> None:
    rig.own()
    await rig.run()
    assert (rig.templates.wanted, rig.templates.forked) == (["m.App"], ["00ff00ff:m.App"])


async def test_the_process_is_noted_in_the_broker(rig: Rig) -> None:
    rig.own()
    await rig.run()
    assert rig.broker.of("renew") == [({"pid": "4001", "parano": "0"},)]


async def test_the_first_page_answers_the_request(rig: Rig) -> None:
    await rig.start()
    assert rig.broker.of("reply") == [("r1", "worker of r1", PageReply(GENERATION, "<html>"), "")]


async def test_a_page_that_nobody_asked_for_is_not_replied_but_its_changes_are_saved(rig: Rig) -> None:
    owned = await rig.start()
    owned.handle_frame(frames.Page("unknown", "<html>", changed={"a": msgspec.Raw(b"1")}))
    await rig.advance(0)
    assert list(rig.replies) == ["r1"]
    assert rig.broker.of("write") == [({"a": b"1"},)]


async def test_requests_that_come_before_the_fork_are_rendered_after_the_start(rig: Rig) -> None:
    rig.templates.may_fork.clear()
    rig.own()
    await rig.run()
    await rig.bring(opening("r2"))
    assert rig.processes == []
    rig.templates.may_fork.set()
    await rig.advance(0)
    start, render = rig.process.sent
    assert isinstance(start, frames.Start)
    assert render == frames.Render("r2")


async def test_requests_that_waited_for_the_claim_are_taken_or_refused_by_their_parameters(rig: Rig) -> None:
    rig.own(opening("r3"))
    rig.owned.begin_inbox("5-0", [opening("r1", OTHER), opening("r2")])
    await rig.run()
    refused = rig.replies["r1"]
    assert isinstance(refused, FailureReply)
    assert refused.reason == "replaced"
    assert rig.process.sent[1:] == [frames.Render("r2")]
    assert isinstance(rig.process.sent[0], frames.Start)
    assert rig.process.sent[0].request == "r3"


async def test_what_waited_for_the_claim_counts_as_taken(rig: Rig) -> None:
    rig.own()
    rig.owned.begin_inbox("5-0", [])
    await rig.run()
    rig.owned.handle_frame(frames.Page("r1", "<html>"))
    await rig.advance(0)
    assert rig.broker.of("reply")[0][3] == "5-0"


@pytest.mark.parametrize(("debug", "detail"), [(False, ""), (True, "Traceback …")])
async def test_an_app_that_cannot_be_imported_is_refused_with_the_detail_for_debug_alone(
    rig: Rig, caplog: pytest.LogCaptureFixture, debug: bool, detail: str
) -> None:
    rig.templates.failure = LaunchError("no module named 'x'", "Traceback …")
    rig.own(opening(launch=Launch([], {}, debug, 10.0, 0.0)))
    await rig.run()
    assert rig.replies == {"r1": FailureReply("refused", "no module named 'x'", detail)}
    assert rig.ended() == "refused"
    assert "Traceback …" in caplog.text


async def test_an_instance_that_was_not_started_stops_running(rig: Rig) -> None:
    rig.templates.failure = LaunchError("cannot be forked")
    rig.own()
    await rig.run()
    assert rig.running is not None
    assert rig.running.done()
    rig.running.result()


async def test_an_app_whose_init_fails_is_refused_and_ended(rig: Rig) -> None:
    rig.own()
    await rig.run()
    rig.owned.handle_frame(frames.Failed("r1", "ValueError: no", "Traceback …"))
    await rig.gone("exit code 4")
    assert rig.replies == {"r1": FailureReply("refused", "ValueError: no")}
    assert rig.ended() == "refused"


async def test_a_crash_while_starting_is_told_to_all_who_wait(rig: Rig) -> None:
    rig.own()
    await rig.run()
    await rig.bring(opening("r2"))
    await rig.gone("signal SIGSEGV")
    said = FailureReply("crashed", "the app's process ended while it started")
    assert rig.replies == {"r1": said, "r2": said}
    assert rig.ended() == "crashed"


async def test_a_start_that_takes_too_long_is_dumped_ended_and_told(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    rig.own()
    await rig.run()
    await rig.advance(10)
    assert rig.process.signals == [DUMP_SIGNAL]
    await rig.advance(3)
    assert rig.process.signals == [DUMP_SIGNAL, signal.SIGTERM, signal.SIGKILL]
    await rig.gone("signal SIGKILL")
    assert rig.replies == {"r1": FailureReply("interaction_timeout", "the app did not start within 10 s")}
    assert rig.ended() == "interaction_timeout"
    assert "no answer within 10 s" in caplog.text


async def test_an_import_that_never_ends_is_given_up_when_it_is_late(rig: Rig) -> None:
    rig.templates.may_fork.clear()
    rig.own()
    await rig.run()
    await rig.advance(10.1)
    assert isinstance(rig.replies["r1"], FailureReply)
    assert rig.ended() == "interaction_timeout"
    assert rig.processes == []


async def test_an_end_before_the_fork_is_an_end_at_once(rig: Rig) -> None:
    rig.templates.may_fork.clear()
    rig.own()
    await rig.run()
    rig.owned.end("drained")
    await rig.advance(0)
    assert rig.ended() == "drained"
    assert rig.replies == {"r1": FailureReply("drained", "the app ended while it started (drained)")}


async def test_an_end_before_run_is_an_end_at_once(rig: Rig) -> None:
    rig.own()
    rig.owned.end("drained")
    await asyncio.wait_for(rig.owned.run(), 1)
    assert rig.ended() == "drained"


async def test_log_lines_carry_session_app_and_generation(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    await rig.start()
    rig.owned.handle_output("printed by the app")
    (started,) = [record for record in caplog.records if record.getMessage().startswith("started, pid")]
    assert (started.__dict__["session"], started.__dict__["app"]) == ("00ff00ff", "m.App")
    (printed,) = [record for record in caplog.records if record.name == "htagweb.app"]
    assert (printed.getMessage(), printed.__dict__["generation"]) == ("printed by the app", GENERATION)
