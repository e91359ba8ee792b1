"""A turn's memory is taken ahead, within what the machine has, and given back."""

from __future__ import annotations

import mmap
import re
import resource
from types import SimpleNamespace

import psutil
import pytest

from benchmarks.memory import BESIDE, PER_APP, Memory
from benchmarks.plan import FLOOR, FULL, Turn

MB = 2**20


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes that are written to; nothing is."""
    sizes: list[int] = []
    monkeypatch.setattr(Memory, "write", lambda memory, size: sizes.append(size))
    return sizes


def available(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """Let the machine have so much memory to give."""
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=size))


def test_a_turn_takes_what_its_users_need(monkeypatch: pytest.MonkeyPatch, taken: list[int]) -> None:
    available(monkeypatch, 64 * BESIDE)
    Memory().take(100)
    assert taken == [BESIDE + 100 * PER_APP]


def test_a_small_machine_keeps_half_of_what_it_has(monkeypatch: pytest.MonkeyPatch, taken: list[int]) -> None:
    available(monkeypatch, 500 * MB)
    Memory().take(100)
    assert taken == [250 * MB]


def test_what_is_written_to_is_given_back_and_each_part_of_it_has_a_price() -> None:
    memory, before = Memory(), psutil.Process().memory_info().rss
    memory.write(130 * MB)
    assert psutil.Process().memory_info().rss - before < 20 * MB
    (told,) = re.findall(r"before the turns: ([0-9.]+) to ([0-9.]+) µs$", memory.told())
    assert 0 < float(told[0]) <= float(told[1])


def test_every_page_is_written_to() -> None:
    before = _page_faults()
    Memory().write(130 * MB)
    assert _page_faults() - before >= 130 * MB // mmap.PAGESIZE


def test_without_a_turn_there_is_no_price() -> None:
    assert Memory().told().endswith("not measured")


def test_a_turn_tells_the_most_users_that_it_has() -> None:
    assert Turn(users=30, many=100, crowd=300).most == 300
    assert Turn(users=30, many=0).most == 30
    assert Turn(many=100, burst=20).most == 120
    assert max(turn.most for turn in FULL.turns[FLOOR]) == 300


def _page_faults() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
