"""Starts an example as the README says: on its documented port, which one test has at a time."""

from __future__ import annotations

import fcntl
import signal
import socket
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.support.processes import Process, python
from tests.support.requirements import missing
from tests.support.waiting import until

HOME = "http://localhost:8000"
LONGEST_TURN_S = 400


def is_served() -> bool:
    """Return whether something listens on the documented port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", 8000)) == 0


@asynccontextmanager
async def port_to_itself() -> AsyncIterator[None]:
    """Wait until no other test, of any process, uses the documented port; keep it for the block."""
    with (Path(tempfile.gettempdir()) / "htagweb-tests-port-8000.lock").open("w") as lock:

        def locked() -> bool:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

        await until(locked, "the documented port is free", LONGEST_TURN_S)
        if is_served():
            missing("a free port 8000")
        yield


@asynccontextmanager
async def running(name: str, directory: Path) -> AsyncIterator[Process]:
    """Run an example for the block; it serves when the block begins."""
    async with port_to_itself():
        process = Process(name, python(f"examples/{name}.py"), directory / f"{name}.log")
        try:
            await until(lambda: is_served() or process.popen.poll() is not None, f"{name} serves", 60)
            assert process.popen.poll() is None, process.text()
            yield process
        finally:
            process.popen.send_signal(signal.SIGINT)
            process.popen.wait(30)
