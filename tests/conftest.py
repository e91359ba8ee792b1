"""Fixtures for all tests: none leaves a process, a directory or an event loop's task behind."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import psutil
import pytest
import pytest_asyncio
from hypothesis import settings

from htagweb.embedded import stack_directories
from tests.support.page import PageClient
from tests.support.stack import Stack
from tests.support.waiting import until_sync

settings.register_profile("ours", deadline=None, database=None)  # a busy machine is no failure
settings.load_profile("ours")

MARK = "TESTS_OF"
"""In the environment of whatever these tests start: their process's id. Others may run beside them."""


def pytest_configure(config: pytest.Config) -> None:
    """Mark what is started from here on, and give private stacks a place of this process's own."""
    os.environ[MARK] = str(os.getpid())
    os.environ["XDG_RUNTIME_DIR"] = directory = tempfile.mkdtemp(prefix="htagweb-tests-")
    config.add_cleanup(lambda: shutil.rmtree(directory, ignore_errors=True))


def _ours() -> set[int]:
    """Return this process's children, and orphans of ours: nobody's child, but with our mark."""
    here = os.getpid()
    found = set()
    for process in psutil.process_iter(["ppid", "environ", "status"]):
        is_orphan = process.info["ppid"] == 1 and (process.info["environ"] or {}).get(MARK) == str(here)
        if is_orphan or (process.info["ppid"] == here and process.info["status"] != psutil.STATUS_ZOMBIE):
            found.add(process.pid)
    return found - {pid for stack in Stack.open_ones for pid in stack.pids()}


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """Fail a test that leaves a child, an orphan or a private stack's directory."""
    before, directories = _ours(), set(stack_directories())
    yield
    until_sync(
        lambda: _ours() <= before and set(stack_directories()) <= directories,
        f"no process or directory is left (there are now {_ours() - before})",
        10,
    )


@pytest_asyncio.fixture(autouse=True)
async def no_task_is_left() -> AsyncIterator[None]:
    """Fail a test that leaves a task in its event loop."""
    before = asyncio.all_tasks()
    yield
    left = {task for task in asyncio.all_tasks() - before if not task.done()}
    left.discard(asyncio.current_task())
    assert not left, f"tasks left: {left}"


@pytest.fixture
def make_stack(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Callable[..., Stack]]:
    """Give a function that makes an installation of broker alone; parts are added to it."""
    stacks: list[Stack] = []

    def make(kind: str = "valkey", *server_options: str) -> Stack:
        directory = tmp_path / f"stack{len(stacks)}"
        directory.mkdir()
        stacks.append(Stack(directory, kind, *server_options))
        return stacks[-1]

    yield make
    for stack in stacks:
        try:
            stack.close()
        finally:
            request.node.add_report_section("teardown", "logs", stack.logs())


@pytest.fixture(scope="module")
def shared_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Give an installation that the module's tests share: for tests that break nothing."""
    stack = Stack(tmp_path_factory.mktemp("stack"))
    try:
        stack.add_supervisor()
        stack.add_worker()
        yield stack
    finally:
        stack.close()


@pytest.fixture
def stack(make_stack: Callable[..., Stack]) -> Stack:
    """Give an installation with one supervisor and one web worker."""
    made = make_stack()
    made.add_supervisor()
    made.add_worker()
    return made


@pytest_asyncio.fixture
async def new_page() -> AsyncIterator[Callable[..., PageClient]]:
    """Give a function that makes a page of a new user."""
    pages: list[PageClient] = []

    def make(base: str) -> PageClient:
        pages.append(PageClient(base))
        return pages[-1]

    yield make
    for page in pages:
        await page.close()
