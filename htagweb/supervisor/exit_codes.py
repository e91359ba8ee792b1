"""What the exit code of ``htagweb-supervisor`` says, as daemon and as command."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """The exit codes; the help lists them by name."""

    OK = 0
    FAILED = 1
    """An unexpected error (the log has its traceback), or what was asked for did not come in time."""
    USAGE = 2
    """A setting or argument is missing or wrong."""
    NO_BROKER = 3
    """The broker could not be used at the start, or by a command."""
    STOPPED_NOW = 4
    """A second signal ended the daemon without a drain."""
    NOTHING_FOUND = 5
    """There is no such session, app or supervisor."""
