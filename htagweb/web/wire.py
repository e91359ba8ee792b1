"""What a page and the web worker say to each other: htagweb 1.0's messages, and one key of our own.

From the page: ``{"id", "method", "args", "kargs", "event"}``, to the page an
action object (``update``, ``stream``, ``post``, ``next``, ``err``). Our own
data travels under the key ``htagweb``, optional in both directions. All of it may
travel sealed (``htagweb/web/sealing.py``); then this is what is inside.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from htagweb_broker import Answered, Emission, Ended, UpdatedByApp
from starlette.datastructures import QueryParams

from htagweb.web.pages import END_TEXTS, RETURNS_BY_ITSELF, RETURNS_ON_CLICK
from htagweb.web.sealing import Curve

Page = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{8,64}\Z")]
Number = Annotated[int, msgspec.Meta(ge=1, le=2**53)]
Last = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
PublicKey = Annotated[str, msgspec.Meta(max_length=128)]
Generation = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,18}-[0-9a-f]{8}\Z")]


class WireError(Exception):
    """Raised when a page sends what is not this wire; the message says what was expected."""


class Extra(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Our own data in a message of a page."""

    n: Number | None = None
    page: Page | None = None
    generation: Generation | None = None
    ping: int | None = None
    last: Last | None = None
    """The last action that the page has: it asks for all after that."""
    curve: Curve | None = None
    key: PublicKey | None = None
    """With ``curve``, and without a call: the page wants a sealed channel."""


class FromPage(msgspec.Struct, frozen=True):
    """A message of a page: a call, or only our own data."""

    id: int | None = None
    method: str | None = None
    args: msgspec.Raw = msgspec.Raw(b"null")
    kargs: msgspec.Raw = msgspec.Raw(b"null")
    event: msgspec.Raw = msgspec.Raw(b"null")
    htagweb: Extra | None = None


class _Call(msgspec.Struct, frozen=True):
    id: int
    method: str | None
    args: msgspec.Raw
    kargs: msgspec.Raw
    event: msgspec.Raw


class Hello(msgspec.Struct, frozen=True):
    """How a page introduces its WebSocket, in the address's query."""

    page: Page
    generation: Generation
    last: Last
    curve: Curve | None = None
    key: PublicKey | None = None
    """With ``curve``: the page wants the connection sealed."""


class _Numbered(msgspec.Struct, frozen=True):
    htagweb: Extra | None = None


_decode_numbered = msgspec.json.Decoder(_Numbered).decode
_decode_message = msgspec.json.Decoder(FromPage).decode
_encode = msgspec.json.Encoder().encode
_ECHO = re.compile(r"(unknown field|enum value) [`'].*[`']", re.DOTALL)
"""Where msgspec's errors repeat what was sent."""
_STARTS = {"args": (b"[", b"n"), "kargs": (b"{", b"n"), "event": (b"{", b"n")}
"""How the JSON may start: null is allowed, htag goes on with a generator that way."""


def _reason(error: Exception) -> str:
    """Return what is wrong without what was sent: it goes to the log."""
    return _ECHO.sub(r"\1", str(error))


def parse_message(text: str | bytes) -> FromPage:
    """Decode what a page sent; WireError when it is not of the wire."""
    try:
        message = _decode_message(text)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as exc:
        raise WireError(f"expected {{id, method, args, kargs, event}}: {_reason(exc)}") from exc
    for name, starts in _STARTS.items():
        if bytes(getattr(message, name))[:1] not in starts:
            kind = "a list" if name == "args" else "an object"
            raise WireError(f"expected {kind} as {name}")
    return message


def number_in(text: str) -> int | None:
    """Return the number of a message that is not of the wire, if that much can be read of it."""
    try:
        extra = _decode_numbered(text).htagweb
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None
    return extra.n if extra else None


def call_of(message: FromPage) -> msgspec.Raw:
    """Return the call as the app process gets it; WireError when the message holds none."""
    if message.id is None:
        raise WireError("expected an id (a number)")
    return msgspec.Raw(_encode(_Call(message.id, message.method, message.args, message.kargs, message.event)))


def parse_hello(query: QueryParams) -> Hello | None:
    """Return a page's introduction; None for a client that makes none, WireError for a wrong one."""
    if "page" not in query:
        return None
    try:
        hello = msgspec.convert(dict(query), Hello, strict=False)
    except msgspec.ValidationError as exc:
        raise WireError(f"expected page, generation and last: {_reason(exc)}") from exc
    if (hello.curve is None) != (hello.key is None):
        raise WireError("expected curve and key both, or neither")
    return hello


# To the page


def as_array(messages: Sequence[str]) -> str:
    """Return messages as one JSON array."""
    return f"[{','.join(messages)}]"


def own(**extra: Any) -> str:
    """Return a message that holds only our own data."""
    return _encode({"htagweb": extra}).decode()


def stale() -> str:
    """Return the news that the page belongs to a process that is gone."""
    text = "This page is of an earlier run of the app."
    return _encode({"err": text, "htagweb": {"reload": True}}).decode()


def refusal(text: str, page: str | None = None, number: int | None = None) -> str:
    """Return an error; with page and number it settles that interaction."""
    extra = {"page": page, "answers": number} if number is not None else {}
    return _encode({"err": text, "htagweb": extra} if extra else {"err": text}).decode()


def ended(reason: str, number: int | None = None) -> str:
    """Return the news that the app process ended; a reason of a later version is told as a crash."""
    restart = "auto" if reason in RETURNS_BY_ITSELF else "click" if reason in RETURNS_ON_CLICK else "button"
    end = {"reason": reason, "text": END_TEXTS.get(reason, END_TEXTS["crashed"]), "restart": restart}
    return own(n=number, end=end) if number is not None else own(end=end)


def render(emission: Emission, recipient: str) -> str:
    """Return an emission as the page ``recipient`` gets it: an answer's scripts are for its asker alone."""
    action = emission.action
    extra: dict[str, Any] = {"n": emission.number}
    match action:
        case Ended(reason):
            return ended(reason, emission.number)
        case UpdatedByApp(dom, scripts):
            parts = [dom, scripts]
        case Answered(page, number, dom, scripts, refused):
            parts = [dom]
            if page == recipient:
                parts.append(scripts)
                extra |= {"page": page, "answers": number} | ({"refused": True} if refused else {})
    members = [text for part in parts if (text := bytes(part).strip()[1:-1].strip())]
    members.append(b'"htagweb":' + _encode(extra))
    return (b"{" + b",".join(members) + b"}").decode()
