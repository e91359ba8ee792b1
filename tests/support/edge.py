"""Web workers that serve ``tests/apps/edge_site.py``, each with settings and server options of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.processes import APPS, Process, listening_socket, python
from tests.support.stack import Stack

VISITOR = "203.0.113.9"
FORWARDED = {"x-forwarded-proto": "https", "x-forwarded-host": "site.example", "x-forwarded-for": VISITOR}


class EdgeWorker:
    """One uvicorn process."""

    def __init__(self, stack: Stack, number: int, *options: str, **settings: str) -> None:
        server = listening_socket()
        self.base = f"http://127.0.0.1:{server.getsockname()[1]}"
        self.socket = stack.directory / f"edge{number}.sock"
        at = ["--uds", str(self.socket)] if "uds" in options else ["--fd", str(server.fileno())]
        self.process = Process(
            f"edge{number}",
            python("-m", "uvicorn", "--app-dir", str(APPS), "edge_site:app", *at)
            + [option for option in options if option != "uds"],
            stack.directory / f"edge{number}.log",
            {**stack.env, **{f"HTAGWEB_{name.upper()}": value for name, value in settings.items()}},
            (server.fileno(),),
        )
        server.close()
        self.process.wait_for("Application startup complete")


@contextmanager
def edge_worker(stack: Stack, *options: str, **settings: str) -> Iterator[EdgeWorker]:
    """Run a web worker; the option ``uds`` puts it on a unix socket, others are uvicorn's."""
    number = len(list(stack.directory.glob("edge*.log"))) + 1
    worker = EdgeWorker(stack, number, *options, **settings)
    try:
        yield worker
    finally:
        worker.process.kill()
