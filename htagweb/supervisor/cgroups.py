"""A cgroup for each app, where the kernel (cgroup v2) and whoever started the supervisor allow it.

The kernel then keeps memory and processes of an app within its limits itself, whatever it starts
and however that detaches, and ends all of it at once. The supervisor's own cgroup becomes two levels::

    <the one it was started in>      its limits, if any, are for all together
        supervisor/                  the supervisor and its templates
        app-<pid>/                   an app and what it started
"""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from pathlib import Path

logger = logging.getLogger(__name__)

MOUNT = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")
_OURS = "supervisor"
_WANTED = {"memory", "pids"}


class CgroupsUnavailable(Exception):
    """Raised when apps cannot have cgroups; the message says why."""


class Cgroups:
    """The cgroups of a supervisor's apps."""

    def __init__(self, base: Path, memory_bytes: int, processes: int) -> None:
        """``base`` is the supervisor's, prepared by ``find``; 0 is no limit."""
        self._base = base
        self._limits = {
            "memory.max": str(memory_bytes or "max"),
            "memory.swap.max": "0" if memory_bytes else "max",
            "memory.oom.group": "1",
            "pids.max": str(processes or "max"),
        }
        self._left: set[Path] = set()
        """Of apps that ended, but not empty yet."""

    @classmethod
    def find(cls, memory_bytes: int, processes: int, mount: Path = MOUNT, own: Path = OWN) -> Cgroups:
        """Divide the supervisor's cgroup; CgroupsUnavailable when it has none that it may divide."""
        base = _own_cgroup(mount, own)
        again = base.name == _OURS  # this supervisor has replaced itself: its apps live on
        if again:
            base = base.parent
        try:
            if not again and set((base / "cgroup.procs").read_text().split()) != {str(os.getpid())}:
                raise CgroupsUnavailable("other processes are in the supervisor's cgroup")
            delegated = _WANTED & set((base / "cgroup.controllers").read_text().split())
            if not delegated:
                raise CgroupsUnavailable("memory and pids are not delegated to the supervisor's cgroup")
            _divide(base, delegated)
        except OSError as exc:
            raise CgroupsUnavailable(f"the supervisor's cgroup cannot be divided: {exc}") from exc
        for left in base.glob("app-*"):
            with suppress(OSError):  # those of living apps stay
                left.rmdir()
        return cls(base, memory_bytes, processes)

    def enter(self, pid: int) -> None:
        """Put a process that runs no code of an app yet into a cgroup of its own.

        A failure is logged: the app runs on within the limits that need no cgroup.
        """
        group = self._of(pid)
        try:
            group.mkdir()
            for name, limit in self._limits.items():
                if (group / name).exists():
                    (group / name).write_text(limit)
            (group / "cgroup.procs").write_text(str(pid))
        except OSError as exc:
            logger.error("app process %d has no cgroup: %s", pid, exc)

    def leave(self, pid: int) -> bool:
        """End what is left of an app whose process is gone; return whether the kernel ended it for memory."""
        group = self._of(pid)
        if not group.exists():
            return False
        killed = False
        try:
            events = dict(line.split() for line in (group / "memory.events").read_text().splitlines())
            killed = events.get("oom_kill", "0") != "0"
        except FileNotFoundError:
            pass  # memory is not delegated
        if killed:
            logger.warning("app process %d was ended by the kernel: it took more memory than it may", pid)
        with suppress(OSError):
            (group / "cgroup.kill").write_text("1")
        self._left.add(group)
        self.sweep()
        return killed

    def sweep(self) -> None:
        """Remove the cgroups whose last process has gone meanwhile."""
        for group in list(self._left):
            try:
                group.rmdir()
            except FileNotFoundError:
                pass
            except OSError:
                continue  # a process is in the kernel's hands
            self._left.discard(group)

    def _of(self, pid: int) -> Path:
        return self._base / f"app-{pid}"


def _own_cgroup(mount: Path, own: Path) -> Path:
    try:
        lines = own.read_text().splitlines()
    except OSError as exc:
        raise CgroupsUnavailable(f"this process has no cgroup: {exc}") from exc
    paths = [line.removeprefix("0::").lstrip("/") for line in lines if line.startswith("0::")]
    if not paths or not (mount / paths[0] / "cgroup.controllers").is_file():
        raise CgroupsUnavailable(f"there is no cgroup v2 at {mount}")
    return mount / paths[0]


def _divide(base: Path, controllers: set[str]) -> None:
    """Move this process one level down: a cgroup that gives limits to others holds no process itself."""
    ours = base / _OURS
    ours.mkdir(exist_ok=True)
    try:
        (ours / "cgroup.procs").write_text(str(os.getpid()))
        (base / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in sorted(controllers)))
    except OSError:
        with suppress(OSError):
            (base / "cgroup.procs").write_text(str(os.getpid()))
            ours.rmdir()
        raise
