"""What the kernel refuses under our rlimits: each in a Python of its own, as they cannot be undone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.processes import ROOT


def told(code: str) -> str:
    """Run the code with what it needs imported; return what it prints."""
    imports = "import os, resource; from htagweb.host import limits, process\n"
    command = [sys.executable, "-c", imports + code]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def test_memory_that_was_inherited_does_not_count() -> None:
    told(
        "inherited = bytearray(300 << 20)\n"
        "limits.limit_memory(50 << 20)\n"
        "for at in range(0, len(inherited), 4096): inherited[at] = 1\n"
        "more = bytearray(40 << 20)\n"
    )


def test_memory_beyond_the_wall_is_refused_and_the_process_goes_on() -> None:
    code = (
        "limits.limit_memory(50 << 20)\n"
        "try: bytearray(limits.JUMP * 50 + 1 << 20)\n"
        "except MemoryError: print('refused', len(bytearray(50 << 20)))\n"
    )
    assert told(code) == f"refused {50 << 20}\n"


def test_files_beyond_the_limit_are_refused() -> None:
    code = (
        "limits.limit_files(20)\n"
        "try: all_of_them = [os.open('/dev/null', os.O_RDONLY) for _ in range(20)]\n"
        "except OSError as exc: print(exc.strerror, resource.getrlimit(resource.RLIMIT_NOFILE))\n"
    )
    assert told(code) == "Too many open files (20, 20)\n"


def test_a_limit_is_never_raised() -> None:
    code = (
        "resource.setrlimit(resource.RLIMIT_NOFILE, (30, 40))\n"
        "limits.limit_files(10_000)\n"
        "print(resource.getrlimit(resource.RLIMIT_NOFILE))\n"
    )
    assert told(code) == "(40, 40)\n"


def test_zero_changes_nothing() -> None:
    code = (
        "before = [resource.getrlimit(which) for which in (resource.RLIMIT_DATA, resource.RLIMIT_NOFILE)]\n"
        "limits.limit_memory(0); limits.limit_files(0)\n"
        "after = [resource.getrlimit(which) for which in (resource.RLIMIT_DATA, resource.RLIMIT_NOFILE)]\n"
        "print(before == after)\n"
    )
    assert told(code) == "True\n"


def test_a_process_becomes_a_worse_victim_and_never_a_better_one() -> None:
    before = int(Path("/proc/self/oom_score_adj").read_text())
    code = "limits.become_victim(); print(open('/proc/self/oom_score_adj').read())\n" * 3
    first, second, third = (int(score) for score in told(code).split())
    assert first == min(before + 500, 1000)
    assert first <= second <= third == 1000


def test_new_privileges_are_forbidden_to_descendants_too() -> None:
    code = "process.forbid_new_privileges(); os.execlp('grep', 'grep', 'NoNewPrivs', '/proc/self/status')\n"
    assert told(code).split() == ["NoNewPrivs:", "1"]
