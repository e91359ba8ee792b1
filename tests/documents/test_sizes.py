"""The sizes that CONTRIBUTING names: a file or function that outgrows them asks for another design."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = [*ROOT.glob("htagweb/**/*.py"), *ROOT.glob("htagweb/**/*.js"), *ROOT.glob("broker/**/*.py")]
TESTS = [*ROOT.glob("tests/**/*.py"), *ROOT.glob("benchmarks/**/*.py")]
SCRIPTS = [*ROOT.glob("broker/**/*.lua")]
LIMITS = (
    [(path, 400) for path in SOURCES] + [(path, 500) for path in TESTS] + [(path, 60) for path in SCRIPTS]
)
FUNCTION_LINES = 50


@pytest.mark.parametrize(("path", "limit"), LIMITS, ids=lambda value: getattr(value, "name", str(value)))
def test_a_file_keeps_its_limit(path: Path, limit: int) -> None:
    assert len(path.read_text().splitlines()) <= limit


def test_no_function_is_longer_than_fifty_lines() -> None:
    long = []
    for path in (path for path in SOURCES if path.suffix == ".py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno is not None
                if node.end_lineno - node.lineno + 1 > FUNCTION_LINES:
                    long.append(f"{path.name}: {node.name}")
    assert long == []
