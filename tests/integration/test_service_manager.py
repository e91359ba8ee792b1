"""The supervisor as a service of systemd: it says when it is ready, that it lives, and that it stops."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.processes import APPS, BrokerServer, Process, python
from tests.support.waiting import until_sync


@pytest.fixture
def server(tmp_path: Path) -> Iterator[BrokerServer]:
    made = BrokerServer("valkey", tmp_path)
    made.start()
    yield made
    made.stop()


def test_a_supervisor_tells_its_service_manager_how_it_is(server: BrokerServer, tmp_path: Path) -> None:
    heard: list[str] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.setblocking(False)

        def hears(state: str) -> bool:
            with suppress(BlockingIOError):
                heard.extend(manager.recv(4096).decode().splitlines())
            return state in heard

        env = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "600000"}
        command = python("-m", "htagweb.supervisor.cli", "--app-dir", str(APPS), "--redis-url", server.url)
        supervisor = Process("supervisor", command, tmp_path / "supervisor.log", env)
        try:
            until_sync(lambda: hears("READY=1"), "it is ready", 30)
            heard.clear()
            until_sync(lambda: hears("WATCHDOG=1"), "it lives")
            supervisor.popen.send_signal(signal.SIGTERM)
            until_sync(lambda: hears("STOPPING=1"), "it stops")
            assert supervisor.popen.wait(30) == 0
        finally:
            if supervisor.popen.poll() is None:
                supervisor.kill()
