"""An app's name: every form that is taken, and what is said about the others."""

import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import pytest
from htag import Tag

from htagweb.naming import app_name


class App(Tag.div):  # type: ignore[misc]
    """At the top of its module."""

    class Inner(Tag.div):  # type: ignore[misc]
        """Inside a class."""


class NoTag:
    """Not an app."""


def main_app(**names: object) -> type:
    """Return an app whose module is the script that is being run."""
    return type("MainApp", (Tag.div,), {"__module__": "__main__", **names})


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("module.App", "module.App"),
        ("module:App", "module.App"),
        ("package.module.App", "package.module.App"),
        ("package.module:App", "package.module.App"),
        ("_private._App", "_private._App"),
        ("with-dash.more-1.App", "with-dash.more-1.App"),
        ("módulo.Ünï", "módulo.Ünï"),
        ("m1.A2", "m1.A2"),
    ],
)
def test_a_text_that_names_module_and_class_is_taken(text: str, name: str) -> None:
    assert app_name(text) == name


@pytest.mark.parametrize(
    "text",
    ["", "App", ".App", "module.", ":App", "module:", "a..App", "a:b:App", "1a.App", "a.1App", "a b.App"]
    + ["a.App\n", "\na.App", "a/b.App", "../a.App", "a.App()", "-a.App", "a-.App", "a.b;App", "a.App\0"],
)
def test_any_other_text_is_refused_with_what_was_expected(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected 'module\.Class' or 'module:Class', got "):
        app_name(text)


def test_a_class_is_named_by_its_module() -> None:
    assert app_name(App) == f"{__name__}.App"


def test_a_module_is_named_by_its_app() -> None:
    module = ModuleType("m")
    module.App = App  # type: ignore[attr-defined]
    assert app_name(module) == f"{__name__}.App"


def test_a_module_without_an_app_is_refused() -> None:
    with pytest.raises(ValueError, match="expected the module 'm' to have an 'App' class"):
        app_name(ModuleType("m"))


@pytest.mark.parametrize("obj", [None, 1, NoTag, Tag, object(), Tag.div("x")], ids=str)
def test_what_is_no_app_is_refused(obj: object) -> None:
    with pytest.raises(TypeError, match="expected a htag class, a module with one, or its name, got "):
        app_name(obj)


def test_a_module_whose_app_is_no_app_is_refused() -> None:
    module = ModuleType("m")
    module.App = NoTag  # type: ignore[attr-defined]
    with pytest.raises(TypeError, match="expected a htag class"):
        app_name(module)


def test_a_class_inside_a_class_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'App\.Inner' is inside something"):
        app_name(App.Inner)


def test_a_class_inside_a_function_is_refused() -> None:
    class Local(Tag.div):  # type: ignore[misc]
        pass

    with pytest.raises(ValueError, match="is inside something"):
        app_name(Local)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("site.py", "site.MainApp"),
        ("package/site.py", "package.site.MainApp"),
        ("package/my-site.py", "package.my-site.MainApp"),
        ("../elsewhere/site.py", "site.MainApp"),
        ("folder.d/site.py", "site.MainApp"),
    ],
)
def test_a_script_is_named_as_it_can_be_imported(
    path: str, name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    main = ModuleType("__main__")
    main.__file__ = str(here / path)
    monkeypatch.setitem(sys.modules, "__main__", main)
    assert app_name(main_app()) == name


def test_a_module_that_is_run_by_python_m_has_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    main = ModuleType("__main__")
    main.__spec__ = ModuleSpec("package.site", None)
    monkeypatch.setitem(sys.modules, "__main__", main)
    assert app_name(main_app()) == "package.site.MainApp"


def test_an_app_of_an_interactive_session_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "__main__", ModuleType("__main__"))
    with pytest.raises(ValueError, match="interactive session"):
        app_name(main_app())
