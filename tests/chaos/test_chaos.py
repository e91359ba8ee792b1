"""A short run of the fault suite; ``make chaos`` is the long one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import uvloop

from tests.chaos import report
from tests.chaos.faults import KINDS
from tests.chaos.installation import FAKETIME
from tests.chaos.run import Plan, run_chaos
from tests.hosts.network import leftovers, require_hosts
from tests.support.requirements import missing

SEED = int(os.environ.get("CHAOS_SEED", "4"))
TWIN = "clock an hour behind on one host"
"""As the clock that is ahead: left out, for all others to have their turn in little more than a minute."""
SHORT = tuple(kind.brief() for kind in KINDS if not kind.is_long and kind.name != TWIN)
FAULTS, USERS = len(SHORT), 6
ALWAYS, QUIET = 1.0, 0.3


@pytest.mark.timeout(300)
def test_no_promise_is_broken_by_faults_alone_and_in_pairs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    require_hosts()
    if FAKETIME is None:
        missing("libfaketime")
    plan = Plan(SEED, FAULTS, users=USERS, kinds=SHORT, overlap=ALWAYS, quiet=QUIET)
    ledger = uvloop.run(run_chaos(plan, tmp_path))
    table = f"seed {SEED}, logs in {tmp_path}\n{report.promises(ledger)}\n{report.times(ledger)}"
    with capsys.disabled():
        print(f"\n{table}")
    assert not any(ledger.broken.values()), "\n".join(
        f"{kind.name}: {line}" for kind, lines in ledger.broken.items() for line in lines
    )
    assert len(ledger.faults) >= FAULTS
    assert leftovers() == []
