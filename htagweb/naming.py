"""The name of what is served: ``module.Class``, as a supervisor can import it."""

from __future__ import annotations

import inspect
import os
import re
import sys
from types import ModuleType
from typing import Any

from htagweb.host.engines import htag1

MAX_NAME_CHARS = 200
"""Of an app's name, ``package.module.Class``: anybody may ask for any."""
_NAME = re.compile(r"[^\W\d]\w*(-\w+)*(\.[^\W\d]\w*(-\w+)*)+")


def is_app_name(text: str) -> bool:
    """Return whether the text has the form of an app's name."""
    return len(text) <= MAX_NAME_CHARS and _NAME.fullmatch(text) is not None


def is_meant_as_app(obj: object) -> bool:
    """Return whether an app is meant, rightly or wrongly, and not an endpoint of Starlette's."""
    return isinstance(obj, str | ModuleType) or htag1.is_app(obj) or htag1.is_app(type(obj))


def app_name(obj: object) -> str:
    """Return the app's name for a class, a module with an ``App``, ``"module.Class"`` or ``"module:Class"``.

    TypeError or ValueError say what was expected, and what to do. Nothing is imported.
    """
    if isinstance(obj, str):
        return _checked_text(obj)
    if isinstance(obj, ModuleType):
        app = getattr(obj, "App", None)
        if app is None:
            raise ValueError(
                f"expected the module {obj.__name__!r} to have an 'App' class, it has none: name another "
                f"class of it, as in '{obj.__name__}.Class'"
            )
        if not htag1.is_app(app):
            raise TypeError(
                f"expected the 'App' of the module {obj.__name__!r} to be a htag class, got {app!r}"
            )
        return _class_name(app)
    if htag1.is_app(obj):
        return _class_name(obj)
    raise TypeError(f"expected a htag class, a module with one, or its name, got {_described(obj)}")


def _checked_text(text: str) -> str:
    name = text.replace(":", ".", 1)
    if is_app_name(name):
        return name
    remedy = ""
    if is_app_name(f"{text}.App"):  # one word: a module's name, or a class's
        remedy = f": a module's name alone is not enough, name its class too, as in '{text}.App'"
    raise ValueError(f"expected 'module.Class' or 'module:Class', got {text!r}{remedy}")


def _described(obj: object) -> str:
    if htag1.is_app(type(obj)):
        return f"an instance of {type(obj).__name__}: pass the class itself, each user gets an instance"
    if inspect.isroutine(obj):
        return f"{obj!r}: an endpoint of your own is added by add_route"
    return repr(obj)


def _class_name(app: Any) -> str:
    if "." in app.__qualname__:
        raise ValueError(
            f"expected a class at the top of its module, {app.__qualname__!r} is inside something: "
            "another process imports it by its name"
        )
    module = sys.modules.get(app.__module__)
    if module is not None and getattr(module, app.__name__, None) is not app:
        raise ValueError(
            f"expected a class that can be imported, but {app.__name__!r} of the module {app.__module__!r} "
            "is not there, or is something else: give it that name, at the top of its module"
        )
    name = f"{_main_module() if app.__module__ == '__main__' else app.__module__}.{app.__name__}"
    if not is_app_name(name):
        raise ValueError(f"expected a file that can be imported, {name!r} cannot be: rename the file")
    return name


def _main_module() -> str:
    """Return the name under which the script that is being run can be imported."""
    main = sys.modules["__main__"]
    spec = main.__spec__
    if spec is not None and spec.name == "__main__":  # python folder
        raise ValueError("expected the app in a module of its own, got the __main__ of a folder: move it")
    if spec is not None:  # python -m package.module
        return spec.name
    path: str | None = getattr(main, "__file__", None)
    if path is None:
        raise ValueError("expected the app in a file: an interactive session cannot be imported elsewhere")
    relative = os.path.relpath(os.path.abspath(path))
    if relative.startswith(os.pardir) or "." in os.path.splitext(relative)[0]:
        # Not below the working directory: its own folder is where it is imported from.
        return os.path.splitext(os.path.basename(path))[0]
    return os.path.splitext(relative)[0].replace(os.sep, ".")
