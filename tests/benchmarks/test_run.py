"""A run: who has a turn when, on memory that was taken before, and that one's failure stops nobody else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

import pytest

from benchmarks import run as module
from benchmarks import turns
from benchmarks.contestants import ALL, Contestant
from benchmarks.errors import BenchmarkError
from benchmarks.figures import Figures
from benchmarks.memory import Memory
from benchmarks.plan import FLOOR, OURS, Growth, Plan, Turn
from benchmarks.run import Run

TURN = Turn(users=30, many=0)
PLAN = Plan(turns={OURS: (TURN, TURN), FLOOR: (TURN,)}, growth=Growth(steps=((1, 30), (100,))))
CHOSEN = [each for each in ALL if each.key in PLAN.turns]


class Scene:
    """Everything that a run does, in order; nothing is started."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.done: list[str] = []
        self.broken = ""
        """The contestant that does not start."""
        monkeypatch.setattr(Memory, "write", lambda memory, size: self.done.append("memory"))
        monkeypatch.setattr(module, "running", self._running)
        monkeypatch.setattr(turns, "take_turn", lambda stack, turn, figures: self.done.append("turn"))
        monkeypatch.setattr(turns, "take_growth", self._grow)
        self.said: list[str] = []

    def run(self, plan: Plan = PLAN) -> Mapping[str, Figures]:
        self.results = Run(plan, Memory(), self.said.append).measure(CHOSEN)
        return self.results.figures

    @contextmanager
    def _running(self, contestant: Contestant) -> Iterator[None]:
        self.done.append(contestant.key)
        if contestant.key == self.broken:
            raise BenchmarkError("it does not start")
        yield

    def _grow(
        self, stack: None, sizes: tuple[int, ...], growth: Growth, grown: dict[int, Figures]
    ) -> Iterator[int]:
        for size in sizes:
            self.done.append(f"{size} live")
            yield size


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Scene:
    return Scene(monkeypatch)


def test_all_have_their_turns_by_round_and_then_this_project_grows(scene: Scene) -> None:
    scene.run()
    first, second, growth = ["memory", OURS, "turn"], ["memory", FLOOR, "turn"], ["memory", OURS]
    assert scene.done == [*first, *second, *first, *growth, "1 live", "30 live", *growth, "100 live"]


def test_one_that_does_not_start_is_noted_and_left_out_of_later_rounds(scene: Scene) -> None:
    scene.broken = OURS
    figures = scene.run()
    assert figures[OURS].failures == ["round 1: it does not start"]
    assert not figures[FLOOR].failures
    assert scene.done.count("turn") == 1
    assert any("left out, as it did not start" in text for text in scene.said)
    assert [grown.failures for grown in scene.results.grown.values()] == [["it does not start"]] * 3


def test_memory_that_cannot_be_had_costs_a_turn_and_not_the_run(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(memory: Memory, size: int) -> None:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(Memory, "write", refuse)
    figures = scene.run(replace(PLAN, growth=Growth(steps=((1,),))))
    for each in figures.values():
        assert "Cannot allocate memory" in each.failures[0]
    assert scene.done == []
