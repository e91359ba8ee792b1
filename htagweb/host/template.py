"""The template process: imports one app, freezes its heap, and forks app processes on request.

``python -m htagweb.host.template --fd N --app module.Class --supervisor-pid PID``, started by a
supervisor's main thread. It has one thread, and ends when its supervisor does or closes the socket.

An app process is the supervisor's own child: the template forks an intermediate, that forks the
app and exits, and the supervisor, a child subreaper, inherits.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import faulthandler
import gc
import importlib
import logging
import os
import re
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from io import TextIOWrapper
from types import TracebackType
from typing import NoReturn

import msgspec

import htagweb.host
from htagweb.host import app, limits, process, sources
from htagweb.host.engines import AppImportError
from htagweb.host.engines.htag1 import load, rehearsal_app
from htagweb.host.frames import (
    MAX_PACKET_BYTES,
    End,
    Fork,
    Forked,
    ForkFailed,
    Frame,
    FrameError,
    FrameSplitter,
    ImportFailed,
    Interact,
    Ready,
    Start,
    decode_to_template,
    encode,
    encode_packet,
)
from htagweb.host.loops import new_event_loop
from htagweb.host.telling import one_line, printable, tell_operator

REPARENT_TIMEOUT_S = 5.0
REHEARSALS = 8
"""How often an app is opened, clicked and ended before the last time: by then the interpreter has rewritten
the code that this runs for its types, which else would happen in each app, in memory of its own."""
REHEARSED_CLICKS = 8
_FORK_DESCRIPTORS = 2


@dataclass(frozen=True, slots=True)
class Options:
    """The command line."""

    fd: int
    app: str
    app_dirs: tuple[str, ...]
    supervisor_pid: int


def parse(arguments: list[str]) -> Options:
    """Read the command line; a wrong one ends the process with argparse's message."""
    parser = argparse.ArgumentParser(prog="python -m htagweb.host.template", description=__doc__)
    parser.add_argument("--fd", type=int, required=True, help="the packet socket to the supervisor")
    parser.add_argument("--app", required=True, help="module.Class")
    parser.add_argument("--app-dir", action="append", default=[], help="searched first; may be repeated")
    parser.add_argument("--supervisor-pid", type=int, required=True)
    found = parser.parse_args(arguments)
    return Options(found.fd, found.app, tuple(found.app_dir), found.supervisor_pid)


# The import


def import_app(name: str, app_dirs: tuple[str, ...]) -> None:
    """Import the app as its script would be; AppImportError when it cannot be had."""
    for variable in htagweb.host.SECRET_VARIABLES:
        os.environ.pop(variable, None)
    htagweb.host.inside_template = True
    sys.path[:0] = app_dirs
    load(name)


