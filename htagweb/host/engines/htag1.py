"""The engine of htag 1: ``htag.render.HRenderer`` behind the ``Engine`` interface.

The only module that knows htag. The page has no way to reach the server by
itself: the web worker injects the client script, which defines the ``interact``
that htag's own script calls, and calls its ``start`` and ``action``.
"""

from __future__ import annotations

import importlib
import json
import logging
import sys
import traceback
from collections.abc import Awaitable, Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import htag.render
from htag import Tag
from htag.render import HRenderer
from htag.runners.commons import url2ak

from htagweb.host.engines import Actions, AppImportError, AppInitError
from htagweb.host.engines.events import whole
from htagweb.host.frames import Call

_DOM = frozenset({"update", "stream"})
_render_logger = logging.getLogger("htag.render")


def _dumps(value: Any, **options: Any) -> str:
    """Return JSON; indented for htag's log alone, which nearly nobody reads.

    htag builds that text for every interaction, with the encoder that is written in Python: a tenth
    of an app process's part of a click (``docs/performance.md``).
    """
    if "indent" in options and not _render_logger.isEnabledFor(logging.INFO):
        return ""
    return json.dumps(value, **options)


htag.render.json = SimpleNamespace(**{**vars(json), "dumps": _dumps})


def is_app(obj: object) -> bool:
    """Tell whether the object is a class that htag can show as a page."""
    return isinstance(obj, type) and issubclass(obj, Tag) and obj is not Tag


def load(name: str) -> type:
    """Import ``module.Class``; AppImportError says what is wrong.

    Its ``__cause__`` is what the import raised.
    """
    module_name, _, class_name = name.rpartition(".")
    if not module_name or not class_name:
        raise AppImportError(f"an app is named 'module.Class', not {name!r}")
    module = _import(module_name)
    try:
        app = getattr(module, class_name)
    except AttributeError as exc:
        exc.add_note(f"it is {getattr(module, '__file__', None) or 'built in'}")  # for the log alone
        raise AppImportError(f"module {module_name!r} has no class {class_name!r}") from exc
    if not is_app(app):
        what = f"the class {app.__name__}" if isinstance(app, type) else f"a {type(app).__name__}"
        raise AppImportError(f"{name} is {what}, not an htag Tag class: inherit from Tag.div or another tag")
    return app  # type: ignore[no-any-return]


def _import(module_name: str) -> ModuleType:
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as exc:
        if exc.name is not None and f"{module_name}.".startswith(f"{exc.name}."):
            exc.add_note(f"looked in {', '.join(sys.path) or 'nowhere'}")  # for the log alone
            raise AppImportError(f"there is no module {module_name!r}") from exc
        raise AppImportError(_import_failure(exc, module_name)) from exc
    except (Exception, SystemExit) as exc:
        raise AppImportError(_import_failure(exc, module_name)) from exc


def _import_failure(exc: BaseException, module_name: str) -> str:
    message = " ".join(str(exc).split())
    return f"{type(exc).__name__}: {message} (raised by importing {module_name!r})"


def parameters(query: str) -> tuple[list[str], dict[str, str | None]]:
    """Return the constructor's arguments in a query string (without ``?``), as htag's runner reads it."""
    args, kargs = url2ak(f"?{query}")
    return list(args), dict(kargs)


NAMELESS = "The app failed with an error that has no message; its log names it."


class Htag1Engine:
    """One living htag 1 app."""

    def __init__(
        self,
        app: type,
        args: list[str],
        kargs: dict[str, str | None],
        session: Any,
        *,
        debug: bool,
        on_update: Callable[[Actions], Awaitable[bool]],
        on_exit: Callable[[], None],
    ) -> None:
        """Build the app; AppInitError when its own code fails.

        htag builds it once more without arguments when the first try raises a TypeError.
        """
        failure = _InitFailure()
        _render_logger.addHandler(failure)
        try:
            self._renderer = HRenderer(
                app,
                js="",
                exit_callback=on_exit,
                init=(tuple(args), kargs),
                fullerror=debug,
                session=session,
            )
        except Exception as exc:
            raise AppInitError(f"{type(exc).__name__}: {exc}", traceback.format_exc()) from exc
        finally:
            _render_logger.removeHandler(failure)
        if type(self._renderer.tag) is not app:
            raise failure.as_error(self._renderer.tag)

        async def send_actions(response: dict[str, Any]) -> bool:
            return await on_update(_split(response))

        self._send_actions = send_actions
        self.allow_updates(True)

    def allow_updates(self, allowed: bool) -> None:
        """Say whether ``tag.update()`` reaches a page; where not, htag returns False and sends nothing."""
        self._renderer.sendactions = self._send_actions if allowed else None

    def render(self) -> str:
        """Return the whole HTML document; what the app's ``render`` methods raise comes out as it is."""
        return str(self._renderer)

    async def interact(self, call: Call) -> Actions:
        """Run one interaction; an exception of the app becomes an ``err`` action, CancelledError passes."""
        response = await self._renderer.interact(
            call.id,
            call.method,
            call.args or [],
            call.kargs or {},
            whole(call.event or {}),  # a handler with an ``ev`` parameter reads the event's keys
        )
        return _split(response)


def _split(response: dict[str, Any]) -> Actions:
    if response.get("err") == "":  # htag gives an exception's message, and a MemoryError has none
        response = {**response, "err": NAMELESS}
    dom = {key: value for key, value in response.items() if key in _DOM}
    scripts = {key: value for key, value in response.items() if key not in _DOM}
    return Actions(dom, scripts)


class _InitFailure(logging.Handler):
    """Keeps the exception of an app's constructor: ``HRenderer`` logs it and shows a page of its own."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self._error: AppInitError | None = None

    def emit(self, record: logging.LogRecord) -> None:
        match record.args:
            case (Exception() as exc, str() as stacktrace):
                self._error = AppInitError(f"{type(exc).__name__}: {exc}", stacktrace)
                self._error.__cause__ = exc

    def as_error(self, shown: Any) -> AppInitError:
        """Return the error, out of htag's own page when the app has silenced that logger."""
        return self._error or AppInitError(" ".join(str(child) for child in shown.childs), "")


def rehearsal_app() -> type:
    """Return a new, small app that knows nothing of the user's: a template tries its code path with it.

    Its method ``touch`` changes it. The class is garbage as soon as it is let go.
    """

    class Rehearsal(Tag.div):  # type: ignore[misc]
        imports: list[type] = []  # else htag collects the statics of every Tag class there is

        def init(self) -> None:
            self.count = 0
            self.button = Tag.button("touch", _onclick=self.bind.touch(1))

        def touch(self, step: int) -> None:
            self.count += step
            self.state["count"] = self.count
            self.call("self.focus()")

        def render(self) -> None:
            self.clear()
            self.add([self.button, Tag.span(self.count, _style="color:red", _class="count")])

    return Rehearsal
