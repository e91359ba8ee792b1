"""Apps that cannot start: the page says what is wrong, the traceback is the log's."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.page import PageClient
from tests.support.stack import Stack
from tests.support.waiting import until

NewPage = Callable[[str], PageClient]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/failing", "ValueError: no luck today"),
        ("/no-module", "no_such_module"),
        ("/no-class", "Nothing"),
    ],
)
async def test_the_page_says_what_is_wrong_without_a_traceback(
    shared_stack: Stack, new_page: NewPage, path: str, expected: str
) -> None:
    page = new_page(shared_stack.workers[0].base)
    response = await page.open(path, expect=500)
    assert expected in response.text
    assert "Traceback" not in response.text


async def test_a_broken_module_is_told_and_heals_when_it_is_mended(
    shared_stack: Stack, new_page: NewPage
) -> None:
    module = shared_stack.directory / "broken_app.py"
    module.write_text("def broken(:\n")
    page = new_page(shared_stack.workers[0].base)
    response = await page.open("/broken", expect=500)
    assert "SyntaxError" in response.text
    module.write_text(
        "from htag import Tag\nclass App(Tag.body):\n    def init(self):\n        self <= 'healed'\n"
    )
    await page.open("/broken")
    assert "healed" in page.html


async def test_a_constructor_that_takes_too_long_is_ended_and_told(
    shared_stack: Stack, new_page: NewPage
) -> None:
    page = new_page(shared_stack.workers[0].base)
    response = await page.open("/slow", expect=504)
    assert "did not start within 1 s" in response.text
    await until(lambda: "ended: interaction_timeout" in shared_stack.supervisor.text(), "its end is logged")


async def test_what_a_module_prints_at_its_import_is_logged_line_by_line_and_prefixed(
    stack: Stack, new_page: NewPage
) -> None:
    module = stack.directory / "broken_app.py"
    module.write_text(
        "import sys\nprint('first\\nsecond')\n"
        "print('third', file=sys.stderr, end='')\nraise ValueError('no')\n"
    )
    await new_page(stack.workers[0].base).open("/broken", expect=500)
    lines = ("first", "second", "third")
    await until(
        lambda: all(f"[broken_app.App] | {line}\n" in stack.supervisor.text() for line in lines),
        "each line is logged with its app",
    )
