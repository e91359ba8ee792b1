"""One run: the contestants in turns, then this project with few and many live apps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import psutil

from benchmarks import figures as names
from benchmarks import turns
from benchmarks.contestants import Contestant
from benchmarks.errors import BenchmarkError
from benchmarks.figures import Figures
from benchmarks.goals import Results
from benchmarks.memory import Memory
from benchmarks.plan import OURS, Plan
from benchmarks.stack import running


@dataclass(frozen=True, slots=True)
class Run:
    """Carries a plan out, and says what it does."""

    plan: Plan
    memory: Memory
    say: Callable[[str], None]

    def measure(self, chosen: Sequence[Contestant]) -> Results:
        """Take the contestants in turns; who fails is noted, the others go on."""
        results = Results({each.key: turns.begin(self.plan, each) for each in chosen}, {})
        for number in range(self.plan.rounds):
            for contestant in chosen:
                self._take_turn(number, contestant, results.figures[contestant.key])
        ours = [each for each in chosen if each.key == OURS]
        if ours:
            grown = turns.begin_growth(self.plan.growth)
            for sizes in self.plan.growth.steps:
                self._take_growth(sizes, ours[0], grown)
            return Results(results.figures, grown)
        return results

    def _take_turn(self, number: int, contestant: Contestant, figures: Figures) -> None:
        mine = self.plan.turns[contestant.key]
        if number >= len(mine):
            return
        title = f"round {number + 1} of {self.plan.rounds}, {contestant.name}"
        if figures.failures and not figures.has(names.START_UP):
            self.say(f"{title}: left out, as it did not start")
            return
        self.say(f"{title} …")
        try:
            self.memory.take(mine[number].most)
            with running(contestant) as stack:
                turns.take_turn(stack, mine[number], figures)
        except (BenchmarkError, psutil.Error) as exc:
            figures.failures.append(f"round {number + 1}: {str(exc).removeprefix(f'{contestant.name}: ')}")
            self.say(f"  failed: {exc}")
        else:
            self.say(f"  {turns.summary(figures, mine[number])}")

    def _take_growth(self, sizes: tuple[int, ...], contestant: Contestant, grown: dict[int, Figures]) -> None:
        self.say(f"growth, {' and then '.join(map(str, sizes))} live apps …")
        left = list(sizes)
        try:
            self.memory.take(max(sizes))
            with running(contestant) as stack:
                for size in turns.take_growth(stack, sizes, self.plan.growth, grown):
                    left.remove(size)
                    self.say(f"  {size}: {turns.grown_summary(grown[size], self.plan.growth)}")
        except (BenchmarkError, psutil.Error) as exc:
            for size in left:
                grown[size].failures.append(str(exc))
            self.say(f"  failed: {exc}")
