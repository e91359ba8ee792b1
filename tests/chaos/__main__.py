"""The fault suite as a command: ``python -m tests.chaos --seed 7 --faults 20``."""

from __future__ import annotations

import argparse
import asyncio
import random
import re
import signal
import sys
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import uvloop
from htagweb_broker.clock import SystemClock

from tests.chaos import report
from tests.chaos.faults import KINDS, WITH_SENTINELS
from tests.chaos.installation import FAKETIME
from tests.chaos.ledger import Ledger
from tests.chaos.run import Plan, run_chaos
from tests.support.processes import ROOT

DOCUMENT = ROOT / "docs" / "reliability.md"
BEGIN, END = "<!-- the long run begins -->", "<!-- the long run ends -->"
SHOWN = 40


def arguments() -> argparse.Namespace:
    """Return what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--faults", type=int, default=20, help="at least so many")
    parser.add_argument("--minutes", type=float, default=0, help="and at least so long")
    parser.add_argument("--users", type=int, default=10)
    parser.add_argument("--browsers", type=int, default=2, help="users with a real Chromium, besides")
    parser.add_argument(
        "--sentinels", action="store_true", help="the broker is a master, replicas, Sentinels"
    )
    parser.add_argument("--only", default="", help="faults whose names have this pattern in them")
    parser.add_argument("--directory", type=Path, help="where the logs go")
    parser.add_argument("--write", action="store_true", help=f"write the tables into {DOCUMENT.name}")
    return parser.parse_args()


async def until_told(work: Coroutine[Any, Any, Ledger]) -> Ledger:
    """Do the work; TERM and INT cancel it, so that no host is left."""
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(work)
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    return task.result()


def main() -> int:
    """Run, print, and return 1 when a promise was broken."""
    options = arguments()
    print(f"seed {options.seed}", flush=True)
    of_layout = WITH_SENTINELS if options.sentinels else KINDS
    if FAKETIME is None:
        print("libfaketime is missing: no clock goes wrong", flush=True)
        of_layout = [kind for kind in of_layout if not kind.name.startswith("clock")]
    kinds = tuple(kind for kind in of_layout if re.search(options.only, kind.name))
    plan = Plan(
        options.seed,
        options.faults,
        options.minutes,
        options.users,
        options.browsers,
        kinds,
        options.sentinels,
    )
    directory = options.directory or Path(tempfile.mkdtemp(prefix="chaos-"))
    directory.mkdir(exist_ok=True)
    print(f"logs in {directory}", flush=True)
    clock = SystemClock()
    began = clock.now()
    ledger = uvloop.run(until_told(run_chaos(plan, directory)))
    text = report.document(plan, ledger, clock.now() - began)
    print(f"\n{text}\n\n{report.notes(ledger)}")
    for kind, found in ledger.broken.items():
        for line in found[:SHOWN]:
            print(f"{kind.name}: {line}")
    if options.write:
        before, _, rest = DOCUMENT.read_text().partition(BEGIN)
        DOCUMENT.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.partition(END)[2]}")
    return int(any(ledger.broken.values()))


if __name__ == "__main__":
    sys.exit(main())
