"""The watch over source files, with a clock and a file system of the test's own."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path

import pytest

from htagweb.host.sources import Signature
from htagweb.supervisor import sources
from htagweb.supervisor.sources import LOOK_S, Disk, SourceWatcher, Watch
from tests.support.fakes import FakeClock

APP, PART, BESIDE = "/p/app.py", "/p/parts/part.py", "/p/beside.py"
IMPORTED: dict[str, Signature] = {APP: (1, 10), PART: (1, 20)}


class FakeFiles:
    """A file system: a test says what there is."""

    def __init__(self) -> None:
        self.there: dict[str, Signature] = dict(IMPORTED)
        self.looked_at: list[str] = []
        self.broken = False

    def signature(self, path: str) -> Signature | None:
        if self.broken:
            raise RuntimeError("the file system is broken")
        self.looked_at.append(path)
        return self.there.get(path)

    def sources(self, directory: str) -> Iterable[str]:
        return sorted(path for path in self.there if os.path.dirname(path) == directory)


class Rig:
    """A watcher, its clock and files, and what it found changed."""

    def __init__(self) -> None:
        self.clock, self.files = FakeClock(), FakeFiles()
        self.watched: dict[str, Watch] = {}
        self.changed: list[str] = []
        self.watcher = SourceWatcher(self.watched.items, self._note, self.clock)

    def watch(self, app: str = "app", imported: Mapping[str, Signature] = IMPORTED) -> None:
        """Watch what an import has read."""
        self.watched[app] = Watch(imported, self.files)

    def _note(self, app: str) -> None:
        self.changed.append(app)
        del self.watched[app]

    async def looks(self, count: int = 1) -> list[str]:
        """Let so many looks be taken; return what has changed until then."""
        for _ in range(count):
            await self.clock.advance(LOOK_S)
        return self.changed


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    """Give a watcher that runs."""
    async with asyncio.TaskGroup() as tasks:
        made = Rig()
        made.watch()
        running = tasks.create_task(made.watcher.run())
        yield made
        running.cancel()


async def test_files_that_stay_as_they_are_change_nothing(rig: Rig) -> None:
    assert await rig.looks(5) == []


@pytest.mark.parametrize("path", [APP, PART])
@pytest.mark.parametrize("now", [(2, 10), (1, 11), (0, 10)], ids=["time", "size", "older"])
async def test_a_saved_file_is_a_change_at_the_second_look(rig: Rig, path: str, now: Signature) -> None:
    await rig.looks()
    rig.files.there[path] = now
    assert await rig.looks() == []
    assert await rig.looks() == ["app"]


async def test_a_file_that_was_saved_while_it_was_imported_is_a_change(rig: Rig) -> None:
    rig.files.there[APP] = (2, 10)
    assert await rig.looks(2) == ["app"]


async def test_as_long_as_files_change_nothing_is_said(rig: Rig) -> None:
    for number in range(2, 8):
        rig.files.there[APP if number % 2 else PART] = (number, 10)
        assert await rig.looks() == []
    assert await rig.looks() == ["app"]


async def test_a_file_that_is_gone_for_a_moment_and_comes_back_as_it_was_is_no_change(rig: Rig) -> None:
    await rig.looks()
    del rig.files.there[APP]
    await rig.looks()
    rig.files.there[APP] = IMPORTED[APP]
    assert await rig.looks(3) == []


async def test_a_file_that_was_replaced_with_a_moment_between_is_one_change(rig: Rig) -> None:
    await rig.looks()
    del rig.files.there[APP]
    await rig.looks()
    rig.files.there[APP] = (5, 50)
    assert await rig.looks(4) == ["app"]


async def test_an_imported_file_that_stays_away_is_a_change(rig: Rig) -> None:
    del rig.files.there[PART]
    assert await rig.looks(2) == ["app"]


async def test_a_new_file_beside_is_no_change_until_it_is_saved_again(rig: Rig) -> None:
    await rig.looks()
    rig.files.there[BESIDE] = (3, 30)
    assert await rig.looks(3) == []
    rig.files.there[BESIDE] = (4, 30)
    assert await rig.looks(2) == ["app"]


async def test_a_file_beside_is_known_as_it_was_when_the_watch_began(rig: Rig) -> None:
    rig.files.there[BESIDE] = (3, 30)
    rig.watch()
    rig.files.there[BESIDE] = (4, 30)
    assert await rig.looks(2) == ["app"]


async def test_a_file_beside_that_is_gone_for_a_moment_is_still_known(rig: Rig) -> None:
    rig.files.there[BESIDE] = (3, 30)
    await rig.looks()
    del rig.files.there[BESIDE]
    await rig.looks()
    rig.files.there[BESIDE] = (4, 30)
    assert await rig.looks(2) == ["app"]


async def test_files_that_tools_leave_beside_and_remove_again_change_nothing(rig: Rig) -> None:
    for number in range(3):
        rig.files.there[BESIDE] = (number, 30)
        await rig.looks(2)
        del rig.files.there[BESIDE]
        assert await rig.looks(2) == []


async def test_each_change_is_said_once_and_the_next_template_is_watched_from_its_import(rig: Rig) -> None:
    rig.files.there[APP] = (2, 10)
    await rig.looks(5)
    rig.watch(imported={APP: (2, 10)})
    assert await rig.looks(5) == ["app"]
    rig.files.there[APP] = (3, 10)
    assert await rig.looks(2) == ["app", "app"]


async def test_one_changed_app_leaves_the_others(rig: Rig) -> None:
    rig.watch("other", {"/q/other.py": (1, 1)})
    rig.files.there["/q/other.py"] = (2, 1)
    assert await rig.looks(3) == ["other"]


async def test_apps_that_nobody_develops_are_not_looked_at(rig: Rig) -> None:
    rig.watched.clear()
    rig.files.looked_at.clear()
    await rig.looks(3)
    assert rig.files.looked_at == []


async def test_only_so_many_files_are_looked_at_the_imported_ones_first(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "MAX_FILES", 4)
    rig.files.there |= {f"/p/a{number}.py": (1, 1) for number in range(10)}
    rig.files.looked_at.clear()
    rig.watch()
    assert rig.files.looked_at == [APP, PART, "/p/a0.py", "/p/a1.py"]


async def test_an_error_is_logged_and_the_next_look_is_taken(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    rig.files.broken = True
    await rig.looks(2)
    assert "the file system is broken" in caplog.text
    rig.files.broken = False
    rig.files.there[APP] = (2, 10)
    assert await rig.looks(2) == ["app"]


async def test_the_log_names_the_files(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    rig.files.there |= {APP: (2, 10), PART: (2, 20)}
    await rig.looks(2)
    assert f"have changed, their apps start anew: {APP}, {PART}" in caplog.text


def test_the_disk_knows_python_files_but_not_those_that_editors_hide(tmp_path: Path) -> None:
    for name in ("b.py", "a.py", ".#a.py", "a.pyc", "a.py~", "4913"):
        (tmp_path / name).write_text("x")
    disk = Disk()
    assert list(disk.sources(str(tmp_path))) == [str(tmp_path / "a.py"), str(tmp_path / "b.py")]
    status = (tmp_path / "a.py").stat()
    assert disk.signature(str(tmp_path / "a.py")) == (status.st_mtime_ns, 1)


def test_what_is_not_there_is_no_error_of_the_disk(tmp_path: Path) -> None:
    assert list(Disk().sources(str(tmp_path / "nowhere"))) == []
    assert Disk().signature(str(tmp_path / "nowhere.py")) is None
