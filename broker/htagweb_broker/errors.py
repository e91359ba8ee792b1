"""What can go wrong with the broker.

::

    BrokerError
    ├── BrokerUnavailable   no connection, a lost one, or no answer in time: it may work later
    ├── BrokerRefused       the server answered with an error: out of memory, no permission, wrong type
    │   └── ScriptUnknown   the server does not know the script yet (handled inside this package)
    ├── MessageError        a message is malformed or over its limit
    │   └── SessionMoved    it is for a session that has a new id by now
    ├── NotOwner            the instance belongs to another generation: whoever asked must stop writing
    └── FeedBroken          a follower cannot go on from its number: the page must be rendered anew
"""

import re

REMEDIES = {
    r"^OOM ": "it is full: raise its maxmemory",
    r"^MISCONF ": "it cannot write its data down: make room on its disk; its own log says what failed",
    r"^NOAUTH|authentication required": "the broker's address (HTAGWEB_REDIS_URL) has to name a password",
    # redis-py's handshake takes the first word away, and calls it a lost connection.
    r"^WRONGPASS|invalid (username-)?password": "the broker's address (HTAGWEB_REDIS_URL) names a user or "
    "password that the server does not know",
    r"^NOPERM|no permissions": "its user may not do that: give it the rights of broker/users.acl",
}
"""What an operator can do about an answer of the server, by what is found in its words."""


class BrokerError(Exception):
    """The root of what this package raises; where a remedy is known, the text ends with it."""

    @property
    def remedy(self) -> str:
        """What an operator can do about it, so that the same command works later; "" where none is known."""
        words = super().__str__()
        found = (remedy for pattern, remedy in REMEDIES.items() if re.search(pattern, words, re.IGNORECASE))
        return next(found, "")

    def __str__(self) -> str:
        words, remedy = super().__str__(), self.remedy
        # Once: one error's text may be another's words.
        return f"{words} ({remedy})" if remedy and remedy not in words else words


class BrokerUnavailable(BrokerError):
    """Raised when the broker cannot be reached, or a connection broke before its answer came.

    A command that was on its way may have run or not: whoever repeats it must
    make it safe to repeat (numbers, compare-and-set).
    """


class BrokerRefused(BrokerError):
    """Raised when the server answers a command with an error; the message is the server's."""


class ScriptUnknown(BrokerRefused):
    """Raised when the server does not have a script (NOSCRIPT)."""


class MessageError(BrokerError):
    """Raised when a message does not decode as what was expected, or is over its size limit."""


class SessionMoved(MessageError):
    """Raised when what was to be written belongs to a session id that was renewed, or is being renewed."""


class NotOwner(BrokerError):
    """Raised when a write came with a generation that no longer owns its instance."""


class FeedBroken(BrokerError):
    """Raised when the actions after a follower's number cannot be had any more.

    Either the instance has another generation by now, or the outbox was
    trimmed past the number.
    """
