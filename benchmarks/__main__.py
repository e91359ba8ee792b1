"""Compares this project with htagweb 1.0.0 and writes the results: ``python -m benchmarks [--quick]``."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from time import monotonic

from benchmarks import report
from benchmarks.contestants import Contestant, reference, this_project
from benchmarks.figures import FULL, QUICK, Figures, Plan
from benchmarks.stack import BenchmarkError, end_descendants, running
from htagweb.host.process import become_subreaper

RESULTS = Path(__file__).parent / "results.md"
BUSY = 0.5
"""A load average from which on the machine is too busy for numbers that count."""


def measure(plan: Plan, contestants: Sequence[Contestant], figures: Sequence[Figures]) -> None:
    """Take the contestants in turns, so that the machine's drift hits both alike."""
    began = monotonic()

    def say(text: str) -> None:
        print(f"{monotonic() - began:6.1f} s  {text}", flush=True)

    pairs = list(zip(contestants, figures, strict=True))
    for number in range(1, plan.rounds + 1):
        for contestant, mine in pairs:
            say(f"round {number} of {plan.rounds}: {contestant.name} …")
            with running(contestant) as stack:
                mine.take_turn(stack, plan)
            say(f"  {mine.summary()}")
    for contestant, mine in pairs:
        say(f"{plan.crowd} live apps: {contestant.name} …")
        with running(contestant) as stack:
            mine.take_crowd(stack, plan)
        say(f"  all there after {mine.crowd.seconds:.1f} s" if mine.crowd else f"  failed: {mine.failure}")


def main() -> int:
    """Measure, print the table, write it down; 1 when something failed, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under a minute, for a first impression")
    parser.add_argument("--output", type=Path, help=f"default: {RESULTS.name} here; none with --quick")
    options = parser.parse_args()
    plan, output = (QUICK, options.output) if options.quick else (FULL, options.output or RESULTS)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    become_subreaper()
    ours, theirs = Figures(), Figures()
    try:
        contestants = (this_project(), reference())
        facts = [*report.machine(), *map(report.versions, contestants)]
        print("\n".join(facts))
        if os.getloadavg()[0] > BUSY:
            print("The machine is busy with something else: these numbers are a draft.")
        measure(plan, contestants, (ours, theirs))
    except BenchmarkError as exc:
        print(exc, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        end_descendants()
    print(f"\n{report.table(plan, ours, theirs)}\n\n{report.memory_table(ours, theirs)}")
    if output is not None:
        output.write_text(report.document(facts, plan, ours, theirs))
        print(f"\nwritten to {output}")
    return 1 if ours.failure else 0


if __name__ == "__main__":
    sys.exit(main())
