"""Starts an example as the README says: on its documented port."""

from __future__ import annotations

import socket
from pathlib import Path

from tests.support.processes import Process, python
from tests.support.requirements import missing
from tests.support.waiting import until_sync

HOME = "http://localhost:8000"


def is_served() -> bool:
    """Return whether something listens on the documented port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", 8000)) == 0


def start(name: str, directory: Path) -> Process:
    """Start an example and wait until it serves."""
    if is_served():
        missing("a free port 8000")
    process = Process(name, python(f"examples/{name}.py"), directory / f"{name}.log")
    until_sync(lambda: is_served() or process.popen.poll() is not None, f"{name} serves", 60)
    assert process.popen.poll() is None, process.text()
    return process
