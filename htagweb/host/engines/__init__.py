"""Engines: what builds, renders and drives an app. The host knows them by this interface alone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from htagweb.host.frames import Call


@dataclass(frozen=True, slots=True)
class Actions:
    """What a page has to apply: ``dom`` in every tab, ``scripts`` only in the tab that asked.

    Both are JSON-ready dicts with htag's action names as keys.
    """

    dom: dict[str, Any]
    scripts: dict[str, Any]


class AppImportError(Exception):
    """Raised when the app's module or class cannot be had; the message is for the person."""


class AppInitError(Exception):
    """Raised when the app's own code failed while it was built.

    The message is one line; ``traceback`` is the app's own.
    """

    def __init__(self, message: str, traceback: str) -> None:
        super().__init__(message)
        self.traceback = traceback


class Engine(Protocol):
    """One living app."""

    def render(self) -> str:
        """Return the whole HTML document."""
        ...

    def allow_updates(self, allowed: bool) -> None:
        """Say whether what the app changes by itself can reach its pages; at first it can."""
        ...

    async def interact(self, call: Call) -> Actions:
        """Run one interaction; what the app raises becomes an ``err`` action, never an exception."""
        ...


class EngineFactory(Protocol):
    """Builds an ``Engine`` out of an app class."""

    def __call__(
        self,
        app: type,
        args: list[str],
        kargs: dict[str, str | None],
        session: Any,
        *,
        debug: bool,
        on_update: Callable[[Actions], Awaitable[bool]],
        on_exit: Callable[[], None],
    ) -> Engine:
        """Build the app; AppInitError when its own code fails."""
        ...
