"""Settings: one frozen object, read from the environment, checked, overridable."""

import re
import socket
from dataclasses import FrozenInstanceError, fields
from typing import Any

import pytest

from htagweb.settings import SettingError, Settings, type_of, variable
from htagweb.web.script import CLIENT_JS


def test_an_empty_environment_gives_the_defaults_and_the_hosts_name() -> None:
    assert Settings.load({}) == Settings(name=socket.gethostname())


@pytest.mark.parametrize("item", fields(Settings), ids=lambda item: item.name)
def test_every_setting_has_a_help_and_a_variable_of_its_name(item: Any) -> None:
    assert item.metadata["help"]
    assert variable(item.name) == f"HTAGWEB_{item.name.upper()}"


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("redis_url", "redis://h", "redis://h"),
        ("max_apps", "7", 7),
        ("never_connected_s", "1.5", 1.5),
        ("drain_s", "0", 0.0),
        ("log_format", "json", "json"),
        ("name", "a name", "a name"),
    ],
)
def test_a_variable_is_read_as_its_settings_type(name: str, text: str, value: Any) -> None:
    assert getattr(Settings.load({variable(name): text}), name) == value


def test_an_empty_variable_is_none() -> None:
    assert Settings.load({"HTAGWEB_MAX_APPS": ""}).max_apps == Settings().max_apps


def test_other_variables_are_not_read() -> None:
    assert Settings.load({"MAX_APPS": "7", "HTAGWEB_OTHER": "x"}) == Settings.load({})


def test_the_environment_of_the_process_is_read_when_none_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTAGWEB_MAX_APPS", "7")
    assert Settings.load().max_apps == 7


def test_an_override_wins_and_none_is_no_override() -> None:
    environ = {"HTAGWEB_MAX_APPS": "7", "HTAGWEB_REDIS_URL": "redis://env"}
    settings = Settings.load(environ, max_apps=9, redis_url=None)
    assert (settings.max_apps, settings.redis_url) == (9, "redis://env")


@pytest.mark.parametrize("text", ["many", "1.5", "0x10", "1_0e"])
def test_a_variable_that_is_no_number_is_named_with_its_value(text: str) -> None:
    with pytest.raises(SettingError, match=f"HTAGWEB_MAX_APPS is a number, not '{text}'"):
        Settings.load({"HTAGWEB_MAX_APPS": text})


@pytest.mark.parametrize(
    ("name", "value"), [("max_apps", "0"), ("session_ttl_s", "59"), ("drain_s", "-0.1"), ("drain_s", "nan")]
)
def test_a_number_under_its_least_is_refused(name: str, value: str) -> None:
    with pytest.raises(SettingError, match=rf"{name} \({variable(name)}\) must be at least"):
        Settings.load({variable(name): value})


def test_an_override_is_checked_too() -> None:
    with pytest.raises(SettingError, match="max_in_flight"):
        Settings.load({}, max_in_flight=0)


def test_a_word_that_is_no_choice_is_refused_with_the_choices() -> None:
    with pytest.raises(
        SettingError, match=r"log_format \(HTAGWEB_LOG_FORMAT\) is one of text, json, not 'x'"
    ):
        Settings.load({"HTAGWEB_LOG_FORMAT": "x"})


def test_the_type_of_a_setting_is_known() -> None:
    assert (type_of("max_apps"), type_of("drain_s"), type_of("name")) == (int, float, str)


def test_settings_do_not_change() -> None:
    with pytest.raises(FrozenInstanceError):
        Settings().max_apps = 1  # type: ignore[misc]


def test_a_page_that_was_cut_off_may_send_all_that_it_has_kept() -> None:
    found = re.search(r"const LONGEST_QUEUE = (\d+);", CLIENT_JS)
    assert found
    assert Settings().max_in_flight > int(found[1])
