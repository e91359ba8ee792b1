"""Ends that no fault explains are found: of apps, and of programs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.causes import NEWS_S, check_endings, check_ends
from tests.chaos.faults import KINDS, WITH_SENTINELS
from tests.chaos.ledger import Broken, End, FaultTimes, Ledger
from tests.chaos.programs import Ending


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """Give an empty account."""
    made = Ledger(tmp_path / "run.jsonl")
    yield made
    made.close()


def fault(ledger: Ledger, name: str, what: str, at: float, lasts_s: float) -> None:
    """Note a fault that begins at a moment and lasts so long."""
    kinds = WITH_SENTINELS if what == "broker: True" else KINDS
    kind = next(kind for kind in kinds if kind.name == name)
    ledger.faults.append(FaultTimes(name, what, at, kind.leads, at, at + lasts_s))


def died(ledger: Ledger, *ends: End) -> int:
    """Return how many ends are accused."""
    ledger.ends += ends
    check_ends(ledger)
    return len(ledger.broken[Broken.DIED])


def lost(at: float, home: str = "supervisor1") -> End:
    """Return an end that a page was told of."""
    return End("ua", home, "lost", at)


def test_apps_that_were_lost_without_a_fault_are_found(ledger: Ledger) -> None:
    assert died(ledger, lost(1), lost(2)) == 2


def test_apps_may_be_lost_while_their_supervisor_is_frozen_and_shortly_after(ledger: Ledger) -> None:
    fault(ledger, "supervisor frozen", "supervisor1", 100, 10)
    assert died(ledger, lost(105), lost(115)) == 0


@pytest.mark.parametrize("at", [99, 111 + NEWS_S])
def test_apps_that_are_lost_before_a_fault_or_long_after_it_are_found(ledger: Ledger, at: float) -> None:
    fault(ledger, "supervisor frozen", "supervisor1", 100, 10)
    assert died(ledger, lost(at)) == 1


def test_apps_of_another_supervisor_than_the_one_that_was_hit_are_found(ledger: Ledger) -> None:
    fault(ledger, "supervisor frozen", "supervisor2", 100, 10)
    assert died(ledger, lost(105)) == 1


def test_an_app_whose_supervisor_is_not_known_may_have_been_of_the_one_that_was_hit(ledger: Ledger) -> None:
    fault(ledger, "supervisor frozen", "supervisor2", 100, 10)
    assert died(ledger, lost(105, "")) == 0


@pytest.mark.parametrize("kind", [kind.name for kind in KINDS if "broker" in kind.name])
def test_supervisors_that_take_each_other_over_after_a_fault_of_the_broker_are_found(
    ledger: Ledger, kind: str
) -> None:
    fault(ledger, kind, "broker1", 100, 10)
    assert died(ledger, lost(112), lost(112, "supervisor2"), lost(112, "")) == 3


def test_a_fail_over_may_lose_what_an_app_was_claimed_by(ledger: Ledger) -> None:
    fault(ledger, "fail-over by an operator", "broker: True", 100, 3)
    assert died(ledger, lost(104)) == 0


def test_a_clock_that_is_wrong_explains_no_end(ledger: Ledger) -> None:
    fault(ledger, "clock an hour ahead on one host", "supervisor1", 100, 5)
    assert died(ledger, lost(104)) == 1


def test_a_wire_from_browsers_explains_no_end(ledger: Ledger) -> None:
    fault(ledger, "half-open connections", "web1 door", 100, 10)
    assert died(ledger, lost(105), lost(106, "")) == 2


def test_news_of_an_end_may_wait_in_a_frozen_web_worker(ledger: Ledger) -> None:
    fault(ledger, "kill -9 of a supervisor", "supervisor1", 100, 1)
    fault(ledger, "web worker's host cut off for 60 s", "web1", 102, 60)
    assert died(ledger, lost(163)) == 0


def test_apps_are_drained_only_where_their_supervisor_was_told_to_end(ledger: Ledger) -> None:
    fault(ledger, "supervisor told to end (drain)", "supervisor1", 100, 2)
    fault(ledger, "kill -9 of a supervisor", "supervisor2", 100, 2)
    found = died(ledger, End("ua", "supervisor1", "drained", 110), End("ub", "supervisor2", "drained", 110))
    assert found == 1
    assert "supervisor2" in ledger.broken[Broken.DIED][0]


def test_an_end_for_which_there_is_no_fault_at_all_is_found(ledger: Ledger) -> None:
    fault(ledger, "kill -9 of a supervisor", "supervisor1", 100, 1)
    assert died(ledger, End("ua", "supervisor1", "memory", 101)) == 1


# Programs


def accused(ledger: Ledger, program: str, *endings: tuple[str, float]) -> int:
    """Return how many endings of a program that was started at 0 are accused."""
    check_endings(ledger, program, [Ending(code, at, 0.0) for code, at in endings])
    return len(ledger.broken[Broken.DIED])


def test_a_program_that_was_killed_may_end_so(ledger: Ledger) -> None:
    fault(ledger, "kill -9 of a web worker", "web1", 100, 1)
    assert accused(ledger, "web1", ("-9", 100.1)) == 0


def test_a_program_that_is_killed_more_often_than_by_faults_is_found(ledger: Ledger) -> None:
    fault(ledger, "kill -9 of a web worker", "web1", 100, 1)
    assert accused(ledger, "web1", ("-9", 100.1), ("-9", 105)) == 1


def test_a_program_that_is_killed_while_another_one_should_be_is_found(ledger: Ledger) -> None:
    fault(ledger, "kill -9 of a web worker", "web1", 100, 1)
    assert accused(ledger, "web2", ("-9", 100.1)) == 1


@pytest.mark.parametrize("code", ["0", "-15"])
def test_a_program_that_ends_politely_and_was_not_told_to_is_found(ledger: Ledger, code: str) -> None:
    fault(ledger, "kill -9 of a supervisor", "supervisor2", 100, 1)
    assert accused(ledger, "supervisor1", (code, 101)) == 1


def test_a_program_that_was_told_to_may_end_when_it_is_ready(ledger: Ledger) -> None:
    fault(ledger, "supervisor told to end (drain)", "supervisor1", 100, 2)
    assert accused(ledger, "supervisor1", ("0", 112)) == 0


def test_a_program_may_find_no_broker_only_while_there_is_none(ledger: Ledger) -> None:
    fault(ledger, "broker's host cut off for 20 s", "broker1", 100, 20)
    assert accused(ledger, "supervisor1", ("3", 125)) == 0
    assert accused(ledger, "supervisor1", ("3", 300)) == 1


def test_the_apps_of_a_supervisor_that_found_no_broker_may_be_lost(ledger: Ledger) -> None:
    fault(ledger, "supervisor restarted in place (HUP)", "supervisor1", 100, 1)
    fault(ledger, "broker's host not heard", "broker1", 100, 10)
    assert accused(ledger, "supervisor1", ("3", 105)) == 0
    assert died(ledger, lost(111), lost(111, "supervisor2")) == 1


def test_a_supervisor_that_ends_instead_of_restarting_in_place_is_found(ledger: Ledger) -> None:
    fault(ledger, "supervisor restarted in place (HUP)", "supervisor1", 100, 1)
    assert accused(ledger, "supervisor1", ("0", 101)) == 1
    assert accused(ledger, "supervisor1", ("-1", 101)) == 2
