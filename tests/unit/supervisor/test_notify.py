"""What systemd is told: ready, alive, stopping; nothing where nobody listens."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from htagweb.supervisor.notify import READY, STOPPING, WATCHDOG, Notifier
from tests.support.fakes import FakeClock

Heard = Callable[[], list[str]]


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[tuple[str, Heard]]:
    """Give the address of a service manager and what it heard."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        address = str(tmp_path / "notify")
        listener.bind(address)
        listener.setblocking(False)

        def heard() -> list[str]:
            found = []
            with suppress(BlockingIOError):
                while True:
                    found.append(listener.recv(4096).decode())
            return found

        yield address, heard


def test_states_are_sent_as_lines(manager: tuple[str, Heard]) -> None:
    address, heard = manager
    Notifier({"NOTIFY_SOCKET": address}, FakeClock()).tell(READY, "STATUS=room for 5 apps")
    assert heard() == ["READY=1\nSTATUS=room for 5 apps"]


def test_an_abstract_address_is_understood() -> None:
    name = f"htagweb-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(f"\0{name}")
        Notifier({"NOTIFY_SOCKET": f"@{name}"}, FakeClock()).tell(STOPPING)
        assert listener.recv(100) == b"STOPPING=1"


def test_without_a_service_manager_nothing_is_told() -> None:
    notifier = Notifier({"WATCHDOG_USEC": "3000000"}, FakeClock())
    notifier.tell(READY)
    assert notifier.interval_s == 0


def test_a_service_manager_that_is_gone_is_logged_and_no_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        Notifier({"NOTIFY_SOCKET": str(tmp_path / "nobody")}, FakeClock()).tell(READY)
    assert "the service manager was not told READY=1" in caplog.text


async def test_the_watchdog_hears_three_times_in_its_time(manager: tuple[str, Heard]) -> None:
    address, heard = manager
    clock = FakeClock()
    notifier = Notifier({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "30000000"}, clock)
    async with asyncio.TaskGroup() as tasks:
        keeping = tasks.create_task(notifier.keep_alive())
        for _ in range(3):
            await clock.advance(10)
        keeping.cancel()
    assert heard() == [WATCHDOG] * 4


@pytest.mark.parametrize(
    "watchdog", [{}, {"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}]
)
async def test_no_watchdog_or_anothers_wants_no_sign_of_life(
    manager: tuple[str, Heard], watchdog: dict[str, str]
) -> None:
    address, heard = manager
    await Notifier({"NOTIFY_SOCKET": address, **watchdog}, FakeClock()).keep_alive()
    assert heard() == []
