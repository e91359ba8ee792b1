"""Tells the log of the broker's absence: once when it begins, once when it is over."""

from __future__ import annotations

import logging

from htagweb_broker.clock import Clock


class Absence:
    """The absence of the broker, as one loop sees it."""

    def __init__(self, log: logging.Logger, what: str, clock: Clock) -> None:
        """``what`` does not work while the broker is away."""
        self._log = log
        self._what = what
        self._clock = clock
        self._since: float | None = None

    def begins(self, error: Exception) -> None:
        """Note a failure; only the first is logged."""
        if self._since is None:
            self._since = self._clock.now()
            self._log.warning("%s: the broker is away, trying again: %s", self._what, error)

    def ends(self) -> None:
        """Note that it works."""
        if self._since is not None:
            self._log.info("%s: works again after %.1f s", self._what, self._clock.now() - self._since)
            self._since = None
