"""Runs a docker-compose.yml without Docker: each container is a host of a network, with a root of its own.

Read from the file: image, command, entrypoint, environment, user, read_only, tmpfs, cap_drop and cap_add,
no-new-privileges, volumes, secrets, depends_on, healthcheck, stop_grace_period. Limits are not enforced.
"""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import yaml

from tests.hosts.network import Host, Network
from tests.hosts.roots import Image, Roots
from tests.support.waiting import until_sync

VARIABLE = re.compile(r"\$(?:(\$)|\{(\w+)(?::-([^}]*))?\})")
START_S = 60
UNITS = {"s": 1.0, "m": 60.0, "ms": 0.001}


def load(path: Path, env: Mapping[str, str]) -> dict[str, Any]:
    """Return a compose file with its variables filled in."""

    def fill(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: fill(item) for key, item in value.items()}
        if isinstance(value, list):
            return [fill(item) for item in value]
        if isinstance(value, str):
            return VARIABLE.sub(lambda m: "$" if m[1] else env.get(m[2]) or m[3] or "", value)
        return value

    content: dict[str, Any] = fill(yaml.safe_load(path.read_text()))
    return content


def seconds(text: str) -> float:
    """Return a duration of a compose file."""
    return sum(float(number) * UNITS[unit] for number, unit in re.findall(r"([\d.]+)(ms|s|m)", text))


