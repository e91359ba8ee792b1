"""The template, which forks an app process for each descriptor that it gets, and the app: a counter.

``python app.py FD``, started by the floor's supervisor. A line from the
supervisor is a message of the browser, or ``ok`` for an update that the broker
has. A line to it begins with one letter: p, a whole page; a, an answer; u, an update.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import sys
from pathlib import Path
from time import monotonic

PAGE = (
    '<!DOCTYPE html><html><head><meta charset="utf-8"><title>floor</title></head><body><h1>A counter</h1>'
    '<button>+1</button><b class="number">%d</b><b class="pushed"></b><script>'
    'const ws = new WebSocket("ws://" + location.host + "/_ws");'
    'const call = {id: 1, method: "increment", args: [], kargs: {}, event: {type: "click"}};'
    'document.querySelector("button").onclick = () => ws.send(JSON.stringify(call));'
    "ws.onmessage = message => { for (const [name, html] of Object.entries(JSON.parse(message.data).update))"
    ' document.querySelector("b." + name).outerHTML = html; };'
    "</script></body></html>"
)
ANSWER = (
    r'{"update":{"number":"<b class=\"number\" id=\"140234567890123\" title=\"the counter\">%d</b>"},'
    '"generation":"%016x","page":"0123456789abcdef0123456789abcdef"}'
)
PUSHED = r'{"update":{"pushed":"<b class=\"pushed\">%r</b>"}}'


class App:
    """One user's counter. It blocks until there is something to do."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._number = 0
        self._pushes = 0
        self._pause_s = 0.0
        self._is_pushing = False
        """Whether an update is on its way to the broker, or the pause after it not over."""

    def serve(self) -> None:
        """Show the page, then answer until the supervisor is gone."""
        self._show()
        rest = b""
        while True:
            try:
                data = self._sock.recv(65536)
            except TimeoutError:  # the pause is over
                self._sock.settimeout(None)
                self._push()
                continue
            if not data:
                return
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                self._handle(line)

    def _send(self, kind: str, text: str) -> None:
        self._sock.sendall(f"{kind}{text}\n".encode())

    def _show(self) -> None:
        self._send("p", PAGE % self._number)

    def _handle(self, line: bytes) -> None:
        if line == b"ok":
            if self._pushes > 0 and self._pause_s > 0:
                self._sock.settimeout(self._pause_s)
            else:
                self._push()
            return
        call = json.loads(line)
        if call["method"] == "increment":
            self._number += 1
            self._send("a", ANSWER % (self._number, self._number))
        elif call["method"] == "push":
            self._pushes, self._pause_s = call["args"]
            self._send("a", '{"update":{}}')
            if not self._is_pushing:
                self._push()
        else:
            self._show()

    def _push(self) -> None:
        self._is_pushing = self._pushes > 0
        if self._is_pushing:
            self._pushes -= 1
            self._send("u", PUSHED % monotonic())


def _set_name(name: str) -> None:
    Path("/proc/self/comm").write_text(name)


def main() -> None:
    """Fork until the supervisor closes the socket; the kernel reaps."""
    _set_name("floor-templ")
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    requests = socket.socket(fileno=int(sys.argv[1]))
    gc.freeze()
    while True:
        data, descriptors, _, _ = socket.recv_fds(requests, 1, 1)
        if not data:
            return
        if os.fork() == 0:
            requests.close()
            _set_name("floor-app")
            App(socket.socket(fileno=descriptors[0])).serve()
            os._exit(0)
        os.close(descriptors[0])


if __name__ == "__main__":
    main()
