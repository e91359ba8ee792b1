"""The commands for operators: what they show, whom they end, and what their exit codes say."""

import json
from typing import Any

import pytest
from htagweb_broker import Inspector

from htagweb.supervisor import commands
from htagweb.supervisor.cli import main
from htagweb.supervisor.exit_codes import ExitCode
from tests.support.fake_inspector import FakeInspector, beat, running

ANNA, ANOUK, BOB = "aaaaaaaa01" * 3, "aaaaaaaa02" * 3, "bb" * 15
TO_BROKER = ["--redis-url", "redis://nowhere"]
Capture = pytest.CaptureFixture[str]


class QuickClock:
    """Nine seconds after everything; sleeps take no time."""

    def __init__(self) -> None:
        self._now = 0.0

    def now(self) -> float:
        return self._now

    def epoch_ms(self) -> int:
        return 18_500

    async def sleep(self, delay_s: float) -> None:
        self._now += delay_s


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> FakeInspector:
    """Give an installation that every command finds."""
    made = FakeInspector()
    monkeypatch.delenv("HTAGWEB_REDIS_URL", raising=False)
    monkeypatch.setattr(Inspector, "at", lambda url, namespace: made.real)
    monkeypatch.setattr(commands, "SystemClock", QuickClock)
    return made


def rows(capsys: Capture) -> list[dict[str, Any]]:
    """Return the array that a command printed."""
    found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return found


# ps, sessions, supervisors


def test_ps_shows_the_apps_in_aligned_columns(site: FakeInspector, capsys: Capture) -> None:
    site.apps = [running(BOB, pid=12345), running(ANNA, "long_module_name.App")]
    assert main(["ps", *TO_BROKER]) == ExitCode.OK
    assert capsys.readouterr().out.splitlines() == [
        "SESSION   APP                   GENERATION    PID  HOST  SUPERVISOR  AGE  IDLE",
        "aaaaaaaa  long_module_name.App  1-aa            7  h     s1-1-aa     13s  9s",
        "bbbbbbbb  shop.Cart             1-aa        12345  h     s1-1-aa     13s  9s",
    ]


def test_ps_for_programs_has_everything_in_full(site: FakeInspector, capsys: Capture) -> None:
    site.apps = [running(BOB)]
    assert main(["ps", "--json", *TO_BROKER]) == ExitCode.OK
    assert rows(capsys) == [
        {
            "session": BOB,
            "app": "shop.Cart",
            "generation": "1-aa",
            "pid": 7,
            "host": "h",
            "supervisor": "s1-1-aa",
            "started": "1970-01-01T00:00:05.000+00:00",
            "active": "1970-01-01T00:00:09.000+00:00",
            "age_s": 13.5,
            "idle_s": 9.5,
        }
    ]


def test_nothing_to_list_is_an_empty_list_and_no_error(site: FakeInspector, capsys: Capture) -> None:
    for command in ("ps", "sessions", "supervisors"):
        assert main([command, "--json", *TO_BROKER]) == ExitCode.OK
        assert rows(capsys) == []


def test_sessions_are_shown_by_size_never_by_value(site: FakeInspector, capsys: Capture) -> None:
    site.data = {BOB: {"fruit": "pear", "more": 1}}
    site.apps = [running(BOB)]
    main(["sessions", *TO_BROKER])
    assert capsys.readouterr().out.splitlines() == [
        "SESSION   KEYS  APPS  EXPIRES IN",
        "bbbbbbbb     2     1  1h 0m",
    ]
    main(["sessions", "--json", *TO_BROKER])
    assert rows(capsys) == [{"session": BOB, "keys": 2, "apps": 1, "ttl_s": 3600.0}]


def test_the_help_of_sessions_says_what_it_costs(capsys: Capture) -> None:
    with pytest.raises(SystemExit):
        main(["sessions", "--help"])
    assert "SCAN" in capsys.readouterr().out


def test_supervisors_are_shown_with_their_load(site: FakeInspector, capsys: Capture) -> None:
    site.living = {"s1-1-aa": beat("s1", 3)}
    main(["supervisors", *TO_BROKER])
    assert capsys.readouterr().out.splitlines() == [
        "SUPERVISOR  NAME  HOST  PID  APPS  CPU  VERSION  DRAINING",
        "s1-1-aa     s1    h       1  3/10  0%   2.0      no",
    ]
    main(["supervisors", "--json", *TO_BROKER])
    (row,) = rows(capsys)
    assert (row["load"], row["capacity"], row["draining"]) == (3, 10, False)


