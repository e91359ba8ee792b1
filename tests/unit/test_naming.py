"""An app's name: every form that is taken, and what is said about the others."""

import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import pytest
from htag import Tag

from htagweb.naming import app_name, is_meant_as_app


class App(Tag.div):  # type: ignore[misc]
    """At the top of its module."""

    class Inner(Tag.div):  # type: ignore[misc]
        """Inside a class."""


class NoTag:
    """Not an app."""


def main_app(main: ModuleType, monkeypatch: pytest.MonkeyPatch) -> type:
    """Return an app of the script that is being run."""
    app = type("MainApp", (Tag.div,), {"__module__": "__main__"})
    main.MainApp = app  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "__main__", main)
    return app


def module_with(app: object) -> ModuleType:
    """Return a module named m whose ``App`` is the given object."""
    module = ModuleType("m")
    module.App = app  # type: ignore[attr-defined]
    return module


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
    assert app_name(module_with(App)) == f"{__name__}.App"


@pytest.mark.parametrize("text", ["main", "_m", "my-app", "App"])
def test_one_word_is_refused_with_what_is_missing(text: str) -> None:
    with pytest.raises(ValueError, match=f"name its class too, as in '{text}.App'"):
        app_name(text)


def test_a_module_without_an_app_is_refused_with_what_to_do() -> None:
    with pytest.raises(ValueError, match=r"expected the module 'm' to have an 'App' class.* 'm\.Class'"):
        app_name(ModuleType("m"))


@pytest.mark.parametrize(
    "obj",
    [None, 1, NoTag, Tag, object(), b"m.App", ["m.App"]],
    ids=lambda obj: type(obj).__name__ if " at 0x" in str(obj) else str(obj),
)
def test_what_is_no_app_is_refused(obj: object) -> None:
    with pytest.raises(TypeError, match="expected a htag class, a module with one, or its name, got "):
        app_name(obj)


@pytest.mark.parametrize("instance", [Tag.div("x"), App()], ids=["div", "App"])
def test_an_instance_is_refused_with_what_to_pass(instance: object) -> None:
    with pytest.raises(TypeError, match=r"got an instance of \w+: pass the class itself"):
        app_name(instance)


@pytest.mark.parametrize("function", [main_app, lambda: App, len], ids=["function", "lambda", "builtin"])
def test_a_function_is_refused_with_where_it_belongs(function: object) -> None:
    with pytest.raises(TypeError, match="an endpoint of your own is added by add_route"):
        app_name(function)


@pytest.mark.parametrize(
    "app",
    [NoTag, Tag, 1, "m.App", Tag.div("x")],
    ids=lambda obj: type(obj).__name__ if " at 0x" in str(obj) else str(obj),
)
def test_a_module_whose_app_is_no_app_is_refused(app: object) -> None:
    with pytest.raises(TypeError, match="expected the 'App' of the module 'm' to be a htag class, got "):
        app_name(module_with(app))


def test_a_class_inside_a_class_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'App\.Inner' is inside something"):
        app_name(App.Inner)


def test_a_class_inside_a_function_is_refused() -> None:
    class Local(Tag.div):  # type: ignore[misc]
        pass

    with pytest.raises(ValueError, match="is inside something"):
        app_name(Local)


@pytest.mark.parametrize("app", [Tag.div, type("App", (Tag.div,), {"__module__": __name__})])
def test_a_class_that_its_module_does_not_have_is_refused(app: object) -> None:
    with pytest.raises(ValueError, match="expected a class that can be imported, but "):
        app_name(app)


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
    assert app_name(main_app(main, monkeypatch)) == name


@pytest.mark.parametrize("path", ["my site.py", "1.py", "a+b.py"])
def test_a_script_that_cannot_be_imported_or_addressed_is_refused(
    path: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    main = ModuleType("__main__")
    main.__file__ = str(tmp_path / path)
    with pytest.raises(ValueError, match="cannot be: rename the file"):
        app_name(main_app(main, monkeypatch))


@pytest.mark.parametrize("module", ["package.site", "package.deeper.site", "package.__main__"])
def test_a_module_that_is_run_by_python_m_has_its_name(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    main = ModuleType("__main__")
    main.__spec__ = ModuleSpec(module, None)
    assert app_name(main_app(main, monkeypatch)) == f"{module}.MainApp"


def test_an_app_in_the_main_of_a_folder_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    main = ModuleType("__main__")
    main.__spec__ = ModuleSpec("__main__", None)
    with pytest.raises(ValueError, match="the __main__ of a folder: move it"):
        app_name(main_app(main, monkeypatch))


def test_an_app_of_an_interactive_session_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="interactive session"):
        app_name(main_app(ModuleType("__main__"), monkeypatch))


@pytest.mark.parametrize("obj", [App, ModuleType("m"), "m.App", "", Tag.div("x"), Tag.div])
def test_an_app_rightly_or_wrongly_given_is_meant_as_one(obj: object) -> None:
    assert is_meant_as_app(obj)


@pytest.mark.parametrize(
    "obj",
    [main_app, NoTag, NoTag(), print, object()],
    ids=lambda obj: type(obj).__name__ if " at 0x" in str(obj) else str(obj),
)
def test_what_may_be_an_endpoint_is_not_meant_as_an_app(obj: object) -> None:
    assert not is_meant_as_app(obj)
