"""Measures this project beside its peers, in turns: ``python -m benchmarks [--quick] [--only KEY,KEY]``."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic

import psutil

from benchmarks import figures as names
from benchmarks import report, turns
from benchmarks.contestants import Contestant, contestants
from benchmarks.disturbance import BUSY
from benchmarks.errors import BenchmarkError
from benchmarks.figures import Figures
from benchmarks.goals import Results
from benchmarks.plan import ALL_OURS, FULL, MAIN, OURS, QUICK, Plan
from benchmarks.report import Report
from benchmarks.stack import end_descendants, running
from htagweb.host.process import become_subreaper

RESULTS = Path(__file__).parent / "results.md"
Say = Callable[[str], None]


def measure(plan: Plan, chosen: Sequence[Contestant], say: Say) -> Results:
    """Take the contestants in turns; who fails is noted, the others go on."""
    results = Results({each.key: turns.begin(plan, each) for each in chosen}, {})
    for number in range(plan.rounds):
        for contestant in chosen:
            _take_turn(plan, number, contestant, results.figures[contestant.key], say)
    ours = [each for each in chosen if each.key == OURS]
    if ours:
        grown = turns.begin_growth(plan.growth)
        for sizes in plan.growth.steps:
            _take_growth(plan, sizes, ours[0], grown, say)
        return Results(results.figures, grown)
    return results


def _take_turn(plan: Plan, number: int, contestant: Contestant, figures: Figures, say: Say) -> None:
    mine = plan.turns[contestant.key]
    if number >= len(mine):
        return
    title = f"round {number + 1} of {plan.rounds}, {contestant.name}"
    if figures.failures and not figures.has(names.START_UP):
        say(f"{title}: left out, as it did not start")
        return
    say(f"{title} …")
    try:
        with running(contestant) as stack:
            turns.take_turn(stack, mine[number], figures)
    except (BenchmarkError, psutil.Error) as exc:
        figures.failures.append(f"round {number + 1}: {str(exc).removeprefix(f'{contestant.name}: ')}")
        say(f"  failed: {exc}")
    else:
        say(f"  {turns.summary(figures, mine[number])}")


def _take_growth(
    plan: Plan, sizes: tuple[int, ...], contestant: Contestant, grown: dict[int, Figures], say: Say
) -> None:
    say(f"growth, {' and then '.join(map(str, sizes))} live apps …")
    left = list(sizes)
    try:
        with running(contestant) as stack:
            for size in turns.take_growth(stack, sizes, plan.growth, grown):
                left.remove(size)
                say(f"  {size}: {turns.grown_summary(grown[size], plan.growth)}")
    except (BenchmarkError, psutil.Error) as exc:
        for size in left:
            grown[size].failures.append(str(exc))
        say(f"  failed: {exc}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help=f"under a minute, of {', '.join(MAIN)}; for a first impression"
    )
    parser.add_argument("--only", default="", metavar="KEY,KEY", help="these contestants, e.g. ours,floor")
    parser.add_argument(
        "--output",
        type=Path,
        help=f"default: {RESULTS.name} here if this project did not fail; none with --quick and --only",
    )
    return parser.parse_args()


def _output(options: argparse.Namespace, failed: bool) -> Path | None:
    """Return where to write the results down, if anywhere: a run that failed replaces none that did not."""
    default = None if options.quick or options.only else RESULTS
    if failed and default and not options.output:
        print(f"{default.name} is not written, as this project failed; --output FILE writes all the same")
        return None
    return options.output or default


def ours_failed(results: Results) -> bool:
    """Return whether this project failed in any turn, or in its growth."""
    ours = [results.figures[key] for key in ALL_OURS if key in results.figures]
    return any(figures.failures for figures in [*ours, *results.grown.values()])


def main() -> int:
    """Measure, print the tables, write them down; 1 when this project failed, 130 after Ctrl-C."""
    options = _options()
    plan = QUICK if options.quick else FULL
    keys = options.only.split(",") if options.only else MAIN if options.quick else tuple(plan.turns)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    become_subreaper()
    began = monotonic()

    def say(text: str) -> None:
        print(f"{monotonic() - began:6.1f} s  {text}", flush=True)

    try:
        chosen = contestants(keys)
        load_before = os.getloadavg()[0]
        facts = [*report.machine(load_before), *map(report.versions, chosen)]
        print("\n".join(facts), flush=True)
        if load_before > BUSY:
            print("The machine is busy with something else: these numbers are a draft.", flush=True)
        results = measure(plan, chosen, say)
    except BenchmarkError as exc:
        print(exc, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        end_descendants()
    told, failed = Report(plan, chosen, results, load_before), ours_failed(results)
    print(f"\n{told.text()}\n")
    if told.disturbance:
        print(f"disturbed: {told.disturbance}")
    if output := _output(options, failed):
        output.write_text(report.document(facts, told, monotonic() - began))
        print(f"written to {output}")
    say("done")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
