"""The command line: its help says everything, and what is wrong is one line and exit code 2."""

import argparse
import re
from collections.abc import Iterator
from dataclasses import fields

import pytest

from htagweb import logs
from htagweb.settings import Settings, variable
from htagweb.supervisor import cli
from htagweb.supervisor.cli import WEB_ONLY, ExitCode, main, parser

OPTIONS = [item.name for item in fields(Settings) if item.name not in WEB_ONLY]


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Leave the process's logging and limits alone, and read no settings of the machine."""
    for item in fields(Settings):
        monkeypatch.delenv(variable(item.name), raising=False)
    monkeypatch.setattr(logs, "configure", lambda log_format, level: None)
    monkeypatch.setattr(cli, "raise_file_limit", lambda: None)
    yield


def said(capsys: pytest.CaptureFixture[str]) -> str:
    """Return the last line on standard error."""
    return capsys.readouterr().err.rstrip().splitlines()[-1]


def test_web_only_names_are_settings() -> None:
    assert {item.name for item in fields(Settings)} >= WEB_ONLY


@pytest.mark.parametrize("name", OPTIONS)
def test_every_setting_of_the_supervisor_has_an_option_with_its_help_and_variable(name: str) -> None:
    help_text = " ".join(parser().format_help().split())
    (item,) = [item for item in fields(Settings) if item.name == name]
    assert re.search(rf"--{name.replace('_', '-')}\b", help_text)
    assert item.metadata["help"] in help_text
    assert f"[{variable(name)}" in help_text


@pytest.mark.parametrize("name", sorted(WEB_ONLY))
def test_a_setting_of_web_workers_alone_has_none(name: str) -> None:
    assert f"--{name.replace('_', '-')}" not in parser().format_help()


def test_options_default_to_none_so_that_the_environment_counts() -> None:
    options = vars(parser().parse_args([]))
    assert {options[name] for name in OPTIONS} == {None}


def test_the_help_lists_every_exit_code() -> None:
    text = parser().format_help()
    for code in ExitCode:
        assert f"{int(code)} {code.name.lower().replace('_', ' ')}" in text


def test_an_app_dir_may_be_given_again() -> None:
    assert parser().parse_args(["--app-dir", "a", "--app-dir", "b"]).app_dir == ["a", "b"]


def test_the_version_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert re.fullmatch(r"htagweb-supervisor \d\S+\n", capsys.readouterr().out)


def test_without_a_broker_it_says_how_to_give_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == ExitCode.USAGE
    assert capsys.readouterr().err == (
        "htagweb-supervisor: no broker: give --redis-url or set HTAGWEB_REDIS_URL\n"
    )


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--max-apps", "0"], "max_apps .* must be at least 1, not 0"),
        (["--drain-s", "-1"], "drain_s .* must be at least 0, not -1.0"),
        (["--drain-s", "nan"], "drain_s .* must be at least 0, not nan"),
        (["--redis-url", "http://localhost"], "redis://"),
        (["--redis-url", "redis://h", "--namespace", "a b"], "expected a namespace"),
    ],
)
def test_a_bad_value_is_one_line_and_exit_code_2(
    options: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(options) == 2
    error = capsys.readouterr().err
    assert re.match(rf"htagweb-supervisor: .*{text}", error)
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    "options",
    [["--max-apps", "many"], ["--log-format", "xml"], ["--ready-fd", "x"], ["--no-such-option"], ["surplus"]],
)
def test_an_option_that_is_none_is_exit_code_2(
    options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(options)
    assert ended.value.code == ExitCode.USAGE
    assert said(capsys).startswith("htagweb-supervisor: error: ")


def test_a_bad_variable_is_one_line_and_exit_code_2(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTAGWEB_MAX_APPS", "many")
    assert main([]) == ExitCode.USAGE
    assert capsys.readouterr().err == "htagweb-supervisor: HTAGWEB_MAX_APPS is a number, not 'many'\n"


def test_an_option_wins_over_its_variable(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTAGWEB_MAX_APPS", "5")
    assert main(["--max-apps", "0"]) == ExitCode.USAGE
    assert "not 0" in said(capsys)


def test_a_broker_that_does_not_answer_at_the_start_is_its_own_exit_code(
    tmp_path: object, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("htagweb.supervisor.daemon.become_subreaper", lambda: None)
    assert main(["--redis-url", f"unix://{tmp_path}/nothing.sock"]) == ExitCode.NO_BROKER
    assert "the broker cannot be used" in caplog.text


def test_help_goes_to_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    assert "exit codes:" in capsys.readouterr().out
    assert isinstance(parser(), argparse.ArgumentParser)
