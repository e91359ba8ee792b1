"""What a process asks of the kernel: names, parents, signals, descriptors, exit codes (Linux only)."""

from __future__ import annotations

import ctypes
import os
import select
import signal
from collections.abc import Collection

EXIT_OK = 0
EXIT_IMPORT_FAILED = 1
"""A template that could not import its app, and said so."""
EXIT_NOT_BUILT = 3
"""An app process whose app could not be built, and that said so."""
EXIT_BAD_FRAME = 65
"""The supervisor sent what is no frame; sysexits' EX_DATAERR."""
EXIT_SUPERVISOR_GONE = 69
"""The supervisor's end of the socket is closed, or somebody else is the parent; sysexits' EX_UNAVAILABLE."""
EXIT_UNEXPECTED = 70
"""An exception that nobody expected, its traceback is on stderr; sysexits' EX_SOFTWARE."""

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38
_NEVER_TOUCHED = frozenset(
    {
        signal.SIGKILL,
        signal.SIGSTOP,
        signal.SIGPIPE,  # Python ignores these two from its start, to raise OSError in their place
        signal.SIGXFSZ,
    }
)
_libc = ctypes.CDLL(None, use_errno=True)


class WrongParent(Exception):
    """Raised when the process that has to be the parent is not, so nobody would end this one."""


def _prctl(option: int, argument: int | bytes) -> None:
    value = ctypes.c_char_p(argument) if isinstance(argument, bytes) else ctypes.c_ulong(argument)
    zero = ctypes.c_ulong(0)
    if _libc.prctl(option, value, zero, zero, zero) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"prctl({option}): {os.strerror(error)}")


def set_name(name: str) -> None:
    """Set what ``ps`` and ``top`` show; the kernel keeps the first 15 bytes."""
    _prctl(_PR_SET_NAME, name.encode())


def become_subreaper(on: bool = True) -> None:
    """Become the parent of descendants whose own parent has died."""
    _prctl(_PR_SET_CHILD_SUBREAPER, int(on))


def forbid_new_privileges() -> None:
    """Let nothing that this process or its descendants run gain rights, by a setuid file for example."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def die_with(parent_pid: int, number: signal.Signals = signal.SIGKILL) -> None:
    """Have the kernel signal this process when its parent dies; WrongParent when that is another one.

    The kernel watches the *thread* that is the parent: the one that called fork, or, for a process
    that a subreaper inherited, the subreaper's main thread.
    """
    _prctl(_PR_SET_PDEATHSIG, number)
    if os.getppid() != parent_pid:  # it may have died before the kernel knew
        raise WrongParent(f"the parent should be process {parent_pid}, but is {os.getppid()}")


def wait_for_parent(parent_pid: int, timeout_s: float) -> None:
    """Wait until the present parent has died and ``parent_pid`` has inherited this process.

    WrongParent when it does not come to that in time, or somebody else is the heir.
    """
    present = os.getppid()
    if present == parent_pid:
        return
    try:
        pidfd = os.pidfd_open(present)
    except ProcessLookupError:
        pass  # it has died meanwhile
    else:
        try:
            # readable once it is a zombie: the kernel has given its children away by then
            watch = select.poll()
            watch.register(pidfd, select.POLLIN)
            watch.poll(timeout_s * 1000)
        finally:
            os.close(pidfd)
    if os.getppid() != parent_pid:
        raise WrongParent(
            f"process {parent_pid} should have inherited this one, but {os.getppid()} is its parent"
        )


def reset_signals() -> None:
    """Give every signal its default action and block none, whatever was inherited or set by an import."""
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals() - _NEVER_TOUCHED:
        if signal.getsignal(number) is not signal.SIG_DFL:
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def close_descriptors(keep: Collection[int]) -> None:
    """Close every descriptor of this process but those to keep."""
    for descriptor in [int(name) for name in os.listdir("/proc/self/fd")]:
        if descriptor not in keep:
            try:
                os.close(descriptor)
            except OSError:
                continue  # it was the listing's own


def redirect_stdio(output_fd: int) -> None:
    """Read nothing, and write stdout and stderr to ``output_fd``."""
    nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(output_fd, 1)
    os.dup2(output_fd, 2)


def native_threads() -> int:
    """Return how many threads this process has besides the calling one, Python's or not."""
    return len(os.listdir("/proc/self/task")) - 1
