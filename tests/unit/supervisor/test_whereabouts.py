"""Whether a supervisor's process is gone for sure."""

import os
import signal
import subprocess
import sys
from dataclasses import replace

import pytest
from htagweb_broker import Beat

from htagweb.supervisor import whereabouts

HERE = whereabouts.place()
MINE = Beat("s", "h", os.getpid(), "v", 1, 0, False, 0.0, HERE, whereabouts.started(os.getpid()))


def test_a_process_that_runs_is_not_gone() -> None:
    assert HERE
    assert not whereabouts.is_gone(MINE, HERE)


def test_a_process_that_was_stopped_is_not_gone_and_one_that_was_killed_is() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    beat = replace(MINE, pid=child.pid, started=whereabouts.started(child.pid))
    child.send_signal(signal.SIGSTOP)
    assert not whereabouts.is_gone(beat, HERE)
    child.kill()
    child.communicate()
    assert whereabouts.is_gone(beat, HERE)


def test_a_pid_that_another_process_has_by_now_is_gone() -> None:
    assert whereabouts.is_gone(replace(MINE, started=MINE.started - 1), HERE)


@pytest.mark.parametrize(
    "beat",
    [replace(MINE, place="elsewhere", started=1), replace(MINE, place=""), replace(MINE, started=0)],
    ids=["another place", "no place", "no start"],
)
def test_in_doubt_nobody_is_gone(beat: Beat) -> None:
    assert not whereabouts.is_gone(replace(beat, pid=2**22 - 1), HERE)


def test_without_a_place_of_ones_own_nobody_is_gone() -> None:
    assert not whereabouts.is_gone(replace(MINE, place="", pid=2**22 - 1), "")


def test_a_process_whose_start_is_hidden_is_not_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whereabouts, "started", lambda pid: 0)
    assert not whereabouts.is_gone(replace(MINE, started=1), HERE)


def test_a_process_that_is_not_ours_to_signal_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(pid: int, number: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", refuse)
    assert not whereabouts.is_gone(MINE, HERE)


def test_how_busy_the_host_is_counts_for_each_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (3.0, 0.0, 0.0))
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1})
    assert whereabouts.cpu() == 1.5