# kill


def test_killing_a_session_ends_its_apps_and_forgets_its_data(site: FakeInspector, capsys: Capture) -> None:
    site.apps = [running(BOB), running(BOB, "shop.Desk"), running(ANNA)]
    site.data = {BOB: {"fruit": "pear"}, ANNA: {}}
    assert main(["kill", "bbbbbbbb", "--json", *TO_BROKER]) == ExitCode.OK
    assert [row["app"] for row in rows(capsys)] == ["shop.Cart", "shop.Desk"]
    assert [app.instance.session for app in site.apps] == [ANNA]
    assert site.data == {ANNA: {}}


def test_a_session_without_apps_can_be_killed(site: FakeInspector, capsys: Capture) -> None:
    site.data = {BOB: {"fruit": "pear"}}
    assert main(["kill", BOB, *TO_BROKER]) == ExitCode.OK
    assert site.data == {}


def test_killing_one_app_leaves_the_others_and_the_data(site: FakeInspector, capsys: Capture) -> None:
    site.apps = [running(BOB), running(BOB, "shop.Desk")]
    site.data = {BOB: {"fruit": "pear"}}
    assert main(["kill", "bbbbbbbb:shop.Desk", *TO_BROKER]) == ExitCode.OK
    assert [app.instance.app for app in site.apps] == ["shop.Cart"]
    assert site.data == {BOB: {"fruit": "pear"}}


def test_a_prefix_of_several_sessions_kills_none_and_names_them(site: FakeInspector, capsys: Capture) -> None:
    site.apps = [running(ANNA)]
    site.data = {ANOUK: {}}
    assert main(["kill", "aaaaaaaa", *TO_BROKER]) == ExitCode.USAGE
    error = capsys.readouterr().err
    assert ANNA in error
    assert ANOUK in error
    assert len(site.apps) == 1


def test_a_prefix_is_told_apart_by_the_app(site: FakeInspector, capsys: Capture) -> None:
    site.apps = [running(ANNA), running(ANOUK, "shop.Desk")]
    assert main(["kill", "aaaaaaaa:shop.Desk", *TO_BROKER]) == ExitCode.OK
    assert [app.instance.session for app in site.apps] == [ANNA]


@pytest.mark.parametrize("target", ["aaaaaaa", "xxxxxxxx", "", "aaaaaaaa:", "AAAAAAAA"])
def test_what_is_no_session_is_a_wrong_use(site: FakeInspector, capsys: Capture, target: str) -> None:
    site.apps = [running(ANNA)]
    assert main(["kill", target, *TO_BROKER]) == ExitCode.USAGE
    assert "expected a session (8 hex digits or more)" in capsys.readouterr().err
    assert len(site.apps) == 1


@pytest.mark.parametrize("target", ["cccccccc", "bbbbbbbb:shop.Other"])
def test_what_is_not_there_is_its_own_exit_code(site: FakeInspector, capsys: Capture, target: str) -> None:
    site.apps = [running(BOB)]
    assert main(["kill", target, *TO_BROKER]) == ExitCode.NOTHING_FOUND
    assert "there is no session" in capsys.readouterr().err


def test_an_app_that_does_not_end_is_a_failure_and_its_session_is_kept(
    site: FakeInspector, capsys: Capture
) -> None:
    site.apps = [running(BOB)]
    site.data = {BOB: {"fruit": "pear"}}
    site.stuck = {site.apps[0].instance}
    assert main(["kill", "bbbbbbbb", *TO_BROKER]) == ExitCode.FAILED
    assert "not ended in time, look into the supervisor's log: bbbbbbbb:shop.Cart" in capsys.readouterr().err
    assert site.data == {BOB: {"fruit": "pear"}}


# drain


def test_the_only_supervisor_needs_no_name(site: FakeInspector, capsys: Capture) -> None:
    site.living = {"s1-1-aa": beat("s1")}
    assert main(["drain", "--json", *TO_BROKER]) == ExitCode.OK
    assert site.drained == ["s1-1-aa"]
    assert [row["state"] for row in rows(capsys)] == ["told"]


