"""What an import read: the project's files, each as it was before it was read."""

import importlib
import os
import sys
from collections.abc import Iterator
from importlib.machinery import SourceFileLoader
from importlib.util import cache_from_source
from pathlib import Path

import pytest

from htagweb.host.sources import is_project_file, recorded, signature


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give a directory that is imported from; its modules are forgotten afterwards."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_the_projects_files_are_recorded_in_the_order_of_their_import(project: Path) -> None:
    (project / "parts").mkdir()
    paths = [project / "shop.py", project / "parts/__init__.py", project / "parts/cart.py"]
    for path, text in zip(paths, ["import parts.cart", "", "import this_is_nowhere_else as x"], strict=True):
        path.write_text(text)
    (project / "this_is_nowhere_else.py").write_text("")
    with recorded() as read:
        importlib.import_module("shop")
    assert list(read) == [*map(str, paths), str(project / "this_is_nowhere_else.py")]
    assert read[str(paths[0])] == signature(paths[0].stat())


def test_a_file_that_is_saved_while_it_is_imported_was_read_before(project: Path) -> None:
    text = "from pathlib import Path\nPath(__file__).write_text('')\n"
    path = project / "restless.py"
    path.write_text(text)
    with recorded() as read:
        importlib.import_module("restless")
    assert read[str(path)][1] == len(text)
    assert read[str(path)] != signature(path.stat())


def test_what_a_failed_import_read_is_known_too(project: Path) -> None:
    (project / "first.py").write_text("import second\n")
    (project / "second.py").write_text("def broken(:\n")
    with recorded() as read, pytest.raises(SyntaxError):
        importlib.import_module("first")
    assert list(read) == [str(project / "first.py"), str(project / "second.py")]


def test_nothing_is_recorded_after_the_block(project: Path) -> None:
    before = SourceFileLoader.path_stats
    (project / "late.py").write_text("")
    with recorded() as read:
        pass
    importlib.import_module("late")
    assert not read
    assert SourceFileLoader.path_stats is before


def test_a_file_that_was_saved_twice_in_a_second_is_imported_as_it_is_now(project: Path) -> None:
    path = project / "hasty.py"
    for number, nanoseconds in ((1, 100), (2, 200)):
        path.write_text(f"number = {number}\n")
        # Later than the bytecode that the import of the first text wrote, in the same second of the source.
        os.utime(path, ns=(0, 4_000_000_000 * 10**9 + nanoseconds))
        importlib.invalidate_caches()
        sys.modules.pop("hasty", None)
        with recorded():
            assert importlib.import_module("hasty").number == number


def test_bytecode_that_is_younger_than_its_source_is_kept(project: Path) -> None:
    path = project / "calm.py"
    path.write_text("")
    os.utime(path, (1, 1))
    importlib.import_module("calm")
    bytecode = Path(cache_from_source(str(path)))
    written = bytecode.stat()
    del sys.modules["calm"]
    with recorded():
        importlib.import_module("calm")
    assert bytecode.stat().st_ino == written.st_ino


@pytest.mark.parametrize(
    ("module", "path", "expected"),
    [
        ("shop", "/srv/shop/shop.py", True),
        ("shop", "/srv/shop/.venv/lib/python3.11/site-packages/shop.py", False),
        ("shop", "/usr/lib/python3/dist-packages/shop.py", False),
        ("json.decoder", importlib.import_module("json.decoder").__file__, False),
        ("htagweb.runner", "/srv/htagweb/runner.py", False),
        ("htagweb_broker", "/srv/broker/htagweb_broker/__init__.py", False),
        ("htagweb_shop", "/srv/htagweb_shop.py", True),
    ],
)
def test_the_projects_files_are_told_from_all_others(module: str, path: str, expected: bool) -> None:
    assert is_project_file(module, path) is expected
