"""Root file systems: this machine's as the lowest layer, images and containers as layers over it."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

BASE_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass
class Image:
    """Layers, the topmost first, and how a container of it starts."""

    layers: list[Path]
    env: dict[str, str] = field(default_factory=lambda: {"PATH": BASE_PATH})
    workdir: str = "/"
    user: str = "0"
    command: list[str] = field(default_factory=list)


class Roots:
    """Where layers are kept: in memory, as an overlay's upper layer must not lie in its lower one."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._count = 0
        directory.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "htagweb-roots", directory], check=True)

    def new_layer(self) -> Path:
        """Return a new, empty layer."""
        self._count += 1
        layer = self._directory / str(self._count)
        layer.mkdir()
        return layer

    def base(self, binaries: Mapping[str, str], env: Mapping[str, str], command: Sequence[str] = ()) -> Image:
        """Return an image of this machine, with programs under the names that the real image gives them."""
        layer = self.new_layer()
        programs = layer / "usr/local/bin"
        programs.mkdir(parents=True)
        for name, target in binaries.items():
            if Path(target).is_relative_to("/usr") or name.startswith("python"):
                (programs / name).symlink_to(target)
            else:  # this checkout may lie in /tmp, where a container has something else
                shutil.copy(target, programs / name)
            # A program of this machine may lie where only root may enter; in a container anybody may.
            for parent in [*Path(target).resolve().parents][:-1]:
                (layer / parent.relative_to("/")).mkdir(parents=True, exist_ok=True)
        return Image([layer], {"PATH": BASE_PATH, **env}, command=list(command))

    def python(self) -> Image:
        """Return what stands for a ``python`` image."""
        found = f"{sys.base_prefix}/bin/python3"
        return self.base({"python": found, "python3": found}, {})

    def mount_script(self, layers: Sequence[Path], upper: Path, root: Path) -> str:
        """Return shell lines that make a root of layers, with /proc and /dev; upper takes what is written."""
        lower = ":".join([*map(str, layers), "/"])
        options = f"lowerdir={lower},upperdir={upper},workdir={self.new_layer()}"
        return f"""set -e
mount -t overlay overlay -o {shlex.quote(options)} {root}
mount --rbind /proc {root}/proc
mount --rbind /dev {root}/dev
"""

    def remove(self) -> None:
        """Remove all layers."""
        subprocess.run(["umount", "--lazy", self._directory], check=True)
        shutil.rmtree(self._directory)
