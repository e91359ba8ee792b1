"""Measures this project beside its peers, in turns: ``python -m benchmarks [--quick] [--only KEY,KEY]``."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path
from time import monotonic

from benchmarks import report
from benchmarks.contestants import contestants
from benchmarks.disturbance import BUSY
from benchmarks.errors import BenchmarkError
from benchmarks.goals import Results
from benchmarks.memory import Memory
from benchmarks.plan import ALL_OURS, FULL, MAIN, QUICK
from benchmarks.report import Report
from benchmarks.run import Run
from benchmarks.stack import end_descendants
from htagweb.host.process import become_subreaper

RESULTS = Path(__file__).parent / "results.md"


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
    began, memory = monotonic(), Memory()

    def say(text: str) -> None:
        print(f"{monotonic() - began:6.1f} s  {text}", flush=True)

    try:
        chosen = contestants(keys)
        load_before = os.getloadavg()[0]
        facts = [*report.machine(load_before), *map(report.versions, chosen)]
        print("\n".join(facts), flush=True)
        if load_before > BUSY:
            print("The machine is busy with something else: these numbers are a draft.", flush=True)
        results = Run(plan, memory, say).measure(chosen)
        facts.append(memory.told())
    except BenchmarkError as exc:
        print(exc, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        end_descendants()
    told, failed = Report(plan, chosen, results, load_before), ours_failed(results)
    print(f"\n{told.text()}\n\n{memory.told()}")
    if told.disturbance:
        print(f"disturbed: {told.disturbance}")
    if output := _output(options, failed):
        output.write_text(report.document(facts, told, monotonic() - began))
        print(f"written to {output}")
    say("done")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
