"""Where a supervisor's process is: who runs in the same place knows for sure when it is gone."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from htagweb_broker import Beat


def place() -> str:
    """Return where this process's pid counts, in words that no other place has; "" if that cannot be told.

    The boot and the pid namespace say it; a host's name tells copies of one machine apart.
    """
    try:
        if os.readlink("/proc/self") != str(os.getpid()):  # another namespace's /proc: its pids are others
            return ""
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{socket.gethostname()} {boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def started(pid: int) -> int:
    """Return when a process of this place started, in clock ticks since boot; 0 if that cannot be told."""
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return 0
    # The command, in parentheses, may hold any bytes; field 22 is the 20th after it.
    return int(text.rpartition(b")")[2].split()[19])


def is_gone(beat: Beat, here: str) -> bool:
    """Return whether a supervisor's process has ended for sure, though its heartbeat may still count.

    False in doubt: it is of another place than ``here``, or did not say enough.
    """
    if not here or beat.place != here or not beat.started:
        return False
    try:
        os.kill(beat.pid, 0)  # asks the kernel: /proc may hide the processes of others
    except ProcessLookupError:
        return True
    except OSError:
        pass  # it is there, and not ours to signal
    return started(beat.pid) not in (0, beat.started)


def cpu() -> float:
    """Return how many processes of the host run or want to, for each processor that this one may use."""
    return os.getloadavg()[0] / len(os.sched_getaffinity(0))
