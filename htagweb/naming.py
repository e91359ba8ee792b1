"""The name of what is served: ``module.Class``, as a supervisor can import it."""

from __future__ import annotations

import inspect
import os
import re
import sys
from types import ModuleType

from htagweb.host.engines import htag1

_NAME = re.compile(r"[^\W\d]\w*(-\w+)*(\.[^\W\d]\w*(-\w+)*)+")


def is_app_name(text: str) -> bool:
    """Return whether the text has the form of an app's name."""
    return _NAME.fullmatch(text) is not None


def app_name(obj: object) -> str:
    """Return the app's name for a class, a module with an ``App``, ``"module.Class"`` or ``"module:Class"``.

    TypeError or ValueError say what was expected. Nothing is imported.
    """
    if isinstance(obj, str):
        name = obj.replace(":", ".", 1)
        if not is_app_name(name):
            raise ValueError(f"expected 'module.Class' or 'module:Class', got {obj!r}")
        return name
    if isinstance(obj, ModuleType):
        app = getattr(obj, "App", None)
        if app is None:
            raise ValueError(f"expected the module {obj.__name__!r} to have an 'App' class, it has none")
        return _class_name(app)
    return _class_name(obj)


def _class_name(app: object) -> str:
    if not (inspect.isclass(app) and htag1.is_app(app)):
        raise TypeError(f"expected a htag class, a module with one, or its name, got {app!r}")
    if "<locals>" in app.__qualname__ or "." in app.__qualname__:
        raise ValueError(
            f"expected a class at the top of its module, {app.__qualname__!r} is inside something"
        )
    module = _main_module() if app.__module__ == "__main__" else app.__module__
    return f"{module}.{app.__name__}"


def _main_module() -> str:
    """Return the name under which the script that is being run can be imported."""
    main = sys.modules["__main__"]
    spec = main.__spec__
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
