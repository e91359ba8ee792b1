"""Apps that take more than they may: they end, their pages are told why, and nobody else notices."""

from __future__ import annotations

import os
import pwd
import stat
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import psutil
import pytest
import pytest_asyncio

from htagweb.host.engines.htag1 import NAMELESS
from tests.support.page import PageClient
from tests.support.processes import APPS, Process, python
from tests.support.stack import Stack
from tests.support.waiting import until

NewPage = Callable[[str], PageClient]
MEMORY_MB, CPU_S, PROCESSES, OPEN_FILES = 200, 3, 40, 128


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Give an installation whose apps may take little."""
    stack = Stack(tmp_path_factory.mktemp("limited"))
    try:
        stack.add_supervisor(
            *("--app-memory-mb", str(MEMORY_MB), "--app-cpu-s", str(CPU_S)),
            *("--app-processes", str(PROCESSES), "--app-open-files", str(OPEN_FILES)),
        )
        stack.add_worker()
        yield stack
    finally:
        stack.close()


@pytest_asyncio.fixture
async def greedy(limited: Stack, new_page: NewPage) -> PageClient:
    """Give a page of the app that takes too much."""
    page = new_page(limited.workers[0].base)
    await page.open("/greedy")
    await page.connect()
    return page


@pytest_asyncio.fixture(autouse=True)
async def neighbour(limited: Stack, new_page: NewPage) -> AsyncIterator[PageClient]:
    """Give another user's page of the same app, which must not notice."""
    page = new_page(limited.workers[0].base)
    await page.open("/greedy")
    await page.connect()
    yield page
    assert "still here" in str(await page.ask("say", "still here"))
    assert (page.ends, page.errors, page.reloads) == ([], [], 0)


async def ends(page: PageClient, neighbour: PageClient) -> str:
    """Wait for the page's end while the neighbour clicks; return the reason."""

    async def has_ended() -> bool:
        await neighbour.ask("say", "meanwhile")
        return bool(page.ends)

    await until(has_ended, "the page is told of the end", 30)
    assert page.ends[0]["restart"] == "button"
    return str(page.ends[0]["reason"])


def living_names(stack: Stack) -> list[str]:
    """Return the names of the supervisor's descendants: what an app started becomes its child in the end."""
    return [one.name() for one in stack.supervisor.descendants() if one.status() != psutil.STATUS_ZOMBIE]


async def test_memory_that_a_background_task_takes_ends_its_app(
    greedy: PageClient, neighbour: PageClient
) -> None:
    await greedy.ask("fill_slowly", 100)
    assert await ends(greedy, neighbour) == "memory"
    assert "more memory than it may" in greedy.ends[0]["text"]


async def test_memory_that_a_handler_takes_ends_its_app(greedy: PageClient, neighbour: PageClient) -> None:
    assert "took 250" in str(await greedy.ask("fill", 250))
    assert await ends(greedy, neighbour) == "memory"


async def test_memory_that_a_child_of_the_app_takes_ends_both(
    greedy: PageClient, neighbour: PageClient, limited: Stack
) -> None:
    await greedy.ask("fill_in_a_child", 250)
    assert await ends(greedy, neighbour) == "memory"
    await until(lambda: "greedy-child" not in living_names(limited), "the child is gone")


async def test_a_jump_far_over_the_limit_is_refused_and_the_app_lives_on(greedy: PageClient) -> None:
    answer = await greedy.ask("fill", 10_000)
    assert answer["err"] == NAMELESS
    assert "alive" in str(await greedy.ask("say", "alive"))
    assert greedy.ends == []


async def test_a_thread_that_computes_for_ever_ends_its_app_with_its_stack_in_the_log(
    greedy: PageClient, neighbour: PageClient, limited: Stack
) -> None:
    await greedy.ask("spin")
    assert await ends(greedy, neighbour) == "cpu"
    await until(
        lambda: "it takes more than it may (cpu), its stack" in limited.supervisor.text(), "it is logged"
    )
    await until(lambda: "greedy_app.py" in limited.supervisor.text(), "the stack is there")


async def test_processes_over_the_limit_end_with_their_app(
    greedy: PageClient, neighbour: PageClient, limited: Stack
) -> None:
    await greedy.ask("start", PROCESSES + 20)
    assert await ends(greedy, neighbour) == "processes"

    await until(lambda: "sleep" not in living_names(limited), "what it started is gone")


async def test_a_file_too_many_is_the_handlers_error_and_the_app_lives_on(greedy: PageClient) -> None:
    await greedy.ask("open_files")
    assert "Too many open files" in greedy.errors[0]
    assert "alive" in str(await greedy.ask("say", "alive"))


async def test_an_app_cannot_gain_rights(greedy: PageClient) -> None:
    assert "gains=False" in str(await greedy.ask("rights"))


async def test_the_log_says_at_the_start_what_apps_may_take(limited: Stack) -> None:
    text = (
        "an app may take 200 MiB of memory, 3 CPU seconds in 300 s, 40 processes and threads, 128 open files"
    )
    assert text in limited.supervisor.text()


OPEN = """set -e
mount -t tmpfs tmpfs {scratch} && mkdir -m 755 {scratch}/upper {scratch}/work
mount -t overlay overlay -o lowerdir={closed},upperdir={scratch}/upper,workdir={scratch}/work {closed}
"""
"""Mount the folder once more, for one process and its children, such that everybody may enter."""


def open_to_all(program: str, scratch: Path) -> str:
    """Return shell lines after which every user may run the program, wherever it lies."""
    closed = [
        parent for parent in Path(program).resolve().parents if not parent.stat().st_mode & stat.S_IXOTH
    ]
    scratch.mkdir()
    return OPEN.format(scratch=scratch, closed=closed[-1]) if closed else ""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user")
async def test_apps_run_as_the_user_that_is_set(
    make_stack: Callable[[], Stack], new_page: NewPage, tmp_path: Path
) -> None:
    nobody, stack = pwd.getpwnam("nobody"), make_stack()
    command = python("-m", "htagweb.supervisor.cli", "--app-dir", str(APPS), "--app-user", "nobody")
    script = open_to_all(sys.executable, tmp_path / "scratch") + 'exec "$@"'
    wrapped = ["unshare", "--mount", "sh", "-c", script, "sh", *command]
    supervisor = Process("supervisor1", wrapped, stack.directory / "supervisor1.log", stack.env)
    stack.supervisors.append(supervisor)
    supervisor.wait_for("is ready")
    page = new_page(stack.add_worker().base)
    await page.open("/greedy")
    await page.connect()
    shown = str(await page.ask("rights"))
    assert f"uid={nobody.pw_uid} gid={nobody.pw_gid} gains=False" in shown
    await page.click("fill", 1500)
    await until(lambda: page.ends, "another user's app is limited too")
    assert page.ends[0]["reason"] == "memory"
    await new_page(page.base).open("/greedy")
    supervisor.kill()  # its apps have to die with it, though they are another's: a fixture looks
