"""What a template tells of its import, the files it read or why it failed; and what its rehearsal leaves."""

from __future__ import annotations

import gc
import logging
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest

from htagweb.host import frames, template
from htagweb.host.engines import AppImportError
from htagweb.host.engines.htag1 import load, rehearsal_app
from htagweb.host.template import import_failed_packet, ready_packet, rehearse


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


class Finalized:
    """Garbage of the user's import: only a collection finds it, and then it logs."""

    def __init__(self) -> None:
        self.itself = self

    def __del__(self) -> None:
        logging.getLogger("app_for_tests").warning("finalized")


@pytest.fixture
def no_collection() -> Iterator[None]:
    """Leave collecting to who asks for it, as a template does."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
def quiet_below_warning() -> Iterator[None]:
    """Have set up logging as a user's import may."""
    logging.disable(logging.INFO)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.usefixtures("no_collection")
def test_a_rehearsal_says_nothing_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    apps = []

    def app() -> type:
        made = rehearsal_app()
        apps.append(weakref.ref(made))
        return made

    monkeypatch.setattr(template, "rehearsal_app", app)
    caplog.set_level(logging.DEBUG)
    rehearse()
    gc.collect()
    assert len(apps) == template.REHEARSALS + 1
    assert not [found for found in apps if found() is not None]
    assert capfd.readouterr() == ("", "")
    assert caplog.messages == []


@pytest.mark.usefixtures("no_collection")
def test_what_the_users_garbage_logs_is_heard_when_the_rehearsal_collects_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    Finalized()
    rehearse()
    assert caplog.messages == ["finalized"]


@pytest.mark.usefixtures("quiet_below_warning")
def test_a_rehearsal_that_fails_is_told_once_and_logging_is_as_it_was(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def broken() -> type:
        raise RuntimeError("no app today")

    monkeypatch.setattr(template, "rehearsal_app", broken)
    rehearse()
    told = capfd.readouterr().err
    assert told.startswith("htagweb: the rehearsal failed, apps will start slower: ")
    assert told.count("htagweb: ") == 1
    assert "no app today" in told
    assert logging.root.manager.disable == logging.INFO
