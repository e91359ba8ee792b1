"""The wheel that people install: it holds all that is needed, and runs without this repository."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

from tests.support.processes import ROOT


def test_the_wheel_holds_both_packages_with_scripts_client_and_types(tmp_path: Path) -> None:
    command = ["-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run([sys.executable, *command], cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    scripts = {path.name for path in (ROOT / "broker" / "htagweb_broker" / "lua").glob("*.lua")}
    assert {f"htagweb_broker/lua/{name}" for name in scripts} <= names
    assert {"htagweb/web/client/page.js", "htagweb/py.typed", "htagweb_broker/py.typed"} <= names
    assert not [name for name in names if name.startswith(("tests", "examples", "broker/"))]


def test_the_installed_command_knows_its_version(tmp_path: Path) -> None:
    command = Path(sys.executable).with_name("htagweb-supervisor")
    result = subprocess.run([command, "--version"], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert result.stdout.startswith("htagweb-supervisor 2.")
