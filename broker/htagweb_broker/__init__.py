"""Everything about the broker; the only package that imports redis. ``broker/README.md`` is the protocol."""

from htagweb_broker import limits
from htagweb_broker.absence import Absence
from htagweb_broker.broker import SupervisorBroker, WebBroker
from htagweb_broker.clock import Clock, SystemClock, wait_event
from htagweb_broker.errors import (
    BrokerError,
    BrokerRefused,
    BrokerUnavailable,
    FeedBroken,
    MessageError,
    NotOwner,
    SessionMoved,
)
from htagweb_broker.feeds import Feed
from htagweb_broker.inbox import Opened, Refused, Submitted
from htagweb_broker.inboxes import Entry, Inboxes
from htagweb_broker.inspection import Inspector, RunningApp, StoredSession
from htagweb_broker.keys import InstanceId, Keys
from htagweb_broker.messages import (
    MAX_INBOX_BYTES,
    MAX_OUTBOX_BYTES,
    Answered,
    Connect,
    End,
    Ended,
    EndReason,
    FailureReply,
    InboxMessage,
    Interact,
    Launch,
    Open,
    PageReply,
    Reply,
    SpawnRequest,
    UpdatedByApp,
    decode_inbox,
    decode_spawn,
    waiting_request,
)
from htagweb_broker.outbox import Emission, OutboxWriter
from htagweb_broker.ownership import Claim, Claimed, Record
from htagweb_broker.pages import Pages
from htagweb_broker.presence import Beat, Heard, Presence, Supervisors
from htagweb_broker.replies import Replied
from htagweb_broker.seals import MOST_NUMBER, Taken
from htagweb_broker.sessions import AppWrite, SessionData
from htagweb_broker.spawns import SpawnEntry

__all__ = [
    "MAX_INBOX_BYTES",
    "MAX_OUTBOX_BYTES",
    "MOST_NUMBER",
    "Absence",
    "Answered",
    "AppWrite",
    "Beat",
    "BrokerError",
    "BrokerRefused",
    "BrokerUnavailable",
    "Claim",
    "Claimed",
    "Clock",
    "Connect",
    "Emission",
    "End",
    "EndReason",
    "Ended",
    "Entry",
    "FailureReply",
    "Feed",
    "FeedBroken",
    "Heard",
    "InboxMessage",
    "Inboxes",
    "Inspector",
    "InstanceId",
    "Interact",
    "Keys",
    "Launch",
    "MessageError",
    "NotOwner",
    "Open",
    "Opened",
    "OutboxWriter",
    "PageReply",
    "Pages",
    "Presence",
    "Record",
    "Refused",
    "Replied",
    "Reply",
    "RunningApp",
    "SessionData",
    "SessionMoved",
    "SpawnEntry",
    "SpawnRequest",
    "StoredSession",
    "Submitted",
    "SupervisorBroker",
    "Supervisors",
    "SystemClock",
    "Taken",
    "UpdatedByApp",
    "WebBroker",
    "decode_inbox",
    "decode_spawn",
    "limits",
    "wait_event",
    "waiting_request",
]
