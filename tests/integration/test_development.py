"""Apps that are being developed: what is saved takes effect, what is wrong is shown, in debug alone."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from tests.support.projects import Project
from tests.support.waiting import until, until_sync

if TYPE_CHECKING:
    from tests.support.page import PageClient

NewPage = Callable[[str], "PageClient"]


@pytest.fixture(scope="module")
def developed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """Give a project that is served with debug."""
    project = Project(tmp_path_factory.mktemp("developed"), debug=True)
    until_sync(lambda: "Uvicorn running" in project.server.process.text(), "it serves", 30)
    yield project
    project.close()


@pytest.fixture(scope="module")
def public(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """Give a project that is served without debug."""
    project = Project(tmp_path_factory.mktemp("public"), debug=False)
    until_sync(lambda: "Uvicorn running" in project.server.process.text(), "it serves", 30)
    yield project
    project.close()


@pytest.fixture
async def page(developed: Project, new_page: NewPage) -> PageClient:
    """Give a page that is open and shows the first text."""
    developed.restore()
    page = new_page(developed.base)
    await shows(page, "hello")
    await page.connect()
    return page


def said(html: str, css_class: str = "words") -> str:
    """Return the text of a tag of the page, or the page when there is none."""
    found = re.search(rf'class="{css_class}"[^>]*>(.*?)<', html)
    return found[1] if found else html


async def shows(page: PageClient, text: str) -> None:
    """Load the page until it shows the text."""

    async def does() -> bool:
        response = await page.http.get(page.base)
        return response.status_code == 200 and said(response.text) == text

    await until(does, f"the page shows {text!r}")
    await page.open()


async def comes_back(page: PageClient) -> None:
    """Wait until the page was told to come back with the new source, and do so."""
    await until(lambda: page.ends or page.reloads, "the page is told to come back")
    assert [end["reason"] for end in page.ends] == ["changed"]
    assert page.ends[0]["restart"] == "auto"
    await page.open()


# What is saved


@pytest.mark.parametrize("name", ["server.py", "words.py"])
async def test_a_saved_file_ends_the_app_and_the_next_page_has_it(
    developed: Project, page: PageClient, name: str
) -> None:
    opened = int(said(page.html, "opened"))
    if name == "words.py":
        developed.say("goodbye")
    else:
        developed.replace("server.py", "words.TEXT", "'goodbye'")
    await comes_back(page)
    assert said(page.html) == "goodbye"
    assert int(said(page.html, "opened")) == opened + 1  # the session is there


async def test_a_file_that_is_replaced_by_steps_takes_effect_once(
    developed: Project, page: PageClient
) -> None:
    path = developed.directory / "words.py"
    new = path.with_name("words.py.new")
    new.write_text("TEXT = 'goodbye'\n")
    path.rename(path.with_name("words.py~"))
    os.replace(new, path)
    await comes_back(page)
    assert said(page.html) == "goodbye"


async def test_saved_in_the_same_second_with_the_same_size_it_takes_effect_too(
    developed: Project, page: PageClient
) -> None:
    path = developed.directory / "words.py"
    before = path.stat().st_mtime_ns
    developed.say("jello")
    # Python's bytecode would tell these two texts by the second alone.
    os.utime(path, ns=(before, before // 10**9 * 10**9 + 999_999_999))
    await comes_back(page)
    assert said(page.html) == "jello"


async def test_a_module_that_a_handler_imported_takes_effect(developed: Project, page: PageClient) -> None:
    await page.ask("read")
    developed.say("even later", "later.py")
    await comes_back(page)
    await page.close()
    again = type(page)(developed.base)
    await again.open()
    await again.connect()
    assert "even later" in str(await again.ask("read"))
    await again.close()


async def test_a_file_that_is_saved_while_it_is_imported_takes_effect(
    developed: Project, page: PageClient
) -> None:
    waits = "import os, time\nopen('{0}', 'w').close()\nwhile not os.path.exists('{1}'): time.sleep(0.01)\n"
    begun, go = developed.directory / "begun", developed.directory / "go"
    developed.write("words.py", "TEXT = 'goodbye'\n" + waits.format(begun, go))
    await until(lambda: page.ends, "the page is told to come back")
    async with asyncio.TaskGroup() as tasks:
        opening = tasks.create_task(page.open())
        await until(begun.exists, "the import has read the file")
        developed.say("at last")
        go.touch()
        await opening
    await shows(page, "at last")


# What is wrong


async def test_a_syntax_error_is_shown_with_its_line_and_heals_when_it_is_mended(
    developed: Project, page: PageClient
) -> None:
    developed.write("words.py", "TEXT = 'fine'\n\ndef broken(:\n")
    await until(lambda: page.ends, "the page is told to come back")
    response = await page.open(expect=500)
    assert "SyntaxError: invalid syntax" in response.text
    assert "words.py&quot;, line 3" in response.text
    assert "def broken(:" in response.text
    assert "frozen importlib" not in response.text
    assert response.headers["retry-after"] == "1"
    developed.say("mended")
    await shows(page, "mended")


async def test_a_constructor_that_raises_is_shown_and_heals_when_it_is_mended(
    developed: Project, page: PageClient
) -> None:
    developed.replace("server.py", "words.TEXT", "words.TEXT + 1")
    await until(lambda: page.ends, "the page is told to come back")
    response = await page.open(expect=500)
    assert "server.py&quot;, line 12, in init" in response.text
    developed.replace("server.py", "words.TEXT + 1", "words.TEXT + '!'")
    await shows(page, "hello!")


# Who is told


@pytest.fixture(params=[True, False], ids=["debug", "public"])
def served(request: pytest.FixtureRequest, developed: Project, public: Project) -> tuple[Project, bool]:
    """Give a project with debug and one without, and which it is."""
    return developed if request.param else public, request.param


def has_traceback(text: str) -> bool:
    """Return whether a text has a traceback, or a line of one."""
    return bool(re.search(r"Traceback|File (\"|&quot;|\\\")[^\n]*, line \d+", text))


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("faults.Init", "ValueError: no luck"),
        ("faults.Render", "ValueError: no luck"),
        ("unreadable.App", "SyntaxError"),
        ("words.App", "no class"),
        ("nowhere.App", "no module"),
    ],
)
async def test_an_app_that_cannot_start_says_why_and_its_traceback_in_debug_alone(
    served: tuple[Project, bool], new_page: NewPage, path: str, error: str
) -> None:
    project, debug = served
    response = await new_page(project.base).open(f"/{path}", expect=500)
    assert error in response.text
    has_code = path in ("faults.Init", "faults.Render", "unreadable.App")
    assert has_traceback(response.text) is (debug and has_code)
    assert ("tryAgain" in response.text) is debug


@pytest.mark.parametrize("method", ["fail", "spoil"])
async def test_an_interaction_that_fails_says_why_and_its_traceback_in_debug_alone(
    served: tuple[Project, bool], new_page: NewPage, method: str
) -> None:
    project, debug = served
    page = new_page(project.base)
    await page.open("/faults.Later")
    await page.connect()
    answer = await page.ask(method)
    assert "no luck" in answer["err"]
    assert has_traceback(str(answer)) is debug
    if method == "spoil":
        again = await page.open("/faults.Later")
        assert "ValueError: no luck" in again.text
        assert has_traceback(again.text) is debug


async def test_a_page_is_told_that_it_is_in_debug(served: tuple[Project, bool], new_page: NewPage) -> None:
    project, debug = served
    page = new_page(project.base)
    await page.open("/faults.Later")
    assert page.config.get("debug", False) is debug


async def test_without_debug_no_source_is_looked_after(public: Project, new_page: NewPage) -> None:
    page = new_page(public.base)
    await shows(page, "hello")
    public.say("goodbye")
    await shows(page, "hello")
    public.say("hello")
    assert "changed" not in public.server.process.text()
