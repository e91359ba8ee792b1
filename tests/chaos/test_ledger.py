"""The checks of the fault suite see what they are for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.ledger import Broken, Ledger, Outcome, check


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """Give an empty account."""
    made = Ledger(tmp_path / "run.jsonl")
    yield made
    made.close()


def answered(ledger: Ledger, label: str, life: str, generation: str = "1-aa") -> None:
    """Note a click that was answered by a process."""
    ledger.ask(label, "u", "ua", generation).life = life
    ledger.settle(label, Outcome.ANSWERED)
    ledger.lives.setdefault(("u", generation), set()).add(life)


def line(event: str, life: str, at: float, label: str = "") -> dict[str, Any]:
    """Return a line of an app."""
    return {"event": event, "life": life, "at": at, "label": label}


def found(ledger: Ledger, *audit: dict[str, Any]) -> set[Broken]:
    """Return which promises a check finds broken."""
    check(ledger, audit)
    return {kind for kind, texts in ledger.broken.items() if texts}


def test_a_run_in_which_all_is_well_breaks_nothing(ledger: Ledger) -> None:
    answered(ledger, "p:1", "x")
    answered(ledger, "p:2", "x")
    audit = [line("born", "x", 0)]
    for at, label in ((1, "p:1"), (2, "p:2")):
        audit += [line("run", "x", at, label), line("done", "x", at, label)]
    assert found(ledger, *audit) == set()


def test_an_interaction_that_ran_twice_is_found(ledger: Ledger) -> None:
    answered(ledger, "p:1", "x")
    assert Broken.TWICE in found(ledger, line("run", "x", 1, "p:1"), line("run", "y", 2, "p:1"))


def test_an_answer_to_what_never_ran_is_found(ledger: Ledger) -> None:
    answered(ledger, "p:1", "x")
    assert found(ledger) == {Broken.LOST}


def test_a_page_that_was_told_nothing_is_found(ledger: Ledger) -> None:
    ledger.ask("p:1", "u", "ua", "1-aa")
    assert found(ledger, line("run", "x", 1, "p:1")) == {Broken.LOST}


def test_what_its_page_was_told_of_is_not_lost(ledger: Ledger) -> None:
    ledger.ask("p:1", "u", "ua", "1-aa")
    ledger.settle("p:1", Outcome.TOLD_END)
    assert found(ledger) == set()


def test_interactions_that_started_in_another_order_are_found(ledger: Ledger) -> None:
    answered(ledger, "p:1", "x")
    answered(ledger, "p:2", "x")
    assert found(ledger, line("run", "x", 1, "p:2"), line("run", "x", 2, "p:1")) == {Broken.ORDER}


def test_two_processes_under_one_generation_are_found(ledger: Ledger) -> None:
    answered(ledger, "p:1", "x")
    answered(ledger, "p:2", "y")
    assert found(ledger, line("run", "x", 1, "p:1"), line("run", "y", 2, "p:2")) == {Broken.OWNERS}


def test_a_commit_after_the_successors_birth_is_found(ledger: Ledger) -> None:
    answered(ledger, "p:1", "x", "1-aa")
    answered(ledger, "q:1", "y", "2-bb")
    audit = [line("born", "x", 0), line("born", "y", 5)]
    audit += [line("run", "x", 4, "p:1"), line("run", "y", 6, "q:1"), line("done", "y", 6, "q:1")]
    assert found(ledger, *audit, line("done", "x", 7, "p:1")) == {Broken.OWNERS}


def test_an_app_that_crashed_by_itself_is_found(ledger: Ledger) -> None:
    ledger.crashed.update(("x", "y"))
    ledger.killed.add(1)
    born = [{**line("born", life, 0), "pid": pid, "user": "u"} for life, pid in (("x", 1), ("y", 2))]
    assert found(ledger, born[0]) == set()
    assert found(ledger, *born) == {Broken.DIED}
