"""Carries out a Dockerfile without Docker: every step in a root file system made of layers."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from tests.hosts.roots import Image, Roots

Base = Callable[[str], Image]


class BuildError(Exception):
    """Raised when a step fails, or is none that this knows; the message has its output."""


def steps(text: str) -> Iterator[tuple[str, str]]:
    """Give the instructions of a Dockerfile with their arguments."""
    joined = re.sub(r"\\\n\s*", "", "\n".join(line for line in text.splitlines() if line[:1] != "#"))
    for line in joined.splitlines():
        if line.strip():
            name, _, rest = line.partition(" ")
            yield name, rest.strip()


def is_in_context(path: str, ignore_file: str) -> bool:
    """Return whether a .dockerignore that begins with "*" lets a path through."""
    lines = [line for line in ignore_file.splitlines() if line and not line.startswith("#")]
    allowed = [line[1:] for line in lines if line.startswith("!")]
    return lines[0] == "*" and any(path == entry or path.startswith(f"{entry}/") for entry in allowed)


class Build:
    """One build: ``run`` returns the last stage's image."""

    def __init__(self, context: Path, roots: Roots, base: Base) -> None:
        self._context = context
        self._roots = roots
        self._base = base
        self._stages: dict[str, Image] = {}
        self._image: Image | None = None

    def run(self) -> Image:
        """Carry out the context's Dockerfile."""
        for name, rest in steps((self._context / "Dockerfile").read_text()):
            handle = getattr(self, f"_handle_{name.lower()}", None)
            if handle is None:
                raise BuildError(f"unknown instruction {name}")
            handle(rest)
        return self._now

    @property
    def _now(self) -> Image:
        if self._image is None:
            raise BuildError("expected FROM first")
        return self._image

    def _handle_from(self, rest: str) -> None:
        name, _, stage = rest.partition(" AS ")
        image = self._base(name)
        self._image = replace(image, layers=[self._roots.new_layer(), *image.layers], env=dict(image.env))
        self._stages[stage] = self._image

    def _handle_workdir(self, rest: str) -> None:
        self._now.workdir = rest
        (self._now.layers[0] / rest.lstrip("/")).mkdir(parents=True, exist_ok=True)

    def _handle_env(self, rest: str) -> None:
        for pair in shlex.split(rest):
            name, _, value = pair.partition("=")
            self._now.env[name] = value

    def _handle_user(self, rest: str) -> None:
        self._now.user = rest

    def _handle_expose(self, rest: str) -> None:
        """A note for people."""

    def _handle_cmd(self, rest: str) -> None:
        self._now.command = json.loads(rest)

    def _handle_copy(self, rest: str) -> None:
        *sources, target = rest.split()
        if sources[0].startswith("--from="):
            stage = self._stages[sources.pop(0).removeprefix("--from=")]
            found = [stage.layers[0] / source.lstrip("/") for source in sources]
        else:
            ignore = self._context / ".dockerignore"
            is_sent = partial(is_in_context, ignore_file=ignore.read_text()) if ignore.exists() else bool
            found = [self._context / source for source in sources if is_sent(source)]
        missing = len(sources) - sum(path.exists() for path in found)
        if missing:
            raise BuildError(f"COPY {rest}: {missing} sources are not in the context")
        place = self._now.layers[0] / str(Path(self._now.workdir) / target).lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        for path in found:
            if path.is_dir():
                skip = shutil.ignore_patterns("__pycache__") if not sources[0].startswith("/") else None
                shutil.copytree(path, place, symlinks=True, dirs_exist_ok=True, ignore=skip)
                place.chmod(0o755)  # as Docker makes it, whatever the source's own mode is
            elif target.endswith("/"):
                place.mkdir(exist_ok=True)
                shutil.copy(path, place)
            else:
                shutil.copy(path, place)

    def _handle_run(self, rest: str) -> None:
        image = self._now
        inner = f"cd {image.workdir} && {rest}"
        root = self._roots.new_layer()
        script = self._roots.mount_script(image.layers[1:], image.layers[0], root)
        script += f"exec chroot {root} /bin/sh -c {shlex.quote(inner)}"
        done = subprocess.run(
            ["unshare", "--mount", "--propagation", "slave", "sh", "-c", script],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise BuildError(f"RUN {rest}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
