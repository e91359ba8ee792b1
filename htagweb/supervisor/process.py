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
from htagweb.supervisor.handover import ProcessState
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
    frame_rest: bytes = b""
    """What was read of a frame before."""
    output_rest: bytes = b""
    """What was read of its output before, and not logged."""

    @classmethod
    def handed(cls, state: ProcessState) -> Ends:
        """Return the ends that another program handed over, under the same numbers."""
        for number in (state.pidfd, state.socket_fd, state.output_fd):
            os.set_inheritable(number, False)
        ours = socket.socket(fileno=state.socket_fd)
        ours.setblocking(False)
        return cls(ours, state.output_fd, state.frame_rest, state.output_rest)


class _Frames(asyncio.Protocol):
    """Cuts the socket's bytes into frames."""

    def __init__(self, process: AppProcess, rest: bytes) -> None:
        self._process = process
        self._splitter = FrameSplitter()
        if rest:
            self.data_received(rest)

    @property
    def rest(self) -> bytes:
        """What came of a frame that is not whole yet."""
        return self._splitter.rest

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
        self._is_paused = False
        self._is_held = False
        self._ends: Ends | None = None
        self._splitting: _Frames | None = None

    async def attach(self, ends: Ends) -> None:
        """Listen to the process's socket, output and end."""
        loop = asyncio.get_running_loop()
        self._ends = ends
        self._frames, self._splitting = await loop.create_connection(
            lambda: _Frames(self, ends.frame_rest), sock=ends.socket
        )
        pipe = os.fdopen(ends.output_fd, "rb", 0)
        self._output, self._lines = await loop.connect_read_pipe(
            lambda: Lines(pipe, self.owner.handle_output, ends.output_rest), pipe
        )
        loop.add_reader(self._pidfd, self._handle_exit)

    def send(self, frame: Frame) -> None:
        """Send a frame; one to a process that is gone is dropped."""
        if self._frames is not None and not self._frames.is_closing():
            self._frames.write(encode(frame))

    def pause(self) -> None:
        """Stop reading the app's frames: it has to wait until we caught up."""
        self._is_paused = True
        self._read_or_not()

    def resume(self) -> None:
        """Read the app's frames again."""
        self._is_paused = False
        self._read_or_not()

    def _read_or_not(self) -> None:
        if self._frames is None or self._frames.is_closing():
            return
        wanted = not (self._is_paused or self._is_held)
        if wanted and not self._frames.is_reading():
            self._frames.resume_reading()
        elif not wanted and self._frames.is_reading():
            self._frames.pause_reading()

    def hold(self) -> None:
        """Read nothing more of a living process, until ``let_go``."""
        if self._status is None and self._lines is not None:
            self._is_held = True
            self._read_or_not()
            self._lines.hold()

    def let_go(self) -> None:
        """Read on, unless it has to wait anyway."""
        self._is_held = False
        self._read_or_not()
        if self._lines is not None:
            self._lines.let_go()

    @property
    def is_quiet(self) -> bool:
        """Whether it is held, lives, and has all that was sent."""
        if not self._is_held or self._frames is None:
            return False
        return not self._frames.get_write_buffer_size()

    def dump(self) -> ProcessState:
        """Return what a successor has to know of a quiet process."""
        assert self._ends is not None and self._splitting is not None and self._lines is not None
        descriptors = self._pidfd, self._ends.socket.fileno(), self._ends.output_fd
        return ProcessState(self.pid, *descriptors, self._splitting.rest, self._lines.rest)

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
        self._is_held = False
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
