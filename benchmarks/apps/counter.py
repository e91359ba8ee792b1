"""The app that both contestants host: a number and a button."""

from __future__ import annotations

from htag import Tag


class App(Tag.body):  # type: ignore[misc]
    """A page of usual size, of which a click changes one line."""

    def init(self) -> None:
        """Build the page."""
        self.number = 0
        self.shown = Tag.b(self.number, _class="number")
        self.add(Tag.h1("A counter"))
        self.add(Tag.button("+1", _onclick=self.bind.increment()))
        self.add(self.shown)

    def increment(self) -> None:
        """Count one click."""
        self.number += 1
        self.shown.clear(self.number)
