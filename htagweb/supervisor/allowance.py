"""What each app process may take, and whom it runs as."""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass

from htagweb.settings import SettingError, Settings, variable

MIB = 1024 * 1024
CPU_WINDOW_S = 300.0
"""Over so long the CPU seconds of an app are counted."""


@dataclass(frozen=True, slots=True)
class User:
    """A user of this host."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str

    @property
    def environment(self) -> dict[str, str]:
        """What programs ask the environment about their user."""
        return {"HOME": self.home, "USER": self.name, "LOGNAME": self.name}


@dataclass(frozen=True, slots=True)
class Allowance:
    """The limits of one app, the same for all of a supervisor; 0 for none."""

    memory_bytes: int = 0
    cpu_s: int = 0
    """In any ``CPU_WINDOW_S``."""
    processes: int = 0
    """With their threads."""
    open_files: int = 0
    user: User | None = None
    """None: the supervisor's own."""

    @classmethod
    def of(cls, settings: Settings) -> Allowance:
        """Return what the settings say; SettingError when apps cannot run as the user that they name."""
        return cls(
            settings.app_memory_mb * MIB,
            settings.app_cpu_s,
            settings.app_processes,
            settings.app_open_files,
            _find_user(settings.app_user) if settings.app_user else None,
        )

    def __str__(self) -> str:
        """Say it for the log."""
        limits = [
            (self.memory_bytes // MIB, "MiB of memory"),
            (self.cpu_s, f"CPU seconds in {CPU_WINDOW_S:g} s"),
            (self.processes, "processes and threads"),
            (self.open_files, "open files"),
        ]
        texts = [f"{most} {what}" for most, what in limits if most]
        return ", ".join(texts) or "whatever there is"


def _find_user(name: str) -> User | None:
    try:
        found = pwd.getpwuid(int(name)) if name.isdecimal() else pwd.getpwnam(name)
    except (KeyError, OverflowError) as exc:
        raise SettingError(
            f"app_user ({variable('app_user')}): expected a user of this host, there is no {name!r}: "
            "create it, or name another"
        ) from exc
    if found.pw_uid == os.geteuid():
        return None
    if os.geteuid() != 0:
        raise SettingError(
            f"app_user ({variable('app_user')}): only a supervisor that runs as root can run apps as "
            f"{found.pw_name!r}: start it as root, or remove the setting"
        )
    groups = tuple(os.getgrouplist(found.pw_name, found.pw_gid))
    return User(found.pw_name, found.pw_uid, found.pw_gid, groups, found.pw_dir)