def import_failed_packet(failure: AppImportError) -> bytes:
    """Return the ``ImportFailed``; of a long traceback its end, which says where it happened."""
    cause = failure.__cause__ or failure
    where = _within_the_app(cause.__traceback__) if failure.__cause__ else None
    text = printable("".join(traceback.format_exception(type(cause), cause, where)))
    while True:
        try:
            return encode_packet(ImportFailed(one_line(str(failure)), text))
        except FrameError:
            text = "…" + text[-(len(text) // 2) :]


def _within_the_app(trace: TracebackType | None) -> TracebackType | None:
    """Return the traceback from the app's own code on: how we came there tells nobody anything."""
    while trace is not None and _is_machinery(trace.tb_frame.f_code.co_filename):
        trace = trace.tb_next
    return trace


def _is_machinery(filename: str) -> bool:
    ours = os.path.dirname(htagweb.host.__file__)
    return filename.startswith(("<frozen importlib", importlib.__file__, ours))


def ready_packet(import_s: float, threads: int, read: Mapping[str, sources.Signature]) -> bytes:
    """Return the ``Ready`` with as many sources as it can hold; the app's own module was read first."""
    names = [path for path in read if path == printable(path)]
    while True:
        try:
            return encode_packet(Ready(import_s, threads, {path: read[path] for path in names}))
        except FrameError:
            names = names[: len(names) * 3 // 4]


# The rehearsal: what every app process will do is done once here, so that its memory is shared


async def _play_supervisor(sock: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    splitter = FrameSplitter()

    async def answer_to(frame: Frame) -> bytes:
        await loop.sock_sendall(sock, encode(frame))
        while data := await loop.sock_recv(sock, 65536):
            for body in splitter.feed(data):
                return body
        raise ConnectionError("the rehearsal's app process hung up")

    session = {"rehearsal": msgspec.Raw(b"[1]")}
    page = await answer_to(Start("rehearsal.App", [], {}, session, False, "rehearsal"))
    found = re.search(rb'<body id=\\"(\d+)\\"', page)
    if found is None:
        raise ValueError(f"expected the rehearsal's page, got {page[:200]!r}")
    call = b'{"id":%s,"method":"touch","args":[1],"kargs":{},"event":{"type":"click"}}' % found[1]
    for number in range(1, REHEARSED_CLICKS + 1):
        await answer_to(Interact("rehearsal", number, msgspec.Raw(call)))
    await answer_to(End())


async def _rehearse(make_app: Callable[[], type]) -> None:
    mine, theirs = socket.socketpair()
    with mine, theirs:
        mine.setblocking(False)
        async with asyncio.timeout(30), asyncio.TaskGroup() as both:
            both.create_task(app.run(theirs, load_app=lambda name: make_app()))
            both.create_task(_play_supervisor(mine))


def rehearse() -> None:
    """Open, click and end apps that are not the user's, then leave nothing of them.

    The last one comes after the collection: it takes what that has freed, close together, and leaves
    it to the apps, which else would write to memory all over the heap (0.2 MB more for each).
    A failure is told to the operator, and is no reason to refuse the user's app.
    """
    try:
        with _silenced():
            loop = new_event_loop()
        with contextlib.closing(loop):
            with _silenced():
                for _ in range(REHEARSALS):
                    loop.run_until_complete(_rehearse(rehearsal_app))
            gc.collect()  # the first since the user's import: what its finalizers log is to be heard
            with _silenced():
                loop.run_until_complete(_rehearse(rehearsal_app))
    except Exception:  # noqa: BLE001 - apps then start slower, that is all
        tell_operator(f"the rehearsal failed, apps will start slower: {traceback.format_exc()}")


@contextlib.contextmanager
def _silenced() -> Iterator[None]:
    """Have nothing logged: the user's app may have set up logging, and the rehearsal is not the app's."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


# Forking


class Template:
    """The socket to the supervisor, and the loop that forks."""

    def __init__(self, sock: socket.socket, supervisor_pid: int) -> None:
        self._sock = sock
        self._supervisor_pid = supervisor_pid

    def serve(self) -> int:
        """Fork on each request until the supervisor closes the socket; return the exit code."""
        while True:
            try:
                packet, descriptors, flags, _ = socket.recv_fds(
                    self._sock, MAX_PACKET_BYTES, _FORK_DESCRIPTORS, socket.MSG_CMSG_CLOEXEC
                )
            except ConnectionError:
                return process.EXIT_SUPERVISOR_GONE
            try:
                if not packet:
                    return process.EXIT_OK
                request = decode_to_template(packet)
                if len(descriptors) != _FORK_DESCRIPTORS or flags & socket.MSG_CTRUNC:
                    # "truncated" is also what the kernel says when this process has no descriptor left
                    error = f"expected {_FORK_DESCRIPTORS} descriptors, got {len(descriptors)}"
                    self._send(ForkFailed(request.token, error))
                else:
                    self._fork(request, *descriptors)
            except FrameError as exc:
                tell_operator(f"bad packet from the supervisor: {exc}")
                return process.EXIT_BAD_FRAME
            except ConnectionError:
                return process.EXIT_SUPERVISOR_GONE
            finally:
                for descriptor in descriptors:
                    os.close(descriptor)

    def _send(self, frame: Frame, descriptors: tuple[int, ...] = ()) -> None:
        socket.send_fds(self._sock, [encode_packet(frame)], descriptors)

    def _fork(self, request: Fork, app_fd: int, output_fd: int) -> None:
        token = request.token
        _flush()  # or the child would write it once more
        try:
            intermediate = os.fork()
        except OSError as exc:
            self._send(ForkFailed(token, one_line(str(exc))))
            return
        if intermediate == 0:
            _leave_by(lambda: self._be_intermediate(request, app_fd, output_fd))
        _, status = os.waitpid(intermediate, 0)
        if status != process.EXIT_OK:
            code = os.waitstatus_to_exitcode(status)
            self._send(ForkFailed(token, f"the intermediate process ended with {code}"))

    def _be_intermediate(self, request: Fork, app_fd: int, output_fd: int) -> int:
        token = request.token
        try:
            pid = os.fork()
            if pid == 0:
                _leave_by(lambda: self._be_app(request, app_fd, output_fd))
        except OSError as exc:
            self._send(ForkFailed(token, one_line(str(exc))))
            return process.EXIT_OK
        try:
            self._send(Forked(token, pid), (os.pidfd_open(pid),))
        except OSError as exc:
            os.kill(pid, signal.SIGKILL)  # our own child, not reaped yet: the number is still its own
            self._send(ForkFailed(token, one_line(str(exc))))
        return process.EXIT_OK

    def _be_app(self, request: Fork, app_fd: int, output_fd: int) -> int:
        sock = socket.socket(fileno=app_fd)
        self._sock.close()
        process.redirect_stdio(output_fd)
        os.close(output_fd)  # the streams stay as the template set them: line buffered
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # the rest is as _calm_signals left it
        process.set_name("htagweb-spare")
        os.setsid()
        limits.become_victim()
        limits.limit_files(request.open_files)
        limits.limit_memory(request.memory_bytes)
        _reseed()
        # All of the above is done while the intermediate exits; the app's code must not run before.
        process.wait_for_parent(self._supervisor_pid, REPARENT_TIMEOUT_S)
        process.die_with(self._supervisor_pid)
        gc.enable()
        return app.serve(sock, _become_app)


def _become_app(name: str) -> type:
    """Be seen as an app from the start on, for which a spare may have waited long."""
    process.set_name("htagweb-app")
    return load(name)


def _leave_by(last_work: Callable[[], int]) -> NoReturn:
    """Do a forked child's work and exit: nothing of it may come back into the template's loop."""
    code = process.EXIT_UNEXPECTED
    try:
        code = last_work()
    except process.WrongParent as exc:
        code = process.EXIT_SUPERVISOR_GONE
        tell_operator(str(exc))
    except BaseException:  # noqa: BLE001 - the last frame of a process
        traceback.print_exc()
    finally:
        with contextlib.suppress(BaseException):
            _flush()
        os._exit(code)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            with contextlib.suppress(OSError, ValueError):
                stream.flush()


def _line_buffered() -> None:
    for stream in (sys.__stdout__, sys.__stderr__):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(line_buffering=True, errors="backslashreplace")


def _reseed() -> None:
    """Give the app random numbers that no sister has; ``random`` itself does so at every fork."""
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed()


def _calm_signals() -> None:
    process.reset_signals()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole terminal; the supervisor decides


def _dump_stacks() -> None:
    """Have a crash in C, and SIGUSR1, write the stacks to stderr; the app processes inherit it."""
    stderr = sys.__stderr__ or 2
    faulthandler.enable(file=stderr)
    faulthandler.register(signal.SIGUSR1, file=stderr, all_threads=True, chain=False)


def main(options: Options) -> int:
    """Be a template; return its exit code."""
    _calm_signals()
    process.die_with(options.supervisor_pid)
    process.forbid_new_privileges()
    process.close_descriptors(keep={0, 1, 2, options.fd})
    process.set_name("htagweb-templ")
    sock = socket.socket(fileno=options.fd)
    sock.set_inheritable(False)
    _line_buffered()
    started = time.perf_counter()
    try:
        with sources.recorded() as read:
            import_app(options.app, options.app_dirs)
    except AppImportError as exc:
        sock.send(import_failed_packet(exc))
        return process.EXIT_IMPORT_FAILED
    import_s = time.perf_counter() - started
    _calm_signals()  # the import may have set its own
    _dump_stacks()
    rehearse()
    gc.collect()
    gc.freeze()
    sock.send(ready_packet(import_s, process.native_threads(), read))
    return Template(sock, options.supervisor_pid).serve()


if __name__ == "__main__":
    gc.disable()
    _options = parse(sys.argv[1:])
    _leave_by(lambda: main(_options))
