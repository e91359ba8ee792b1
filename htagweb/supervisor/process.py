"""An app process as its supervisor holds it: socket, pidfd, output. Mechanism only, no policy."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol, cast

from htagweb.host.frames import Frame, FrameError, FrameSplitter, FromApp, decode_from_app, encode
from htagweb.supervisor.output import Lines

DUMP_SIGNAL = signal.SIGUSR1
Log = logging.LoggerAdapter[logging.Logger]
LINGER_S = 0.5
"""After the process's end, the longest wait for the ends of its socket and output."""


class Owner(Protocol):
    """Who is told what a process does."""

    def handle_frame(self, frame: FromApp) -> None:
        """Take a frame of the app."""
        ...

    def handle_output(self, line: str) -> None:
        """Take a line that the app printed."""
        ...

    def handle_gone(self, status: str) -> None:
        """Take note that the process ended, e.g. ``exit code 1`` or ``signal SIGKILL``."""
        ...


@dataclass(frozen=True, slots=True)
class Ends:
    """The supervisor's ends of what it shares with an app process."""

    socket: socket.socket
    output_fd: int


class _Frames(asyncio.Protocol):
    """Cuts the socket's bytes into frames."""

    def __init__(self, process: AppProcess) -> None:
        self._process = process
        self._splitter = FrameSplitter()

    def data_received(self, data: bytes) -> None:
        try:
            for body in self._splitter.feed(data):
                self._process.owner.handle_frame(decode_from_app(body))
        except FrameError as exc:
            # The app's own code may have written to our socket: nothing it says can be trusted now.
            self._process.log.error("killed: it sent what is no frame: %s", exc)
            self._process.signal(signal.SIGKILL)

    def connection_lost(self, exc: Exception | None) -> None:
        self._process.handle_eof()


class AppProcess:
    """One running app process. It is this process's child, so its pid stays its own until reaped here."""

    def __init__(self, pid: int, pidfd: int, owner: Owner, log: Log) -> None:
        self.pid = pid
        self.owner = owner
        self.log = log
        self._pidfd = pidfd
        self._frames: asyncio.Transport | None = None
        self._output: asyncio.ReadTransport | None = None
        self._lines: Lines | None = None
        self._status: str | None = None
        self._eof = False
        self._is_logged = False
        self._told = False

    async def attach(self, ends: Ends) -> None:
        """Listen to the process's socket, output and end."""
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_connection(lambda: _Frames(self), sock=ends.socket)
        self._frames = transport
        pipe = os.fdopen(ends.output_fd, "rb", 0)
        self._output, self._lines = await loop.connect_read_pipe(
            lambda: Lines(pipe, self.owner.handle_output), pipe
        )
        loop.add_reader(self._pidfd, self._handle_exit)

    def send(self, frame: Frame) -> None:
        """Send a frame; one to a process that is gone is dropped."""
        if self._frames is not None and not self._frames.is_closing():
            self._frames.write(encode(frame))

    def pause(self) -> None:
        """Stop reading the app's frames: it has to wait until we caught up."""
        if self._frames is not None and self._frames.is_reading():
            self._frames.pause_reading()

    def resume(self) -> None:
        """Read the app's frames again."""
        if self._frames is not None and not self._frames.is_closing() and not self._frames.is_reading():
            self._frames.resume_reading()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process, through its pidfd: it can reach no other."""
        if self._status is None:
            try:
                signal.pidfd_send_signal(self._pidfd, number)
            except ProcessLookupError:
                return

    def _handle_exit(self) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._pidfd)
        try:
            # What the app started is in its process group: while it is unreaped, the group's id is its own.
            os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED | os.WNOWAIT)
            with suppress(ProcessLookupError, PermissionError):  # it died before it had a group
                os.killpg(self.pid, signal.SIGKILL)
            result = os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED)
            self._status = _describe(cast(os.waitid_result, result))
        except ChildProcessError:
            self._status = "an end that somebody else was told of"
        os.close(self._pidfd)
        # What it wrote before its end is in socket and pipe still: the end is told when that is read.
        self.resume()
        loop.call_later(LINGER_S, self._close)
        assert self._lines is not None  # this is called after ``attach``
        self._lines.finish(self._handle_logged)

    def _handle_logged(self) -> None:
        self._is_logged = True
        self._tell_gone()

    def handle_eof(self) -> None:
        """Take note that the app's socket was read to its end."""
        self._eof = True
        self._tell_gone()

    def _close(self) -> None:
        # Something that the app started holds its socket or its output open.
        if self._frames is not None:
            self._frames.close()
        if self._output is not None:
            self._output.close()
        self.handle_eof()

    def _tell_gone(self) -> None:
        if self._status is not None and self._eof and self._is_logged and not self._told:
            self._told = True
            self.owner.handle_gone(self._status)


def _describe(result: os.waitid_result) -> str:
    if result.si_code == os.CLD_EXITED:
        return f"exit code {result.si_status}"
    known = {number.value: number.name for number in signal.Signals}
    return f"signal {known.get(result.si_status, result.si_status)}"
