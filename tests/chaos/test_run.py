"""The checks that a run makes while it goes on, and at its end, see what they are for."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import psutil
import pytest

from tests.chaos.faults import KINDS, Kind, NothingToHit, Site, kill, kill_child, schedule, stop_reading
from tests.chaos.installation import Installation, strange_sockets
from tests.chaos.ledger import Broken, FaultTimes, Ledger
from tests.chaos.pages import ChaosPage
from tests.chaos.programs import Program
from tests.chaos.run import Plan, Run
from tests.chaos.test_chaos import SHORT, TWIN


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """Give an empty account."""
    made = Ledger(tmp_path / "run.jsonl")
    yield made
    made.close()


class FakeInstallation:
    """What is left of an installation that nobody started."""

    def __init__(
        self, *, strays: tuple[str, ...] = (), keys: tuple[str, ...] = (), left: tuple[str, ...] = ()
    ):
        self.programs: list[Program] = []
        self.clients: list[Program] = []
        self.supervisors: list[Program] = []
        self.webs: list[Program] = []
        self.audit = Path("/nowhere")
        self.base = "http://127.0.0.1:1"
        self.brokers = self
        self.sentinels: list[Program] = []
        self._strays, self._keys, self._left = list(strays), set(keys), list(left)

    def home_of(self, pid: int) -> str:
        return ""

    def apps_of(self, supervisor: Program) -> list[psutil.Process]:
        return []

    templates_of = apps_of

    async def strays(self) -> list[str]:
        return self._strays

    async def keys_without_ttl(self) -> set[str]:
        return self._keys

    async def stop(self) -> list[str]:
        return self._left


def run_of(ledger: Ledger, installation: FakeInstallation | None = None) -> Run:
    """Return a run of nothing."""
    return Run(Plan(1, 1), cast(Installation, installation or FakeInstallation()), ledger)


def broken(ledger: Ledger) -> dict[Broken, list[str]]:
    """Return what was found broken."""
    return {kind: texts for kind, texts in ledger.broken.items() if texts}


async def test_a_page_without_an_answer_after_a_fault_is_found(ledger: Ledger) -> None:
    run = run_of(ledger)
    run._pages.append(ChaosPage(ledger, "", "u", "ua", "seed"))
    await run._all_answered(0.0, -1.0, "a fault")
    assert list(broken(ledger)) == [Broken.STUCK]


async def test_a_session_that_holds_less_than_a_page_was_told_is_found(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def total_of(http: Any, base: str) -> int:
        return 6

    monkeypatch.setattr("tests.chaos.run.total_of", total_of)
    run = run_of(ledger)
    page = ChaosPage(ledger, "", "u", "ua", "seed")
    page._total = 7
    run._pages.append(page)
    run._browsers["u"] = cast(Any, None)
    await run._come_to_rest()
    assert list(broken(ledger)) == [Broken.SESSION]


async def test_what_is_left_at_the_end_is_found(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.chaos.run.SETTLED_S", -1.0)
    left = FakeInstallation(strays=("an app",), keys=("htagweb:x",), left=("web1: process 7 is left",))
    await run_of(ledger, left)._check()
    assert list(broken(ledger)) == [Broken.LEFT]
    assert len(broken(ledger)[Broken.LEFT]) == 3


async def test_a_program_that_crashes_when_it_is_told_to_end_is_found(ledger: Ledger) -> None:
    stopped = FakeInstallation()
    program = SimpleNamespace(name="web1", popen=SimpleNamespace(returncode=1), endings=[])
    stopped.clients = [cast(Program, program)]
    await run_of(ledger, stopped)._check()
    assert list(broken(ledger)) == [Broken.DIED]


def test_a_socket_that_the_other_side_has_closed_is_found() -> None:
    well = [(psutil.CONN_LISTEN, 8000), (psutil.CONN_ESTABLISHED, 40000)]
    assert strange_sockets(well) == []
    assert len(strange_sockets([*well, (psutil.CONN_CLOSE_WAIT, 40001), (psutil.CONN_LISTEN, 40002)])) == 2


# Faults


async def test_a_fault_with_nothing_to_hit_does_not_count(ledger: Ledger) -> None:
    page = ChaosPage(ledger, "", "u", "ua", "seed")  # it is not connected
    program = cast(Program, SimpleNamespace(name="web1", send=lambda number: False))
    installation = FakeInstallation()
    installation.webs = [program]
    site = Site(cast(Installation, installation), [page], ledger)
    for begin in (kill("web"), kill_child("app"), stop_reading):
        with pytest.raises(NothingToHit):
            await begin(site, 0.5)
    run = run_of(ledger)
    planned = next(schedule(random.Random(1), [Kind("of nothing", kill_child("app"), 1, 1)]))
    await run._have_fault(planned, 0.0)
    assert ledger.faults == []


def test_the_short_run_has_every_kind_of_fault_but_the_longest_and_a_twin() -> None:
    assert {kind.name for kind in SHORT} == {kind.name for kind in KINDS if not kind.is_long} - {TWIN}
    assert max(kind.most_s for kind in SHORT) <= 6


def test_a_fault_is_the_brokers_or_that_of_one_program() -> None:
    assert FaultTimes("broker frozen", "broker1", 0).hits("web1")
    assert FaultTimes("half-open connections", "web1", 0).hits("web1")
    assert not FaultTimes("half-open connections", "web1 door", 0).hits("web1")
