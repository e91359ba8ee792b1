"""What app processes take, read from ``/proc``: for hosts whose kernel does not keep the account itself.

An app process leads a session of the kernel's, which what it starts belongs to unless it leaves it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from htagweb.host import procfs

PROC = Path("/proc")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
# Fields of /proc/PID/stat after the name, which may hold anything: proc(5) numbers them from 3.
_SESSION, _FIRST_TIME, _LAST_TIME, _THREADS, _RESIDENT = 3, 11, 15, 17, 21


@dataclass(frozen=True, slots=True)
class Usage:
    """What an app process and those that it started take together."""

    pids: tuple[int, ...]
    resident_bytes: int
    """At least what is theirs: what they share with each other or a template is in it several times."""
    cpu_s: float
    processes: int
    """With their threads."""


def read_usage(leaders: set[int], proc: Path = PROC) -> dict[int, Usage]:
    """Return what each of these app processes takes; none of one that is gone."""
    found: dict[int, Usage] = {}
    for pid, fields in _read_stats(proc):
        leader = int(fields[_SESSION])
        if leader not in leaders:
            continue
        before = found.get(leader, Usage((), 0, 0.0, 0))
        found[leader] = Usage(
            (*before.pids, pid),
            before.resident_bytes + int(fields[_RESIDENT]) * _PAGE_BYTES,
            # Its own and that of children it has waited for, each in user and kernel mode.
            before.cpu_s + sum(map(int, fields[_FIRST_TIME:_LAST_TIME])) / _TICKS_PER_S,
            before.processes + int(fields[_THREADS]),
        )
    return found


def read_private_bytes(pids: Iterable[int], proc: Path = PROC) -> int:
    """Return the memory that would be free if these processes ended: what nobody shares.

    It walks through all their pages, so it is for those that may take too much. Of a process that
    it may not look into (another user's, without CAP_SYS_PTRACE) it counts what is resident.
    """
    return sum(_private_bytes(proc / str(pid)) for pid in pids)


def _private_bytes(process: Path) -> int:
    try:
        return 1024 * sum(
            int(line.split()[1])
            for line in (process / "smaps_rollup").read_text().splitlines()
            if line.startswith(("Private_", "Swap:"))
        )
    except PermissionError:
        return _resident_bytes(process)
    except (FileNotFoundError, ProcessLookupError):
        return 0  # it has ended meanwhile


def _resident_bytes(process: Path) -> int:
    try:
        return int((process / "statm").read_text().split()[1]) * _PAGE_BYTES
    except (FileNotFoundError, ProcessLookupError):
        return 0


def _read_stats(proc: Path) -> Iterator[tuple[int, list[bytes]]]:
    for name in os.listdir(proc):
        if not name.isdecimal():
            continue
        try:
            text = procfs.read(f"{proc}/{name}/stat")
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended meanwhile
        except PermissionError:
            continue  # another user's, and /proc hides it: none of ours
        yield int(name), text[text.rindex(b")") + 2 :].split()
