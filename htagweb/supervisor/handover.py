"""What a supervisor hands over to the program that takes its place (``HUP``), and how it does.

The process stays the same, and with it its children, their sockets and its
name in the broker: ``exec`` puts the program of the installed version in
place of the running one. What the old one knew travels in a file of memory
alone; descriptors keep their numbers.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager

import msgspec
from htagweb_broker import Launch, Open

from htagweb.supervisor.life import Life

FORMAT = 1
"""A version that reads another format than it is handed refuses, before anything has happened. The frames
belong to it, too: living apps go on to speak those of the version that started them."""
CHECK_S = 30.0
SIGNALS = {signal.SIGHUP, signal.SIGINT, signal.SIGTERM}
"""Those that a supervisor handles: they wait while nobody is there to handle them."""
_ENDS = {signal.SIGINT, signal.SIGTERM}
_OPTION, _CHECK = "--handover-fd", "--handover-check"
_READY = "--ready-fd"


class HandoverError(Exception):
    """Raised when the program's place cannot be taken; everything goes on as before."""


class ProcessState(msgspec.Struct, frozen=True):
    """An app process: its descriptors, and what was read of it and is not whole, or not logged, yet."""

    pid: int
    pidfd: int
    socket_fd: int
    output_fd: int
    frame_rest: bytes
    output_rest: bytes


class AskedState(msgspec.Struct, frozen=True):
    """Who waits for a page or an answer, and the last number taken of each page, with those left out."""

    requests: dict[str, str]
    posts: dict[str, str]
    taken: list[tuple[str, list[int]]]


class PublisherState(msgspec.Struct, frozen=True):
    """What a publisher knows of its generation, when it has nothing to do."""

    facts: dict[str, str]
    number: int
    sizes: list[int]
    """Bytes of the actions that are kept."""
    saves: int
    session_version: str
    taken: str


class InstanceState(msgspec.Struct, frozen=True):
    """One instance whose process runs."""

    instance: str
    generation: str
    launch: Launch
    life: Life
    pending_opens: list[Open]
    asked: AskedState
    position: str
    """Its last inbox entry that was read."""
    publisher: PublisherState
    process: ProcessState
    cpu: list[tuple[float, float]] = []
    """When its app had used how many CPU seconds."""


class Handover(msgspec.Struct, frozen=True):
    """Everything; fields that are added later need a default."""

    format: int
    supervisor: str
    began: float
    """When clicks began to wait, on the monotonic clock."""
    instances: list[InstanceState]


def write(handover: Handover) -> int:
    """Write it into memory; return the descriptor, which a program that is started inherits."""
    descriptor = os.memfd_create("htagweb-handover", 0)
    with os.fdopen(os.dup(descriptor), "wb") as file:
        file.write(msgspec.msgpack.encode(handover))
    return descriptor


def read(descriptor: int) -> Handover:
    """Read what was handed over and close it; HandoverError when it cannot be understood."""
    with os.fdopen(descriptor, "rb") as file:
        file.seek(0)
        data = file.read()
    try:
        handover = msgspec.msgpack.decode(data, type=Handover)
    except msgspec.MsgspecError as exc:
        raise HandoverError(f"expected a handover of format {FORMAT}: {exc}") from exc
    if handover.format != FORMAT:
        raise HandoverError(f"expected a handover of format {FORMAT}, got {handover.format}")
    return handover


def command(arguments: Iterable[str]) -> list[str]:
    """Return this program's command without what only its first start needed."""
    kept: list[str] = []
    rest = iter(arguments)
    for part in rest:
        if part in (_OPTION, _READY):
            next(rest, None)
        elif not part.startswith((f"{_OPTION}=", f"{_READY}=")):
            kept.append(part)
    return [sys.executable, *kept[1:]]


async def check(handover: Handover) -> None:
    """Have the installed version read its settings and a handover, in a process beside us.

    HandoverError says why it does not.
    """
    descriptor = write(handover)
    try:
        process = await asyncio.create_subprocess_exec(
            *command(sys.orig_argv),
            *(_OPTION, str(descriptor), _CHECK),
            pass_fds=[descriptor],
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
    except OSError as exc:
        raise HandoverError(f"the installed version does not start: {exc}") from exc
    finally:
        os.close(descriptor)
    try:
        async with asyncio.timeout(CHECK_S):
            output, _ = await process.communicate()
    except TimeoutError as exc:
        raise HandoverError(f"the installed version did not start within {CHECK_S:g} s") from exc
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        words = output.decode(errors="replace").strip().splitlines()[-5:]
        raise HandoverError(f"the installed version does not start: {' / '.join(words)}")


def become_successor(handover: Handover, taken: Collection[int]) -> None:
    """Have the installed version take this process's place. Returns only by HandoverError.

    To be called within ``waiting_signals``, with those that did not wait.
    """
    descriptors = [number for one in handover.instances for number in _descriptors(one.process)]
    with _inheritable(descriptors):
        descriptor = write(handover)
        try:
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            if taken:
                os.close(descriptor)
                raise HandoverError("it was told to end meanwhile")
            os.execv(sys.executable, [*command(sys.orig_argv), _OPTION, str(descriptor)])
        except OSError as exc:
            os.close(descriptor)
            raise HandoverError(f"its program cannot be executed: {exc}") from exc


def let_signals_come() -> None:
    """Let the signals come that waited for a handler."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def _descriptors(process: ProcessState) -> tuple[int, int, int]:
    return process.pidfd, process.socket_fd, process.output_fd


@contextmanager
def _inheritable(descriptors: list[int]) -> Iterator[None]:
    for number in descriptors:
        os.set_inheritable(number, True)
    try:
        yield
    finally:
        for number in descriptors:
            os.set_inheritable(number, False)


@contextmanager
def waiting_signals() -> Iterator[Collection[int]]:
    """Have signals wait for whoever handles them after the block; give the orders to end that did not wait.

    Those are what another thread was given: it blocks none. The event loop hears of them all the same, with
    its next turn.
    """
    taken: list[int] = []
    handlers = {number: signal.signal(number, lambda number, _: taken.append(number)) for number in _ENDS}
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield taken
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        let_signals_come()