def test_of_several_supervisors_none_is_drained_without_a_name(site: FakeInspector, capsys: Capture) -> None:
    site.living = {"s1-1-aa": beat("s1"), "s2-1-bb": beat("s2")}
    assert main(["drain", *TO_BROKER]) == ExitCode.USAGE
    assert "--all: 2 supervisors live: s1-1-aa, s2-1-bb" in capsys.readouterr().err
    assert site.drained == []


@pytest.mark.parametrize(
    ("arguments", "drained"),
    [(["s2"], ["s2-1-bb"]), (["s2-1-bb"], ["s2-1-bb"]), (["--all"], ["s1-1-aa", "s2-1-bb"])],
)
def test_supervisors_are_drained_by_name_incarnation_or_all(
    site: FakeInspector, arguments: list[str], drained: list[str]
) -> None:
    site.living = {"s1-1-aa": beat("s1"), "s2-1-bb": beat("s2")}
    assert main(["drain", *arguments, *TO_BROKER]) == ExitCode.OK
    assert site.drained == drained


def test_a_name_of_two_supervisors_drains_none_and_names_both(site: FakeInspector, capsys: Capture) -> None:
    site.living = {"s-1-aa": beat("s"), "s-2-bb": beat("s")}
    assert main(["drain", "s", *TO_BROKER]) == ExitCode.USAGE
    assert "s-1-aa, s-2-bb" in capsys.readouterr().err
    assert site.drained == []


def test_a_supervisor_that_is_not_there_is_its_own_exit_code(site: FakeInspector, capsys: Capture) -> None:
    assert main(["drain", *TO_BROKER]) == ExitCode.NOTHING_FOUND
    site.living = {"s1-1-aa": beat("s1")}
    assert main(["drain", "s2", *TO_BROKER]) == ExitCode.NOTHING_FOUND
    assert "there is no supervisor 's2', only s1-1-aa" in capsys.readouterr().err


def test_waiting_for_a_drain_tells_how_far_it_is(site: FakeInspector, capsys: Capture) -> None:
    site.living = {"s1-1-aa": beat("s1", 2)}
    site.loads = [2, 2, 1]
    assert main(["drain", "--wait", *TO_BROKER]) == ExitCode.OK
    assert capsys.readouterr().err.splitlines() == [
        "told s1-1-aa to drain",
        "s1-1-aa has 2 apps",
        "s1-1-aa has 1 apps",
        "s1-1-aa is gone",
    ]


def test_a_drain_that_never_ends_is_not_waited_for_without_end(
    site: FakeInspector, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "DRAIN_TIMEOUT_S", 5.0)
    site.living = {"s1-1-aa": beat("s1", 2)}
    site.loads = [2] * 100
    assert main(["drain", "--wait", *TO_BROKER]) == ExitCode.FAILED
    assert "still there after 5 s: s1-1-aa" in capsys.readouterr().err


# The command line


def test_a_broker_that_cannot_be_used_is_its_own_exit_code(site: FakeInspector, capsys: Capture) -> None:
    site.is_away = True
    assert main(["ps", *TO_BROKER]) == ExitCode.NO_BROKER
    assert capsys.readouterr().err == "htagweb-supervisor: the broker cannot be used: the broker is away\n"
    assert site.closed == 1


def test_without_an_address_a_command_says_how_to_give_one(site: FakeInspector, capsys: Capture) -> None:
    assert main(["ps"]) == ExitCode.USAGE
    assert "give --redis-url or set HTAGWEB_REDIS_URL" in capsys.readouterr().err


def test_an_address_before_the_command_counts_too(site: FakeInspector) -> None:
    assert main([*TO_BROKER, "ps"]) == ExitCode.OK


@pytest.mark.parametrize("option", [["--redis-url", "http://h"], ["--namespace", "a b"]])
def test_a_bad_address_or_namespace_is_a_wrong_use(
    option: list[str], capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["ps", *TO_BROKER, *option]) == ExitCode.USAGE
    assert capsys.readouterr().err.startswith("htagweb-supervisor: ")


def test_the_help_names_every_command(capsys: Capture) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    text = capsys.readouterr().out
    assert all(f"    {name} " in text for name in commands.COMMANDS)
