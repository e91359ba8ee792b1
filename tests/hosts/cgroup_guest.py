"""Runs in a kernel of its own: a supervisor to which a cgroup is delegated, and apps that take too much."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.hosts.kernel import tell
from tests.support.page import PageClient
from tests.support.processes import APPS, Process, python
from tests.support.stack import Stack
from tests.support.waiting import until

CGROUPS = Path("/sys/fs/cgroup")
UNIT = CGROUPS / "htagweb.service"
OWNER = 65534
PATIENCE_S = 60.0
LIMITS = ("memory.max", "memory.swap.max", "memory.oom.group", "pids.max")
IN_ITS_UNIT = f"""
echo $$ > {UNIT}/cgroup.procs
exec setpriv --reuid {OWNER} --regid {OWNER} --clear-groups --inh-caps=-all --bounding-set=-all "$@"
"""
"""As a service manager does it: the process is in the cgroup from its start, without any right."""


def delegate() -> None:
    """Make a cgroup and give it away, as a service manager does with ``Delegate=``."""
    (CGROUPS / "cgroup.subtree_control").write_text("+memory +pids")
    UNIT.mkdir()
    for path in (UNIT, *(UNIT / f"cgroup.{name}" for name in ("procs", "threads", "subtree_control"))):
        os.chown(path, OWNER, OWNER)


def open_python() -> None:
    """Let everybody run a Python that lies in root's home: nothing else is in there then."""
    home, program = Path("/root"), Path(sys.executable).resolve()
    if not program.is_relative_to(home):
        return
    top, kept = home / program.relative_to(home).parts[0], Path("/mnt/kept")
    kept.mkdir()
    subprocess.run(["mount", "--bind", top, kept], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", home], check=True)
    top.mkdir()
    subprocess.run(["mount", "--move", kept, top], check=True)


def app_groups() -> list[Path]:
    return sorted(UNIT.glob("app-*"))


class Guest:
    """The installation in here."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        directory.chmod(0o755)
        self.stack = Stack(directory)
        self.stack.server.path.chmod(0o777)
        limits = ["--app-memory-mb", "100", "--app-processes", "30", "--app-cpu-s", "0"]
        supervisor = python("-m", "htagweb.supervisor.cli", "--app-dir", str(APPS), *limits)
        command = ["sh", "-c", IN_ITS_UNIT, "sh", *supervisor]
        self.supervisor = Process("supervisor", command, directory / "supervisor.log", self.stack.env)
        self.stack.supervisors.append(self.supervisor)
        self.supervisor.wait_for("is ready", PATIENCE_S)
        self.base = self.stack.add_worker().base
        self.pages: list[PageClient] = []

    async def page(self) -> PageClient:
        page = PageClient(self.base)
        self.pages.append(page)
        await page.open("/greedy")
        await page.connect()
        return page

    async def end_of(self, method: str, argument: int) -> str:
        """Return why an app ended that was asked for too much."""
        page = await self.page()
        await page.click(method, argument)
        await until(lambda: page.ends, f"the end of {method}", PATIENCE_S)
        return str(page.ends[0]["reason"])

    async def restart(self) -> None:
        self.supervisor.popen.send_signal(signal.SIGHUP)
        await until(lambda: "restarted in place" in self.supervisor.text(), "it restarts", PATIENCE_S)

    async def close(self) -> None:
        for page in self.pages:
            await page.close()
        self.stack.close()


async def main() -> None:
    """Play it all, and tell what came of it."""
    delegate()
    open_python()
    guest = Guest(Path("/mnt/stack"))
    result: dict[str, Any] = {}
    try:
        neighbour = await guest.page()
        (group,) = app_groups()
        result["limits"] = {name: (group / name).read_text().strip() for name in LIMITS}
        result["handler"] = await guest.end_of("fill", 150)
        result["child"] = await guest.end_of("fill_in_a_child", 150)
        many = await guest.page()
        await many.answer(await many.click("start", 60), PATIENCE_S)
        result["processes"] = many.errors
        await guest.restart()
        result["after the restart"] = await guest.end_of("fill", 150)
        await neighbour.answer(await neighbour.click("say", "here"), PATIENCE_S)
        result["others"] = [[*page.ends, page.reloads] for page in (neighbour, many)]
        await until(lambda: len(app_groups()) == 2, "the cgroups of ended apps are removed")
        lines = guest.supervisor.text().splitlines()
        result["starts"] = [line for line in lines if "an app may take" in line]
        result["kills"] = [line for line in lines if "was ended by the kernel" in line]
    finally:
        print(guest.supervisor.text()[-4000:])
        await guest.close()
    tell(result)


if __name__ == "__main__":
    asyncio.run(main())
