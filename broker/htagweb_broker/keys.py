"""Every key of the broker, and nothing else names one.

``ns`` is the namespace (default ``htagweb``), ``{pN}`` the partition of the
session: a cluster keeps all keys of one session in one slot.

==================================== ======= =========== =========== =========================
key                                  type    written by  read by     expires
==================================== ======= =========== =========== =========================
``ns:{pN}:session:S``                hash    both        both        sliding, 14 days
``ns:{pN}:moved:S``                  string  web         both        a minute
``ns:{pN}:pages:S``                  zset    web         web         90 s after its last page entered
``ns:{pN}:instance:S:A``             hash    supervisor  both        a day, renewed while owned
``ns:{pN}:apps:S``                   set     supervisor  both        as its newest instance
``ns:{pN}:inbox:S:A``                stream  web         supervisor  an hour after the last entry
``ns:{pN}:outbox:S:A``               stream  supervisor  web         as its instance
``ns:{pN}:actions:S:A``              channel supervisor  web         (a channel holds nothing)
``ns:{pN}:reply:R``                  string  supervisor  web         a minute
``ns:{pN}:seal:S:C``                 hash    web         web         sliding, an hour
``ns:arrivals:D``                    string  web         web         a second
``ns:web:W``                         channel supervisor  web         (a channel holds nothing)
``ns:inboxes:I``                     channel web         supervisor  (a channel holds nothing)
``ns:spawn``                         stream  both        supervisor  never: its group would go
``ns:{supervisors}:known``           set     supervisor  both        a day after the last beat
``ns:{supervisors}:beat:I``          hash    supervisor  both        4 s after the last beat
``ns:{supervisors}:owned:I``         set     supervisor  both        a day after the last beat
``ns:{supervisors}:drain:I``         string  operator    supervisor  a minute
``ns:secret``                        string  web         web         never: it signs the cookies
==================================== ======= =========== =========== =========================

S: the session's digest, A: the app (``module.Class``), R: a request,
C: the place of a sealed channel, D: the digest of a visitor's address,
W: a web worker, I: a supervisor's incarnation.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

PARTITIONS = 128


@dataclass(frozen=True, slots=True, order=True)
class InstanceId:
    """One user's instance of one app."""

    session: str
    """The session's digest: lower-case hex."""
    app: str
    """``module.Class``"""

    def __str__(self) -> str:
        return f"{self.session[:8]}:{self.app}"

    def dump(self) -> str:
        """Return the text that ``load`` takes."""
        return f"{self.session}:{self.app}"

    @classmethod
    def load(cls, text: str) -> InstanceId:
        """Return the instance that ``dump`` wrote; ValueError when it is none."""
        session, colon, app = text.partition(":")
        if not (session and colon and app):
            raise ValueError(f"expected 'session:app', got {text!r}")
        return cls(session, app)


def partition(session: str) -> int:
    """Return the partition of a session's digest."""
    return int(session[:8], 16) % PARTITIONS


class Keys:
    """Builds the keys of one namespace; see the module's docstring for the data model."""

    def __init__(self, namespace: str = "htagweb") -> None:
        if not namespace or any(c in namespace for c in "{}: *"):
            raise ValueError(f"expected a namespace without '{{', '}}', ':', '*' or space, got {namespace!r}")
        self.namespace = namespace
        self.spawn = f"{namespace}:spawn"
        self.secret = f"{namespace}:secret"
        self.known_supervisors = f"{namespace}:{{supervisors}}:known"

    def _in_partition(self, session: str, rest: str) -> str:
        return f"{self.namespace}:{{p{partition(session)}}}:{rest}"

    def session(self, session: str) -> str:
        """Return the key of a session's values."""
        return self._in_partition(session, f"session:{session}")

    def moved(self, session: str) -> str:
        """Return the key of the mark that a session has, or is getting, a new id."""
        return self._in_partition(session, f"moved:{session}")

    def pages(self, session: str) -> str:
        """Return the key of a session's connected pages."""
        return self._in_partition(session, f"pages:{session}")

    def apps(self, session: str) -> str:
        """Return the key of the apps that a session runs."""
        return self._in_partition(session, f"apps:{session}")

    def instance(self, instance: InstanceId) -> str:
        """Return the key of an instance's ownership record."""
        return self._in_partition(instance.session, f"instance:{instance.dump()}")

    def inbox(self, instance: InstanceId) -> str:
        """Return the key of what pages ask of an instance."""
        return self._in_partition(instance.session, f"inbox:{instance.dump()}")

    def outbox(self, instance: InstanceId) -> str:
        """Return the key of an instance's numbered actions."""
        return self._in_partition(instance.session, f"outbox:{instance.dump()}")

    def actions(self, instance: InstanceId) -> str:
        """Return the channel of an instance's actions."""
        return self._in_partition(instance.session, f"actions:{instance.dump()}")

    def reply(self, session: str, request: str) -> str:
        """Return the key of the answer to one request of a web worker."""
        return self._in_partition(session, f"reply:{request}")

    def seal(self, session: str, place: int) -> str:
        """Return the key of one place for a session's sealed channels."""
        return self._in_partition(session, f"seal:{session}:{place}")

    def arrivals(self, address: str) -> str:
        """Return the key of the counter of new sessions of an address's digest."""
        return f"{self.namespace}:arrivals:{address}"

    def web(self, worker: str) -> str:
        """Return the channel that tells a web worker of replies."""
        return f"{self.namespace}:web:{worker}"

    def inboxes(self, supervisor: str) -> str:
        """Return the channel that brings a supervisor what is appended to its instances' inboxes."""
        return f"{self.namespace}:inboxes:{supervisor}"

    def beat(self, supervisor: str) -> str:
        """Return the key of a supervisor's heartbeat."""
        return f"{self.namespace}:{{supervisors}}:beat:{supervisor}"

    def owned(self, supervisor: str) -> str:
        """Return the key of the instances that a supervisor may own."""
        return f"{self.namespace}:{{supervisors}}:owned:{supervisor}"

    def drain(self, supervisor: str) -> str:
        """Return the key of an operator's order to drain."""
        return f"{self.namespace}:{{supervisors}}:drain:{supervisor}"

    def any_session(self) -> str:
        """Return the pattern (of SCAN) of all keys of sessions' values."""
        return re.sub(r"([\\?\[\]])", r"\\\1", self.namespace) + ":{p*}:session:*"

    def session_of(self, key: str) -> str:
        """Return the session whose values a key holds."""
        return key.rpartition(":")[2]
