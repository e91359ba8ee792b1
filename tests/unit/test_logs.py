"""Log lines: text for people, one JSON object a line for programs."""

import json
import logging
import sys
from typing import Any

import pytest

from htagweb import logs
from htagweb.logs import ContextLog, JsonFormatter, TextFormatter, log_event


def record(text: str = "hello %s", *args: Any, name: str = "htagweb.x", **extra: Any) -> logging.LogRecord:
    made = logging.LogRecord(name, logging.WARNING, "file", 1, text, args or ("you",), None)
    made.created = 0.5
    made.__dict__.update(extra)
    return made


def failed() -> logging.LogRecord:
    """Return the record of an error with a traceback."""
    made = record()
    try:
        raise ValueError("no luck")
    except ValueError:
        made.exc_info = sys.exc_info()
    return made


def test_text_is_time_level_and_message() -> None:
    assert TextFormatter().format(record()) == "1970-01-01T00:00:00.500+00:00 WARNING hello you"


def test_text_shows_what_a_record_is_about() -> None:
    line = TextFormatter().format(record(session="00ff", app="m.App", generation="1-a"))
    assert line.endswith("WARNING [00ff m.App 1-a] hello you")


def test_text_shows_a_part_of_the_context() -> None:
    assert TextFormatter().format(record(app="m.App")).endswith("WARNING [m.App] hello you")


def test_text_indents_every_further_line() -> None:
    assert TextFormatter().format(record("one\n%s", "two")).endswith(" one\n    two")


def test_text_marks_what_an_app_printed() -> None:
    assert TextFormatter().format(record(name="htagweb.app")).endswith(" | hello you")


def test_text_has_the_traceback_indented() -> None:
    lines = TextFormatter().format(failed()).splitlines()
    assert lines[1] == "    Traceback (most recent call last):"
    assert lines[-1] == "    ValueError: no luck"


def test_json_is_one_object_with_the_context() -> None:
    line = JsonFormatter().format(record(session="00ff", app="m.App", generation="1-a"))
    assert json.loads(line) == {
        "time": "1970-01-01T00:00:00.500+00:00",
        "level": "warning",
        "logger": "htagweb.x",
        "session": "00ff",
        "app": "m.App",
        "generation": "1-a",
        "message": "hello you",
    }


def test_json_has_no_fields_for_what_is_not_known() -> None:
    assert {"session", "app", "generation", "exception"}.isdisjoint(
        json.loads(JsonFormatter().format(record()))
    )


def test_json_has_the_facts_of_an_event_as_fields_and_durations_as_numbers() -> None:
    made = record(event="app_ended", reason="exit", age_s=1.23456, fork_ms=4.0, pid=7, color_message="no")
    found = json.loads(JsonFormatter().format(made))
    assert {name: found[name] for name in ("event", "reason", "age_s", "fork_ms", "pid")} == {
        "event": "app_ended",
        "reason": "exit",
        "age_s": 1.235,
        "fork_ms": 4.0,
        "pid": 7,
    }
    assert "color_message" not in found


def test_text_has_the_facts_in_its_message_alone() -> None:
    made = record("ended", event="app_ended", reason="exit", age_s=1.0)
    made.args = ()
    assert TextFormatter().format(made).endswith("WARNING ended")


def test_an_event_is_a_line_for_people_and_fields_for_programs(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    log = ContextLog(logging.getLogger("htagweb.x"), {"app": "m.App"})
    log_event(log, "app_ended", "ended: %(reason)s, after %(age_s).1f s", reason="exit", age_s=2.04)
    (made,) = caplog.records
    assert made.getMessage() == "ended: exit, after 2.0 s"
    assert made.funcName == "test_an_event_is_a_line_for_people_and_fields_for_programs"
    found = json.loads(JsonFormatter().format(made))
    assert (found["app"], found["event"], found["reason"], found["age_s"]) == (
        *("m.App", "app_ended", "exit"),
        2.04,
    )


def test_an_event_may_have_no_facts_and_another_level(caplog: pytest.LogCaptureFixture) -> None:
    log_event(logging.getLogger("htagweb.x"), "app_killed", "killed", logging.WARNING)
    (made,) = caplog.records
    assert (made.getMessage(), made.levelname) == ("killed", "WARNING")


@pytest.mark.parametrize("text", ["one\ntwo", 'a "quote"', "é ✓"])
def test_json_is_one_line_whatever_the_message_is(text: str) -> None:
    line = JsonFormatter().format(record("%s", text))
    assert "\n" not in line
    assert json.loads(line)["message"] == text


def test_json_has_the_traceback_as_a_field() -> None:
    assert json.loads(JsonFormatter().format(failed()))["exception"].endswith("ValueError: no luck")


@pytest.mark.parametrize(("log_format", "kind"), [("text", TextFormatter), ("json", JsonFormatter)])
def test_configuring_sends_all_records_to_standard_error(
    log_format: str, kind: type[logging.Formatter], monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, Any] = {}
    monkeypatch.setattr(logging, "basicConfig", lambda **options: given.update(options))
    logs.configure(log_format, "warning")
    (handler,) = given["handlers"]
    assert (given["level"], handler.stream) == ("WARNING", sys.stderr)
    assert isinstance(handler.formatter, kind)
