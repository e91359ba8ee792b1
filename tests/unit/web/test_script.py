"""The browser client: one script out of all its files."""

from importlib.resources import files

from htagweb.web import script


def test_every_file_of_the_client_is_a_part_of_the_script() -> None:
    folder = files("htagweb.web").joinpath("client")
    assert {f"{name}.js" for name in script.PARTS} == {path.name for path in folder.iterdir()}
    assert all(folder.joinpath(f"{name}.js").read_text() in script.CLIENT_JS for name in script.PARTS)


def test_the_script_has_one_scope_of_its_own_and_is_strict() -> None:
    assert script.CLIENT_JS.startswith('(() => {\n"use strict";\n')
    assert script.CLIENT_JS.endswith("})();\n")


def test_the_page_that_puts_the_parts_together_is_the_last() -> None:
    assert script.PARTS[-1] == "page"


def test_the_script_is_ascii_as_the_page_decides_its_encoding() -> None:
    assert script.CLIENT_JS.isascii()