class Container:
    """One running container of a service."""

    def __init__(
        self,
        project: Project,
        service: str,
        number: int,
        host: Host,
        *,
        command: list[str],
        env: dict[str, str],
    ) -> None:
        self.service = service
        self.host = host
        self.spec: dict[str, Any] = project.file["services"][service]
        self.log = project.directory / f"{service}{number}.log"
        self._project = project
        self._image = project.image(self.spec["image"])
        self._layer = project.roots.new_layer()
        self._root = project.roots.new_layer()
        self._env = {
            **self._image.env,
            "HOSTNAME": host.name,
            **{name: str(value) for name, value in self.spec.get("environment", {}).items()},
            **env,
        }
        with self.log.open("ab") as output:
            self.popen = subprocess.Popen(
                self._started(command or self._arguments()),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    def _arguments(self) -> list[str]:
        command = self.spec.get("command", self._image.command)
        return shlex.split(command) if isinstance(command, str) else command

    def _started(self, command: list[str]) -> list[str]:
        """Return what starts the container; the process stays the one that is started."""
        script = self._project.roots.mount_script(self._image.layers, self._layer, self._root)
        script += f"hostname {self.host.name}\n" + "".join(self._mounts())
        if self.spec.get("read_only"):
            script += f"mount -o remount,ro,bind {self._root}\n"
        script += self._confined([*self.spec.get("entrypoint", []), *command])
        unshare = ("unshare", "--mount", "--uts", "--propagation", "slave")
        return self.host.inside(*unshare, "sh", "-c", script)

    def _confined(self, command: list[str]) -> str:
        """Return the shell line that becomes a command with the container's root, rights and environment."""
        keep = "".join(f",+{name.lower()}" for name in self.spec.get("cap_add", []))
        user, _, group = str(self.spec.get("user", self._image.user)).partition(":")
        rights = f"--reuid={user} --regid={group or user} --clear-groups"
        rights += f" --bounding-set=-all{keep}" if self.spec.get("cap_drop") == ["ALL"] else ""
        rights += " --no-new-privs" if "no-new-privileges:true" in self.spec.get("security_opt", []) else ""
        env = shlex.join(f"{name}={value}" for name, value in self._env.items())
        start = shlex.join(["sh", "-c", f'cd {self._image.workdir} && exec "$@"', "sh", *command])
        return f"exec env -i {env} /usr/sbin/chroot {self._root} /usr/bin/setpriv {rights} {start}\n"

    def _mounts(self) -> list[str]:
        project = self._project
        lines = [self._bind(project.hosts_file, "/etc/hosts")]
        for name in self.spec.get("secrets", []):
            source = project.path.parent / project.file["secrets"][name]["file"]
            lines.append(self._bind(source, f"/run/secrets/{name}", "ro"))
        for volume in self.spec.get("volumes", []):
            source, target, *mode = volume.split(":")
            path = project.path.parent / source if source.startswith(".") else self._volume(source)
            lines.append(self._bind(path, target, *mode))
        for target in self.spec.get("tmpfs", []):
            self._place(target).mkdir(parents=True, exist_ok=True)
            lines.append(f"mount -t tmpfs -o mode=1777 tmpfs {self._root}{target}\n")
        return lines

    def _volume(self, name: str) -> Path:
        path = self._project.directory / "volumes" / name
        if not path.exists():
            path.mkdir(parents=True)
            owner = str(self.spec.get("user", "0:0"))
            subprocess.run(["chown", owner, path], check=True)  # as the image has it
        return path

    def _place(self, target: str) -> Path:
        return self._layer / target.lstrip("/")

    def _bind(self, source: Path, target: str, mode: str = "rw") -> str:
        place = self._place(target)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.mkdir(exist_ok=True) if source.is_dir() else place.touch()
        line = f"mount --bind {source} {self._root}{target}\n"
        return line + (f"mount -o remount,ro,bind {self._root}{target}\n" if mode == "ro" else "")

    def execute(self, *command: str, timeout_s: float = 30) -> subprocess.CompletedProcess[str]:
        """Run a command in the container."""
        enter = ["nsenter", "--target", str(self.popen.pid), "--mount", "--uts", "--net"]
        inside = [*enter, "sh", "-c", self._confined(list(command))]
        return subprocess.run(inside, capture_output=True, text=True, timeout=timeout_s, check=False)

    def is_healthy(self) -> bool:
        """Run the healthcheck once."""
        check = self.spec["healthcheck"]
        kind, *command = check["test"]
        command = ["sh", "-c", *command] if kind == "CMD-SHELL" else command
        return self.execute(*command, timeout_s=seconds(check["timeout"]) + 5).returncode == 0

    def wait_until_healthy(self) -> None:
        """Wait for the healthcheck to succeed."""

        def is_up() -> bool:
            assert self.popen.poll() is None, f"{self.service} ended:\n{self.text()}"
            return self.is_healthy()

        until_sync(is_up, f"{self.service} is healthy", START_S)

    def text(self) -> str:
        """Return what it wrote so far."""
        return self.log.read_text(errors="replace")

    def stop(self) -> int:
        """Tell it to end and return its exit code; TimeoutExpired when Docker would kill it."""
        self.popen.send_signal(signal.SIGTERM)
        return self.popen.wait(seconds(self.spec.get("stop_grace_period", "10s")))

    def kill(self) -> None:
        """Have all its processes die at once."""
        self.host.kill()
        self.popen.wait()


class Project:
    """A compose project: ``up`` starts its services in their order, ``remove`` leaves nothing."""

    open_ones: ClassVar[set[Project]] = set()

    def __init__(
        self, path: Path, directory: Path, roots: Roots, images: Mapping[str, Image], **env: str
    ) -> None:
        """``images`` has what stands for each image, by its name without the tag."""
        self.path = path
        self.directory = directory
        self.roots = roots
        self.file = load(path, env)
        self.network = Network()
        self.containers: list[Container] = []
        self.hosts_file = directory / "hosts"
        self.hosts_file.write_text("127.0.0.1 localhost\n")
        self._images = images
        self.open_ones.add(self)

    @classmethod
    def pids(cls) -> set[int]:
        """Return the main processes of all containers that are not removed."""
        return {c.popen.pid for project in cls.open_ones for c in project.containers}

    def image(self, name: str) -> Image:
        """Return what stands for an image."""
        return self._images[name.partition(":")[0]]

    def of(self, service: str) -> list[Container]:
        """Return a service's containers."""
        return [container for container in self.containers if container.service == service]

    def up(self, **scale: int) -> None:
        """Start all services without a profile, each when what it depends on is healthy."""
        waiting = {name: spec for name, spec in self.file["services"].items() if "profiles" not in spec}
        while waiting:
            ready = [n for n, spec in waiting.items() if not set(spec.get("depends_on", {})) & set(waiting)]
            assert ready, f"services that wait for each other: {sorted(waiting)}"
            for name in ready:
                for dependency, rule in waiting.pop(name).get("depends_on", {}).items():
                    assert rule["condition"] == "service_healthy", rule
                    for container in self.of(dependency):
                        container.wait_until_healthy()
                for _ in range(scale.get(name, 1)):
                    self.add(name)

    def add(self, service: str, *command: str, **env: str) -> Container:
        """Start one container more of a service, with another command and more environment where given."""
        number = len(list(self.directory.glob(f"{service}*.log"))) + 1
        container = Container(self, service, number, self.network.add_host(), command=list(command), env=env)
        self.containers.append(container)
        self._write_hosts()
        return container

    def take_away(self, container: Container) -> None:
        """Remove a container, dead or alive; its name no longer leads there."""
        self.containers.remove(container)
        self._write_hosts()
        container.kill()
        self.network.remove_host(container.host)

    def _write_hosts(self) -> None:
        """As Docker's name server: a service's name has the addresses of all its containers."""
        lines = ["127.0.0.1 localhost", *(f"{c.host.address} {c.service}" for c in self.containers)]
        # In place: the file is mounted in every container.
        with self.hosts_file.open("r+") as file:
            file.write("\n".join(lines) + "\n")
            file.truncate()

    def logs(self) -> str:
        """Return all logs, for a failed test."""
        paths = sorted(self.directory.glob("*.log"))
        return "\n".join(f"== {p.name}\n{p.read_text(errors='replace')[-4000:]}" for p in paths)

    def remove(self) -> None:
        """End and remove everything."""
        self.open_ones.discard(self)
        for container in self.containers:
            container.kill()
        self.network.remove()
