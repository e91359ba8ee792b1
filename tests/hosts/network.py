"""Hosts in network namespaces of their own, joined by a bridge; this process reaches them all."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

from tests.support.requirements import missing
from tests.support.waiting import until_sync

_networks = itertools.count(os.getpid() % 200)


def require_hosts() -> None:
    """Skip the test where hosts cannot be made."""
    if os.geteuid() != 0:
        missing("root, for network namespaces")
    for program in ("ip", "unshare", "setpriv", "chroot"):
        if shutil.which(program) is None:
            missing(program)


def run(*command: str) -> str:
    """Run a command and return what it printed; RuntimeError with its words when it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip() or done.returncode}")
    return done.stdout


class Host:
    """One network namespace with one address."""

    def __init__(self, network: Network, number: int) -> None:
        self.name = f"{network.name}h{number}"
        self.address = f"{network.prefix}.{number}"
        self._outside = f"{network.name}v{number}"
        run("ip", "netns", "add", self.name)
        pair = ("type", "veth", "peer", "name", "eth0", "netns", self.name)
        run("ip", "link", "add", self._outside, *pair)
        run("ip", "link", "set", self._outside, "master", network.name, "up")
        for command in (
            ("addr", "add", f"{self.address}/24", "dev", "eth0"),
            ("link", "set", "eth0", "up"),
            ("link", "set", "lo", "up"),
        ):
            run("ip", "-n", self.name, *command)

    def inside(self, *command: str) -> list[str]:
        """Return the command that runs another one on this host."""
        return ["ip", "netns", "exec", self.name, *command]

    def pids(self) -> list[int]:
        """Return its processes."""
        return [int(pid) for pid in run("ip", "netns", "pids", self.name).split()]

    def unplug(self) -> None:
        """Take it off the network: nothing is refused, nothing answers."""
        run("ip", "link", "set", self._outside, "down")

    def plug(self) -> None:
        """Put it back on the network."""
        run("ip", "link", "set", self._outside, "up")

    def kill(self) -> None:
        """Have every process of it die at once, as when its power fails."""

        def is_empty() -> bool:
            pids = self.pids()
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            return not pids

        until_sync(is_empty, f"host {self.name} is dead")

    def remove(self) -> None:
        """Kill what runs on it and remove it."""
        self.kill()
        # With the namespace the kernel would remove the pair of interfaces in its own time.
        run("ip", "link", "del", self._outside)
        run("ip", "netns", "del", self.name)


class Network:
    """A bridge and its hosts; ``remove`` leaves nothing."""

    def __init__(self) -> None:
        require_hosts()
        taken = run("ip", "-4", "-o", "addr")  # others' tests may run beside these
        number = next(number for number in _networks if f" 10.213.{number % 250}.1/" not in taken)
        self.name = f"hw{os.getpid()}n{number % 10}"
        self.prefix = f"10.213.{number % 250}"
        self.hosts: list[Host] = []
        self._numbers = itertools.count(2)
        run("ip", "link", "add", self.name, "type", "bridge")
        run("ip", "addr", "add", f"{self.prefix}.1/24", "dev", self.name)
        run("ip", "link", "set", self.name, "up")

    def add_host(self) -> Host:
        """Add a host with the next address."""
        self.hosts.append(Host(self, next(self._numbers)))
        return self.hosts[-1]

    def remove_host(self, host: Host) -> None:
        """Kill and remove a host."""
        self.hosts.remove(host)
        host.remove()

    def remove(self) -> None:
        """Remove all that was made; what cannot be removed hinders nothing else."""
        failures = []
        for host in self.hosts:
            try:
                host.remove()
            except (RuntimeError, AssertionError) as exc:
                failures.append(str(exc))
        run("ip", "link", "del", self.name)
        assert not failures, failures


def leftovers() -> list[str]:
    """Return the namespaces and bridges of this process that are still there."""
    own = f"hw{os.getpid()}n"
    found = [line.split()[0] for line in run("ip", "netns", "list").splitlines()]
    found += [path.name for path in Path("/sys/class/net").iterdir()]
    return [name for name in found if name.startswith(own)]
