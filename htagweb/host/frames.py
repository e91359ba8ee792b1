"""The frames between a supervisor and its app processes, and between it and its templates.

An app process has one stream socket to its supervisor. A frame on it is a
4-byte big-endian length and that many bytes of JSON: one of the structs below,
told apart by its ``type``.

A template has one ``SOCK_SEQPACKET`` socket to its supervisor: one JSON struct
a packet, file descriptors travel beside it (``SCM_RIGHTS``).

JSON that this project only carries (``msgspec.Raw``) is never parsed on the way.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import msgspec

MAX_FRAME_BYTES = 64 * 1024 * 1024
MAX_PACKET_BYTES = 60 * 1024
"""A packet between supervisor and template, well under the kernel's limit for one datagram."""

_LENGTH = struct.Struct(">I")

Changes = dict[str, msgspec.Raw | None]
"""Session values that the app set (JSON) or deleted (None), by key."""


class FrameError(Exception):
    """Raised when bytes on a socket are no frame that was expected there."""


class Frame(msgspec.Struct, tag_field="type", forbid_unknown_fields=True, frozen=True):
    """The root of all frames."""


# Supervisor to app process


class Start(Frame, tag="start", frozen=True):
    """The first frame: build the app. Answered by a ``Page`` (for ``request``) or by ``Failed``."""

    app: str
    """``module.Class``"""
    args: list[str]
    kargs: dict[str, str | None]
    session: dict[str, msgspec.Raw]
    debug: bool
    request: str
    http_only: bool = False
    """Its pages have no WebSocket: ``tag.update()`` returns False and does nothing."""


class Render(Frame, tag="render", frozen=True):
    """Render the whole page again. Answered by a ``Page`` for ``request``."""

    request: str
    http_only: bool = False


class Interact(Frame, tag="interact", frozen=True):
    """One interaction of a page. Answered by one ``Answer`` with the same page and number."""

    page: str
    number: int
    call: msgspec.Raw
    """A ``Call``, as the web worker checked it."""


class SessionData(Frame, tag="session", frozen=True):
    """The session as it is in the broker now; the app's own unsaved changes stay on top of it."""

    values: dict[str, msgspec.Raw]
    saves: int
    """How many of the app's frames with changes are in the values; what later ones changed is newer."""


class Updated(Frame, tag="updated", frozen=True):
    """What became of the app's ``Update`` of the same id."""

    id: int
    delivered: bool


class End(Frame, tag="end", frozen=True):
    """Save the session's changes, then exit."""


# App process to supervisor


class Saving(Frame, frozen=True, kw_only=True):
    """A frame that carries what the app changed in the session.

    Two fields, because msgspec cannot tell a ``Raw`` from a null, and null is a value too.
    """

    changed: dict[str, msgspec.Raw] = {}
    deleted: list[str] = []

    @property
    def changes(self) -> Changes:
        """Both in one dict."""
        return {**self.changed, **dict.fromkeys(self.deleted)}


class Page(Saving, tag="page", frozen=True):
    """The app's whole HTML document."""

    request: str
    html: str


class Failed(Frame, tag="failed", frozen=True):
    """The app could not be built; the process exits after this frame."""

    request: str
    error: str
    """One line for the person: what kind of error, and its message."""
    traceback: str


class Answer(Saving, tag="answer", frozen=True):
    """The result of an interaction.

    ``dom`` is a JSON object with what every tab of the user applies (``update``,
    ``stream``), ``scripts`` one with what only the asking tab runs (``post``,
    ``next``, ``err``). Either may be ``{}``.
    """

    page: str
    number: int
    dom: msgspec.Raw
    scripts: msgspec.Raw


class Update(Saving, tag="update", frozen=True):
    """What ``tag.update()`` wants in the browser. Answered by ``Updated`` with the same id."""

    id: int
    dom: msgspec.Raw
    scripts: msgspec.Raw


class Save(Saving, tag="save", frozen=True):
    """Session changes that no other frame carried; the last frame after ``End``."""


class Exit(Frame, tag="exit", frozen=True):
    """The app called ``tag.exit()``; the interaction that did is answered before this frame."""


ToApp = Start | Render | Interact | SessionData | Updated | End
FromApp = Page | Failed | Answer | Update | Save | Exit


