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
    """The dead children of a process: ``waitid`` over them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *pids: int) -> None:
        self.dead = deque(pids)
        self.gone = False
        self.living = True
        self.reaped: list[int] = []
        monkeypatch.setattr(os, "waitid", self.waitid)

    def waitid(self, kind: int, pid: int, options: int) -> Dead | None:
        if options & os.WNOWAIT:
            if not self.dead and not self.living:
                raise ChildProcessError
            return Dead(self.dead[0]) if self.dead else None
        if self.gone:
            raise ChildProcessError
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


def test_a_template_or_app_process_is_left_to_its_owner(monkeypatch: pytest.MonkeyPatch) -> None:
    children = Children(monkeypatch, 99)
    reap_strangers({98, 99})
    assert children.reaped == []


def test_a_stranger_that_is_gone_meanwhile_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    children = Children(monkeypatch, 11)
    children.gone = True
    reap_strangers(set())
    assert children.reaped == []
