"""What ends the load: a contestant that does not answer as it should."""

from __future__ import annotations


class BadAnswer(Exception):
    """Raised when a contestant answers with something else than its counter; the message has both."""


class NotReady(BadAnswer):
    """Raised when a contestant says, with status 503, that it cannot serve its page yet."""


class Closed(BadAnswer):
    """Raised when a contestant closes a WebSocket that is still needed."""
