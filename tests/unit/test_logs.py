"""Log lines: text for people, one JSON object a line for programs."""

import json
import logging
import sys
from typing import Any

import pytest

from htagweb import logs
from htagweb.logs import JsonFormatter, TextFormatter


def record(text: str = "hello %s", *args: Any, name: str = "htagweb.x", **extra: str) -> logging.LogRecord:
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
