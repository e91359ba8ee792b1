"""Serves the app with a broker on TCP and a supervisor, both started by hand: ``python tcp.py PORT``."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from time import sleep

import uvicorn
from counter import App  # beside this script

from htagweb import Runner
from htagweb.embedded import find_server
from htagweb.host.process import die_with


@contextmanager
def _child(*command: str, descriptors: tuple[int, ...] = ()) -> Iterator[None]:
    """Run a process that does not outlive this one."""
    parent = os.getpid()
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        pass_fds=descriptors,
        preexec_fn=lambda: die_with(parent),  # noqa: PLW1509 - there is one thread
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def _free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port: int = server.getsockname()[1]
        return port


def _wait_for(port: int) -> None:
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            sleep(0.005)
        else:
            return


def main() -> None:
    """Serve until SIGTERM, then leave nothing behind."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # uvicorn raises it once more when it has stopped
    port = _free_port()
    broker = [find_server(), "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--appendonly", "no"]
    broker += ["--loglevel", "warning", "--maxmemory-policy", "noeviction"]
    ready, tell_ready = os.pipe()
    supervisor = [sys.executable, "-m", "htagweb.supervisor.cli", "--app-dir", os.path.dirname(__file__)]
    supervisor += ["--ready-fd", str(tell_ready)]
    os.environ["HTAGWEB_REDIS_URL"] = f"redis://127.0.0.1:{port}/0"
    with ExitStack() as stack:
        stack.enter_context(_child(*broker))
        _wait_for(port)
        stack.enter_context(_child(*supervisor, descriptors=(tell_ready,)))
        os.close(tell_ready)
        os.read(ready, 1)
        uvicorn.run(Runner(App), host="127.0.0.1", port=int(sys.argv[1]), ws_per_message_deflate=False)


if __name__ == "__main__":
    main()
