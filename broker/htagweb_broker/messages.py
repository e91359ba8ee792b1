"""What travels through the broker: typed, checked, size-limited JSON. No pickle anywhere.

Versions work side by side while they are exchanged: a field that the reader does not know is skipped,
but in ``Launch``, where it may be what an app must not be started without.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from htagweb_broker.errors import MessageError

MAX_INBOX_BYTES = 1024 * 1024
"""Default limit of one message to an app: what a page may send at once."""
MAX_OUTBOX_BYTES = 16 * 1024 * 1024
"""Limit of one action, or of one page, that an app sends."""

EndReason = Literal[
    "exit",
    "inactivity",
    "interaction_timeout",
    "crashed",
    "replaced",
    "drained",
    "lost",
    "never_connected",
    "refused",
    "killed",
    "renewed",
    "changed",
    "memory",
    "cpu",
    "processes",
]
"""Why an app process ended: the closed vocabulary.

``exit``: the app asked for it. ``inactivity``: nobody interacted for the time
set. ``interaction_timeout``: an interaction or the start took too long.
``crashed``: the process died by itself. ``replaced``: the user opened the app
with other parameters. ``drained``: its supervisor was told to stop. ``lost``:
its supervisor died, or lost the instance. ``never_connected``: no browser
came for the page. ``refused``: the app could not be started. ``killed``: an
operator ended it. ``renewed``: its session got a new id. ``changed``: its
source was changed while it was developed. ``memory``, ``cpu``, ``processes``: it
took more of these than it may.
"""


class Message(msgspec.Struct, tag_field="type", frozen=True):
    """The root of the inbox's messages."""


class Launch(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """How an instance has to run. The same ``args`` and ``kargs``: the same living instance."""

    args: list[str]
    kargs: dict[str, str | None]
    debug: bool
    timeout_interaction_s: float
    """0: no limit."""
    timeout_inactivity_s: float
    """0: no limit."""
    http_only: bool = False
    """Its pages have no WebSocket, so ``tag.update()`` reaches nobody."""
    parano: bool = False
    """Its pages speak sealed: what comes in clear text is refused."""


class Open(Message, tag="open", frozen=True):
    """A browser asks for the page. Answered by a ``Reply`` under the request's key."""

    request: str
    worker: str
    """The web worker, told on its channel when the reply is there."""
    launch: Launch


class Interact(Message, tag="interact", frozen=True):
    """One interaction of one page."""

    generation: str
    page: str
    number: int
    """1, 2, 3 … per page: a number that was taken already is a repetition, and dropped."""
    call: msgspec.Raw
    worker: str = ""
    """The web worker whose request waits for the answer, "" when the answer goes by the feed."""
    after: int = 0
    """The page's interaction that was sent before this one and waits for its answer: where that one was
    lost, this one is not taken, so that both can be sent again in their order. 0 for none."""


def waiting_request(page: str, number: int) -> str:
    """Return what a web worker is told when the answer it waits for is emitted."""
    return f"{page}:{number}"


class Connect(Message, tag="connect", frozen=True):
    """A browser connected to the instance: its page is looked at by someone."""

    generation: str


class End(Message, tag="end", frozen=True):
    """Someone other than its pages wants the app to end."""

    generation: str
    reason: EndReason


InboxMessage = Open | Interact | Connect | End


class SpawnRequest(msgspec.Struct, frozen=True):
    """An instance that no living supervisor owns is wanted; its inbox says for what."""

    instance: str
    expected: str
    """The generation that the worker saw, "" for none: who takes the request claims from that one."""


class PageReply(msgspec.Struct, tag_field="type", tag="page", frozen=True):
    """The app's HTML."""

    generation: str
    html: str


class FailureReply(msgspec.Struct, tag_field="type", tag="failure", frozen=True):
    """Why there is no page."""

    reason: str
    """An ``EndReason``, or one of a later version."""
    error: str
    """One line for the person."""
    detail: str = ""
    """The app's traceback: for debug mode alone."""


Reply = PageReply | FailureReply


class ActionKind(msgspec.Struct, tag_field="type", frozen=True):
    """The root of what an outbox holds."""


class Answered(ActionKind, tag="answer", frozen=True):
    """The answer to interaction ``number`` of ``page``."""

    page: str
    number: int
    dom: msgspec.Raw
    """A JSON object for every tab."""
    scripts: msgspec.Raw
    """A JSON object for the asking page alone."""
    refused: bool = False
    """The supervisor answers in the app's place: its error is for the person."""


class UpdatedByApp(ActionKind, tag="update", frozen=True):
    """What the app changed by itself."""

    dom: msgspec.Raw
    scripts: msgspec.Raw


class Ended(ActionKind, tag="end", frozen=True):
    """The app process is gone; the last action of a generation."""

    reason: str
    """An ``EndReason``, or one of a later version."""


Action = Answered | UpdatedByApp | Ended


_encoder = msgspec.json.Encoder()
_inbox = msgspec.json.Decoder(InboxMessage)
_spawn = msgspec.json.Decoder(SpawnRequest)
_reply = msgspec.json.Decoder(Reply)
_action = msgspec.json.Decoder(Action)


def encode(message: msgspec.Struct, max_bytes: int = MAX_OUTBOX_BYTES) -> bytes:
    """Return the message's JSON; MessageError when it is over the limit."""
    body = _encoder.encode(message)
    if len(body) > max_bytes:
        raise MessageError(f"a message of {len(body)} bytes is over the limit of {max_bytes}")
    return body


def _decode(decoder: msgspec.json.Decoder[Any], body: bytes) -> Any:
    try:
        return decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as exc:
        raise MessageError(f"not the message that was expected: {exc}") from exc


def decode_inbox(body: bytes) -> InboxMessage:
    """Decode an inbox message; MessageError when it is none."""
    message: InboxMessage = _decode(_inbox, body)
    return message


def decode_spawn(body: bytes) -> SpawnRequest:
    """Decode a spawn request; MessageError when it is none."""
    message: SpawnRequest = _decode(_spawn, body)
    return message


def decode_reply(body: bytes) -> Reply:
    """Decode a reply; MessageError when it is none."""
    message: Reply = _decode(_reply, body)
    return message


def decode_action(body: bytes) -> Action:
    """Decode an outbox action; MessageError when it is none."""
    message: Action = _decode(_action, body)
    return message
