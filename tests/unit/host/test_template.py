"""What a template tells of its import: the files it read, or why it failed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from htagweb.host import frames
from htagweb.host.engines import AppImportError
from htagweb.host.engines.htag1 import load
from htagweb.host.template import import_failed_packet, ready_packet


def told_sources(read: dict[str, tuple[int, int]]) -> dict[str, tuple[int, int]]:
    """Return the sources as the supervisor hears of them."""
    packet = frames.decode_from_template(ready_packet(0.1, 0, read))
    assert isinstance(packet, frames.Ready)
    return packet.sources


def told_failure(name: str) -> frames.ImportFailed:
    """Return what the supervisor hears of an import that fails."""
    with pytest.raises(AppImportError) as caught:
        load(name)
    packet = frames.decode_from_template(import_failed_packet(caught.value))
    assert isinstance(packet, frames.ImportFailed)
    return packet


def test_all_sources_are_told_when_they_fit() -> None:
    read = {f"/project/part{number}.py": (10**18 + number, number) for number in range(300)}
    assert told_sources(read) == read


def test_of_too_many_sources_the_first_are_told() -> None:
    read = {f"/project/{'deep/' * 40}part{number}.py": (10**18, number) for number in range(1000)}
    told = told_sources(read)
    assert 150 < len(told) < 1000
    assert list(told) == list(read)[: len(told)]


def test_a_path_that_is_no_utf8_is_left_out() -> None:
    assert told_sources({"/project/\udcff.py": (1, 1), "/project/a.py": (1, 1)}) == {"/project/a.py": (1, 1)}


def test_a_traceback_begins_in_the_apps_own_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "outer_for_tests.py").write_text("\nimport inner_for_tests\n")
    (tmp_path / "inner_for_tests.py").write_text("def broken(:\n")
    trace = told_failure("outer_for_tests.App").traceback
    files = [line.strip() for line in trace.splitlines() if line.strip().startswith("File ")]
    assert files == [
        f'File "{tmp_path}/outer_for_tests.py", line 2, in <module>',
        f'File "{tmp_path}/inner_for_tests.py", line 1',
    ]


def test_a_module_that_is_not_there_has_no_line_to_show() -> None:
    assert "nowhere_for_tests" not in sys.modules
    failure = told_failure("nowhere_for_tests.App")
    assert failure.error.startswith("there is no module 'nowhere_for_tests'")
    assert "File " not in failure.traceback
