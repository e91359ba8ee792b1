"""The broker as its two users see it: the web worker's side and the supervisor's side."""

from __future__ import annotations

from htagweb_broker import limits
from htagweb_broker.arrivals import Arrivals
from htagweb_broker.channels import Channels
from htagweb_broker.clock import Clock
from htagweb_broker.connection import Client
from htagweb_broker.feeds import Feeds
from htagweb_broker.inbox import Inbox
from htagweb_broker.inboxes import Deliver, Inboxes
from htagweb_broker.keys import InstanceId, Keys
from htagweb_broker.outbox import OutboxReader, OutboxWriter
from htagweb_broker.ownership import Ownership
from htagweb_broker.pages import Pages
from htagweb_broker.presence import Presence
from htagweb_broker.renewals import Renewals
from htagweb_broker.replies import ReplyReader, ReplyWriter
from htagweb_broker.seals import Seals
from htagweb_broker.secret import shared_secret
from htagweb_broker.sentinel import endpoint_of
from htagweb_broker.sessions import Sessions
from htagweb_broker.spawns import Spawns


class WebBroker:
    """What a web worker uses. Create it in the process and event loop that use it."""

    def __init__(self, url: str, namespace: str, worker: str, clock: Clock, session_ttl_s: int) -> None:
        """Nothing is connected yet; ValueError says what is wrong with the URL or the namespace."""
        endpoint = endpoint_of(url)
        self._keys = Keys(namespace)
        self._client = Client(endpoint)
        self.channels = Channels(endpoint, clock)
        self.inbox = Inbox(self._client, self._keys, session_ttl_s)
        self.ownership = Ownership(self._client, self._keys)
        self.outbox = OutboxReader(self._client, self._keys)
        self.feeds = Feeds(self.channels, self.outbox, self._keys)
        self.replies = ReplyReader(self._client, self._keys, self.channels, worker)
        self.sessions = Sessions(self._client, self._keys, session_ttl_s)
        self.renewals = Renewals(self._client, self._keys, self.sessions, session_ttl_s)
        self.arrivals = Arrivals(self._client, self._keys)
        self.pages = Pages(self._client, self._keys)
        self.seals = Seals(self._client, self._keys)
        self.presence = Presence(self._client, self._keys)
        self.spawns = Spawns(self._client, self._keys)

    @property
    def connections(self) -> int:
        """How many connections for commands were opened: after a new one, earlier writes may be lost."""
        return self._client.connections

    async def secret(self, mine: str = "") -> str:
        """Return the secret that all web workers share; ``mine`` is what it was before, "" for nothing."""
        return await shared_secret(self._client, self._keys, mine)

    async def ping(self) -> None:
        """Ask the server for a sign of life; BrokerError when there is none."""
        await self._client.call("PING")

    def close(self) -> None:
        """Close the connection for commands; the channels end with their task."""
        self._client.close()


class SupervisorBroker:
    """What a supervisor uses. Create it in the process and event loop that use it."""

    def __init__(
        self,
        url: str,
        namespace: str,
        supervisor: str,
        clock: Clock,
        deliver: Deliver,
        *,
        session_ttl_s: int = limits.SESSION_TTL_S,
    ) -> None:
        """``deliver`` gets what the inboxes of the instances in ``inboxes`` bring."""
        endpoint = endpoint_of(url)
        self._keys = Keys(namespace)
        self._client = Client(endpoint)
        self._blocking = Client(endpoint)
        self._heart = Client(endpoint)  # a heartbeat waits behind nothing, and fails sooner than the rest
        self.ownership = Ownership(self._client, self._keys)
        self.replies = ReplyWriter(self._client, self._keys)
        self.sessions = Sessions(self._client, self._keys, session_ttl_s)
        self.presence = Presence(self._heart, self._keys)
        self.spawns = Spawns(self._client, self._keys)
        self.waiting_spawns = Spawns(self._blocking, self._keys)
        """The same stream, over a connection of its own for blocking reads."""
        channels = Channels(endpoint, clock)
        channel = self._keys.inboxes(supervisor)
        self.inboxes = Inboxes(
            channels, self._client, self._keys, channel=channel, deliver=deliver, clock=clock
        )

    @property
    def connections(self) -> int:
        """How many connections for commands were opened: after a new one, earlier writes may be lost."""
        return self._client.connections + self._heart.connections

    def outbox(self, instance: InstanceId, generation: str) -> OutboxWriter:
        """Return the writer of one generation's actions."""
        return OutboxWriter(self._client, self._keys, instance, generation)

    async def ping(self) -> None:
        """Ask the server for a sign of life; BrokerError when there is none."""
        await self._client.call("PING")

    def close(self) -> None:
        """Close the connections."""
        self._client.close()
        self._blocking.close()
        self._heart.close()