class Call(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The call that the browser asks for, in the words of htagweb's wire.

    All but ``id`` may be null: htag 1 goes on with a generator by
    ``{"id": N, "method": null, "args": null, "kargs": null, "event": {...}}``.
    """

    id: int
    method: str | None = None
    args: list[Any] | None = None
    kargs: dict[str, Any] | None = None
    event: dict[str, Any] | None = None


# Supervisor and template


class Fork(Frame, tag="fork", frozen=True):
    """Supervisor to template: fork an app process. Two descriptors: its socket, its output pipe."""

    instance: str
    """Which instance the process will be, for whoever watches the packets; "" for a spare."""
    token: int
    """Returned with ``Forked``, to tell concurrent forks apart."""
    memory_bytes: int = 0
    """The app's limit; 0 for none, here and below."""
    open_files: int = 0


class Ready(Frame, tag="ready", frozen=True):
    """Template to supervisor: the module is imported, ``Fork`` may come."""

    import_s: float
    threads: int
    """Threads that the import left running; a fork copies none of them."""
    sources: dict[str, tuple[int, int]] = {}
    """The project's files that the import read, as many as fit: when each was changed (ns), its bytes."""


class ImportFailed(Frame, tag="import_failed", frozen=True):
    """Template to supervisor: the app cannot be imported; the template exits after this packet."""

    error: str
    traceback: str


class Forked(Frame, tag="forked", frozen=True):
    """A new app process, with its pidfd as the one descriptor. It is the supervisor's child."""

    token: int
    pid: int


class ForkFailed(Frame, tag="fork_failed", frozen=True):
    """The kernel refused the fork."""

    token: int
    error: str


ToTemplate = Fork
FromTemplate = Ready | ImportFailed | Forked | ForkFailed

_encoder = msgspec.json.Encoder()
_to_app = msgspec.json.Decoder(ToApp)
_from_app = msgspec.json.Decoder(FromApp)
_to_template = msgspec.json.Decoder(ToTemplate)
_from_template = msgspec.json.Decoder(FromTemplate)
_call = msgspec.json.Decoder(Call)


def encode(frame: Frame) -> bytes:
    """Return the frame with its length, ready for a stream socket."""
    body = _encoder.encode(frame)
    if len(body) > MAX_FRAME_BYTES:
        raise FrameError(f"a frame of {len(body)} bytes is over the limit of {MAX_FRAME_BYTES}")
    return _LENGTH.pack(len(body)) + body


def encode_packet(frame: Frame) -> bytes:
    """Return the frame for a packet socket."""
    body = _encoder.encode(frame)
    if len(body) > MAX_PACKET_BYTES:
        raise FrameError(f"a packet of {len(body)} bytes is over the limit of {MAX_PACKET_BYTES}")
    return body


def _decode(decoder: msgspec.json.Decoder[Any], body: bytes) -> Any:
    try:
        return decoder.decode(body)
    except msgspec.MsgspecError as exc:
        raise FrameError(f"not a frame that was expected here: {exc}") from exc


def decode_to_app(body: bytes) -> ToApp:
    """Decode what a supervisor sends to an app process; FrameError when it is anything else."""
    frame: ToApp = _decode(_to_app, body)
    return frame


def decode_from_app(body: bytes) -> FromApp:
    """Decode what an app process sends to its supervisor; FrameError when it is anything else."""
    frame: FromApp = _decode(_from_app, body)
    return frame


def decode_to_template(body: bytes) -> ToTemplate:
    """Decode what a supervisor sends to a template; FrameError when it is anything else."""
    frame: ToTemplate = _decode(_to_template, body)
    return frame


def decode_from_template(body: bytes) -> FromTemplate:
    """Decode what a template sends to its supervisor; FrameError when it is anything else."""
    frame: FromTemplate = _decode(_from_template, body)
    return frame


def decode_call(body: bytes | msgspec.Raw) -> Call:
    """Decode a browser's call; FrameError says which field is wrong."""
    call: Call = _decode(_call, bytes(body))
    return call


class FrameSplitter:
    """Cuts a byte stream into frame bodies."""

    def __init__(self, max_bytes: int = MAX_FRAME_BYTES) -> None:
        self._buffer = bytearray()
        self._max_bytes = max_bytes

    @property
    def rest(self) -> bytes:
        """What came of a body that is not complete yet."""
        return bytes(self._buffer)

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield each body that is complete now; FrameError when one announces too many bytes."""
        self._buffer += data
        start = 0
        while len(self._buffer) - start >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer, start)
            if length > self._max_bytes:
                raise FrameError(f"a frame of {length} bytes is over the limit of {self._max_bytes}")
            end = start + _LENGTH.size + length
            if len(self._buffer) < end:
                break
            yield bytes(self._buffer[start + _LENGTH.size : end])
            start = end
        del self._buffer[:start]
