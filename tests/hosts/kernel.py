"""A kernel of its own for a test: user-mode Linux, a Linux that is a process, with this machine's files.

Where the tests run, cgroups belong to somebody else; in there they are the test's.
"""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support.processes import ROOT
from tests.support.requirements import missing

INIT = """#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin TMPDIR=/mnt XDG_RUNTIME_DIR=/mnt PYTHONDONTWRITEBYTECODE=1
mount -t proc proc /proc && mount -t sysfs sysfs /sys
mount -t tmpfs tmpfs /run && mount -t tmpfs tmpfs /mnt
mount -t cgroup2 cgroup2 /sys/fs/cgroup
ip link set lo up
cd {root} && {python} -m {module}
echo o > /proc/sysrq-trigger
sleep 60
"""
"""What the kernel starts; its last lines switch it off."""
RESULT = "RESULT "


def run_in_kernel(module: str, directory: Path, timeout_s: float) -> dict[str, Any]:
    """Run a module as root of a new kernel; return the JSON that it printed after ``RESULT``.

    It sees this machine's files, and can change none of them.
    """
    kernel = shutil.which("linux.uml") or missing("user-mode-linux")
    init = directory / "init"
    init.write_text(
        INIT.format(root=shlex.quote(str(ROOT)), python=shlex.quote(sys.executable), module=module)
    )
    init.chmod(0o755)
    console = ["con=null", "con0=fd:0,fd:1", "quiet", f"uml_dir={directory}", f"umid={directory.name}"]
    command = [kernel, "mem=1G", "rootfstype=hostfs", "rootflags=/", "ro", f"init={init}", *console]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout_s, check=False
    )
    for line in done.stdout.splitlines():
        if line.startswith(RESULT):
            found: dict[str, Any] = json.loads(line.removeprefix(RESULT))
            return found
    raise AssertionError(f"the kernel ended without a result: {done.stdout[-6000:]}{done.stderr[-2000:]}")


def tell(result: dict[str, Any]) -> None:
    """Say the result, in there."""
    print(f"\n{RESULT}{json.dumps(result)}", flush=True)
