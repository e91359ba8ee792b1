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


class BrokerError(Exception):
    """The root of what this package raises."""


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
