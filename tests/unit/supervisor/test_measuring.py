"""The supervisor ends the apps that its meter finds, and no other."""

from __future__ import annotations

import signal

import pytest

from htagweb.supervisor.daemon import MEASURE_S
from htagweb.supervisor.launches import why_no_page
from htagweb.supervisor.meter import Excess
from htagweb.supervisor.process import DUMP_SIGNAL
from tests.support.fakes import turns
from tests.unit.supervisor.daemons import Daemon, Running


@pytest.fixture
async def measured(running: Running) -> Daemon:
    """Give a supervisor with one app."""
    await running[0].open()
    return running[0]


async def test_an_app_that_takes_too_much_is_ended_with_its_reason(
    measured: Daemon, caplog: pytest.LogCaptureFixture
) -> None:
    it, meter = measured, measured.meter
    meter.found[it.processes[0].pid] = Excess("memory", "7 MiB of memory, the limit is 5")
    await it.clock.advance(MEASURE_S)
    await it.clock.advance(MEASURE_S)
    assert it.processes[0].signals == [DUMP_SIGNAL, signal.SIGTERM]
    assert caplog.text.count("it takes 7 MiB of memory, the limit is 5") == 1
    (owned,) = it.supervisor.placement.instances.values()
    owned.handle_gone("signal SIGTERM")
    await turns()
    assert it.broker.of("release")[0][2] == "memory"


async def test_an_app_that_takes_little_is_left_alone(measured: Daemon) -> None:
    it, meter = measured, measured.meter
    meter.found[1] = Excess("memory", "of somebody else")
    await it.clock.advance(MEASURE_S)
    assert it.processes[0].signals == []


async def test_an_error_while_measuring_ends_no_app(
    measured: Daemon, caplog: pytest.LogCaptureFixture
) -> None:
    it, meter = measured, measured.meter
    meter.failure = OSError("no /proc")
    await it.clock.advance(MEASURE_S)
    assert "apps are not measured for now and go on" in caplog.text
    meter.failure, meter.found = None, {it.processes[0].pid: Excess("cpu", "9 CPU seconds")}
    await it.clock.advance(MEASURE_S)
    assert it.processes[0].signals[0] == DUMP_SIGNAL


async def test_an_app_is_measured_from_its_fork(measured: Daemon) -> None:
    assert measured.meter.entered == [measured.processes[0].pid]


async def test_an_app_that_the_kernel_ended_has_that_reason(measured: Daemon) -> None:
    measured.meter.ended_by_kernel = {measured.processes[0].pid: "memory"}
    (owned,) = measured.supervisor.placement.instances.values()
    owned.handle_gone("signal SIGKILL")
    await turns()
    assert measured.broker.of("release")[0][2] == "memory"


def test_the_log_says_what_apps_may_take_and_what_keeps_it(
    idle: Daemon, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    idle.supervisor.divide()
    assert "an app may take 1024 MiB of memory" in caplog.text
    assert "kept by nothing" in caplog.text


def test_an_app_that_takes_too_much_while_it_starts_says_so_in_place_of_its_page() -> None:
    assert why_no_page("memory", 60) == "the app took more than it may while it started (memory)"
