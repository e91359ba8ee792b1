"""Reaping: what apps left behind is reaped, what someone here waits for is not."""

import os
from collections import deque
from typing import NamedTuple

import pytest

from htagweb.supervisor.daemon import reap_strangers


class Dead(NamedTuple):
    """What ``waitid`` says of a dead child."""

    si_pid: int


class Children:
    """The dead children of a process: ``waitid`` and ``getpgid`` over them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *pids: int) -> None:
        self.dead = deque(pids)
        self.leaders: set[int] = set()
        self.living = True
        self.reaped: list[int] = []
        monkeypatch.setattr(os, "waitid", self.waitid)
        monkeypatch.setattr(os, "getpgid", lambda pid: pid if pid in self.leaders else 1)

    def waitid(self, kind: int, pid: int, options: int) -> Dead | None:
        if options & os.WNOWAIT:
            if not self.dead and not self.living:
                raise ChildProcessError
            return Dead(self.dead[0]) if self.dead else None
        self.dead.remove(pid)
        self.reaped.append(pid)
        return Dead(pid)


def test_strangers_are_reaped(monkeypatch: pytest.MonkeyPatch) -> None:
    children = Children(monkeypatch, 11, 12)
    reap_strangers({99})
    assert children.reaped == [11, 12]


def test_no_children_are_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    children = Children(monkeypatch, 11)
    children.living = False
    reap_strangers(set())
    assert children.reaped == [11]


def test_a_template_is_left_to_its_owner(monkeypatch: pytest.MonkeyPatch) -> None:
    children = Children(monkeypatch, 99)
    reap_strangers({99})
    assert children.reaped == []


def test_an_app_process_is_left_to_who_reads_its_pidfd(monkeypatch: pytest.MonkeyPatch) -> None:
    children = Children(monkeypatch, 11)
    children.leaders.add(11)
    reap_strangers(set())
    assert children.reaped == []


def test_a_stranger_that_is_gone_meanwhile_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    children = Children(monkeypatch, 11)

    def gone(pid: int) -> int:
        raise ProcessLookupError

    monkeypatch.setattr(os, "getpgid", gone)
    reap_strangers(set())
    assert children.reaped == []
