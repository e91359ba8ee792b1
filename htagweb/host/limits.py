"""What the kernel refuses an app process: rlimits, set after its fork and before code of the app runs."""

from __future__ import annotations

import os
import resource

from htagweb.host import procfs

JUMP = 2
"""So many times its memory limit an app may ask the kernel for. A hard wall against a jump: what it
really takes is measured by its supervisor, as a reservation (a thread's stack) is no use of memory."""
VICTIM = 500
"""So much worse than its supervisor an app stands when the kernel has to end one for lack of memory."""
_WORST = 1000
_SIZES = "/proc/self/statm"
_DATA = 5
"""Which of the sizes, in pages, is that of data and stack: proc(5)."""
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_OOM_SCORE = "/proc/self/oom_score_adj"


def limit_memory(most_bytes: int) -> None:
    """Refuse memory beyond ``JUMP`` times the limit (MemoryError), not counting what was inherited; 0: none.

    ``RLIMIT_DATA``, not ``RLIMIT_AS``: that one would count what is only mapped, such as files.
    """
    if most_bytes:
        inherited = int(procfs.read(_SIZES).split()[_DATA]) * _PAGE_BYTES
        _lower(resource.RLIMIT_DATA, inherited + JUMP * most_bytes)


def limit_files(most: int) -> None:
    """Refuse to open more files at once than ``most`` (OSError, EMFILE); 0: as many as were inherited."""
    if most:
        _lower(resource.RLIMIT_NOFILE, most)


def become_victim() -> None:
    """Have the kernel prefer this process when it has to end one for lack of memory.

    Only upwards, which needs no right: an orchestrator may have put all of them high already.
    """
    wanted = min(int(procfs.read(_OOM_SCORE)) + VICTIM, _WORST)
    descriptor = os.open(_OOM_SCORE, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, b"%d" % wanted)
    finally:
        os.close(descriptor)


def _lower(limit: int, most: int) -> None:
    """Set the soft and the hard limit, so that the app cannot raise it again; never above the present."""
    _, hard = resource.getrlimit(limit)
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(limit, (most, most))
