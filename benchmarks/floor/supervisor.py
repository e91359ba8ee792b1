"""The supervisor: reads the inboxes, hands messages to app processes, publishes what they say.

``python supervisor.py BROKER_SOCKET``, started by the floor's server. Its apps
end when it does: they read the end of their sockets.
"""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import uvloop

from benchmarks.floor.pipeline import Connection

GROUP_SIZE = 32
"""Inboxes that one blocked read is for: more would make each read slow."""
OUTBOX_ENTRIES = 256


class Reader:
    """One blocked XREAD over some streams; a stream of its own wakes it when there is one more."""

    def __init__(self, connection: Connection, control: Connection, number: int) -> None:
        self._connection = connection
        self._control = control
        self._wake = f"floor:wake:{number}"
        self._positions: dict[bytes, bytes] = {self._wake.encode(): b"0"}
        self._handlers: dict[bytes, Callable[[bytes], None]] = {self._wake.encode(): lambda message: None}
        self._read()

    def __len__(self) -> int:
        return len(self._positions) - 1

    def add(self, stream: bytes, handle: Callable[[bytes], None]) -> None:
        """Hand the stream's messages over from now on, from its first one."""
        self._positions[stream] = b"0"
        self._handlers[stream] = handle
        self._control.send("XADD", self._wake, "MAXLEN", 1, "*", "m", "")

    def _read(self) -> None:
        names, after = self._positions.keys(), self._positions.values()
        self._connection.send("XREAD", "BLOCK", 0, "STREAMS", *names, *after, then=self._handle)

    def _handle(self, answer: Any) -> None:
        for name, entries in answer:
            self._positions[name] = entries[-1][0]
            for _, (_, message) in entries:
                self._handlers[name](message)
        self._read()


class App(asyncio.Protocol):
    """The supervisor's end of an app process's socket."""

    def __init__(self, user: bytes, broker: Connection) -> None:
        self._broker = broker
        self._user = user
        self._channel = b"floor:" + user
        self._outbox = b"floor:out:" + user
        self._rest = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast(asyncio.Transport, transport)

    def handle_message(self, message: bytes) -> None:
        """Hand a message of the browser to the app."""
        self._transport.write(message + b"\n")

    def data_received(self, data: bytes) -> None:
        """Publish each line."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            kind, text = line[:1], line[1:]
            if kind == b"p":
                self._broker.send("PUBLISH", "floor:web", self._user + b" " + text)
                continue
            self._broker.send("XADD", self._outbox, "MAXLEN", "~", OUTBOX_ENTRIES, "*", "m", text)
            self._broker.send("PUBLISH", self._channel, text, then=self._tell if kind == b"u" else None)

    def _tell(self, receivers: int) -> None:
        self._transport.write(b"ok\n")


def _start_template() -> socket.socket:
    ours, theirs = socket.socketpair()
    with theirs:
        command = [sys.executable, str(Path(__file__).with_name("app.py")), str(theirs.fileno())]
        subprocess.Popen(command, pass_fds=[theirs.fileno()])  # it ends with our socket
    return ours


async def supervise(path: str) -> None:
    """Start an app for each user that the spawn stream names, for ever."""
    template = _start_template()
    broker = await Connection.open(path)
    spawns: asyncio.Queue[bytes] = asyncio.Queue()
    readers = [Reader(await Connection.open(path), broker, 0)]
    readers[0].add(b"floor:spawn", spawns.put_nowait)
    readers.append(Reader(await Connection.open(path), broker, 1))
    while True:
        user = await spawns.get()
        ours, theirs = socket.socketpair()
        with theirs:
            socket.send_fds(template, [b"f"], [theirs.fileno()])
        ours.setblocking(False)
        loop = asyncio.get_running_loop()
        _, app = await loop.create_connection(lambda user=user: App(user, broker), sock=ours)  # type: ignore[misc]
        if len(readers[-1]) == GROUP_SIZE:
            readers.append(Reader(await Connection.open(path), broker, len(readers)))
        readers[-1].add(b"floor:in:" + user, app.handle_message)


if __name__ == "__main__":
    Path("/proc/self/comm").write_text("floor-superv")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(supervise(sys.argv[1]))
