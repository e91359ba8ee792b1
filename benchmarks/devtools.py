"""A Chromium of our own, driven by its DevTools protocol alone.

Tools that drive browsers listen to every message and every line of the console of a page, and the page
pays: 0.1 ms for a WebSocket message of 760 bytes, 0.3 ms for one ``console.log`` of an object. Here
nothing is switched on but what is asked for, so that a page runs as it does before a person.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from websockets.sync.client import ClientConnection, connect

from benchmarks.errors import BenchmarkError

_ARGUMENTS = (
    "--headless",
    "--remote-debugging-port=0",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-background-timer-throttling",
    "--disable-renderer-backgrounding",
    # A document that DevTools hands over counts as one from the internet, and may not reach 127.0.0.1.
    "--disable-features=LocalNetworkAccessChecks",
)
START_S = 30.0
STOP_S = 5.0
ANSWER_S = 120.0
POLL_S = 0.02

Json = dict[str, Any]


class DevTools:
    """Calls and events of one browser and its pages; BenchmarkError for what the browser refuses."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._numbers = count(1)
        self._events: list[Json] = []

    def send(self, method: str, session: str | None = None, **parameters: Any) -> int:
        """Call a method of the browser, or of the page that the session is attached to; return its number."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        self._socket.send(json.dumps(message | ({"sessionId": session} if session else {})))
        return number

    def call(self, method: str, session: str | None = None, **parameters: Any) -> Json:
        """Send a call, and return its result."""
        number = self.send(method, session, **parameters)
        while (answer := self._receive()).get("id") != number:
            self._events.append(answer)
        if "error" in answer:
            raise BenchmarkError(f"Chromium refuses {method}: {answer['error']['message']}")
        result: Json = answer["result"]
        return result

    def wait_for(self, method: str, session: str) -> Json:
        """Return the parameters of the next event of this name."""
        while True:
            event = self._events.pop(0) if self._events else self._receive()
            if event.get("method") == method and event.get("sessionId") == session:
                parameters: Json = event["params"]
                return parameters

    def _receive(self) -> Json:
        try:
            message: Json = json.loads(self._socket.recv(ANSWER_S))
        except TimeoutError:
            raise BenchmarkError(f"Chromium said nothing for {ANSWER_S:g} s") from None
        return message


def find_chromium() -> str | None:
    """Return where it is installed; None where it is not."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@contextmanager
def chromium() -> Iterator[DevTools]:
    """Run one; it is gone afterwards with all that it wrote. BenchmarkError where there is none."""
    path = find_chromium()
    if path is None:
        raise BenchmarkError("expected Chromium, found none: run 'make system'")
    directory = Path(tempfile.mkdtemp(prefix="htagweb-bench-chromium-"))
    command = [path, *_ARGUMENTS, f"--user-data-dir={directory}", "about:blank"]
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        with connect(_address(process, directory), max_size=None, compression=None) as socket:
            yield DevTools(socket)
    finally:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        shutil.rmtree(directory, ignore_errors=True)


def _address(process: subprocess.Popen[bytes], directory: Path) -> str:
    file = directory / "DevToolsActivePort"
    deadline = monotonic() + START_S
    while not file.exists() or len(lines := file.read_text().split()) < 2:
        if process.poll() is not None or monotonic() > deadline:
            raise BenchmarkError(f"expected Chromium to listen within {START_S:g} s: try it by hand")
        sleep(POLL_S)
    return f"ws://127.0.0.1:{lines[0]}{lines[1]}"
