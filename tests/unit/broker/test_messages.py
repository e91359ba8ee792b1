"""Messages survive their way; whatever else comes is a MessageError and nothing worse."""

import msgspec
import pytest
from htagweb_broker import messages
from htagweb_broker.errors import MessageError
from htagweb_broker.messages import (
    Answered,
    Connect,
    Ended,
    FailureReply,
    Interact,
    Launch,
    Open,
    PageReply,
    SpawnRequest,
    UpdatedByApp,
    decode_action,
    decode_inbox,
    decode_reply,
    decode_spawn,
    encode,
)

RAW = msgspec.Raw(b'{"a":[1,2]}')
LAUNCH = Launch(["x"], {"k": None, "v": "é"}, False, 60.0, 0.0)
INTERACT = b'{"type":"interact","generation":"g","page":"p","number":1,"call":%s}'
REASONS = [
    *("exit", "inactivity", "interaction_timeout", "crashed", "replaced", "drained"),
    *("lost", "never_connected", "refused"),
]


@pytest.mark.parametrize(
    "message",
    [Open("r", "w", LAUNCH), Interact("g", "p", 1, RAW, "w"), Connect("g")],
    ids=lambda message: type(message).__name__,
)
def test_an_inbox_message_arrives_as_it_was(message: messages.InboxMessage) -> None:
    arrived = decode_inbox(encode(message))
    assert type(arrived) is type(message)
    assert encode(arrived) == encode(message)


@pytest.mark.parametrize("reply", [PageReply("g", "<p>é</p>"), FailureReply("crashed", "no", "why")])
def test_a_reply_arrives_as_it_was(reply: messages.Reply) -> None:
    assert decode_reply(encode(reply)) == reply


@pytest.mark.parametrize(
    "action",
    [Answered("p", 3, RAW, RAW), UpdatedByApp(RAW, RAW), Ended("lost")],
    ids=lambda action: type(action).__name__,
)
def test_an_action_arrives_as_it_was(action: messages.Action) -> None:
    assert encode(decode_action(encode(action))) == encode(action)


def test_a_spawn_request_arrives_as_it_was() -> None:
    request = SpawnRequest("s:m.A", "1-ab")
    assert decode_spawn(encode(request)) == request


def test_what_a_page_calls_is_passed_on_untouched() -> None:
    arrived = decode_inbox(INTERACT % b'{"deep": [1, {"x": "\\u00e9"}]}')
    assert isinstance(arrived, Interact)
    assert bytes(arrived.call) == b'{"deep": [1, {"x": "\\u00e9"}]}'


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"\xff",
        b"{",
        b"{}",
        b'{"type":"other"}',
        b'{"type":"connect"}',
        b'{"type":"connect","generation":1}',
        b'{"type":"connect","generation":null}',
        b'{"type":"connect","generation":"g"} x',
        INTERACT % b"",
        INTERACT.replace(b":1,", b':"1",') % b"1",
        INTERACT.replace(b":1,", b":1.5,") % b"1",
        INTERACT.replace(b":1,", b":" + b"9" * 5000 + b",") % b"1",
        b'{"type":"page","generation":"g","html":""}',
        b'{"type":"end","reason":"lost"}',
        b'{"type":"open","request":"r","worker":"w"}',
        b'{"type":"open","request":"r","worker":"w","launch":{"args":[1],"kargs":{},"debug":false}}',
        encode(Open("r", "w", LAUNCH)).replace(b'"debug"', b'"sandboxed":true,"debug"'),
    ],
)
def test_what_is_no_inbox_message_is_refused(body: bytes) -> None:
    with pytest.raises(MessageError, match="not the message that was expected"):
        decode_inbox(body)


def test_text_that_is_not_utf8_is_refused_as_a_message() -> None:
    with pytest.raises(MessageError):
        decode_inbox(b'{"type":"connect","generation":"\xff"}')


def test_nesting_without_end_is_refused_as_a_message() -> None:
    with pytest.raises(MessageError):
        decode_inbox(INTERACT % (b"[" * 200_000 + b"]" * 200_000))


@pytest.mark.parametrize("reason", REASONS)
def test_a_known_reason_of_an_end_is_decoded(reason: str) -> None:
    ended = decode_action(b'{"type":"end","reason":"%s"}' % reason.encode())
    assert isinstance(ended, Ended)
    assert ended.reason == reason


def test_what_a_later_version_says_besides_is_skipped() -> None:
    assert decode_inbox(b'{"type":"connect","generation":"g","more":1}') == Connect("g")
    assert decode_spawn(b'{"instance":"s:m.A","expected":"","more":1}') == SpawnRequest("s:m.A", "")
    assert decode_action(b'{"type":"end","reason":"lost","more":1}') == Ended("lost")
    assert decode_reply(b'{"type":"page","generation":"g","html":"","more":1}') == PageReply("g", "")


def test_a_web_worker_reads_the_reasons_of_a_later_supervisor() -> None:
    assert decode_action(b'{"type":"end","reason":"bored"}') == Ended("bored")
    assert decode_reply(b'{"type":"failure","reason":"bored","error":""}') == FailureReply("bored", "")


@pytest.mark.parametrize("reason", ["", "bored", "EXIT", "exit "])
def test_nobody_ends_an_app_for_a_reason_outside_the_vocabulary(reason: str) -> None:
    with pytest.raises(MessageError):
        decode_inbox(b'{"type":"end","generation":"g","reason":"%s"}' % reason.encode())


def test_a_message_at_its_limit_is_encoded() -> None:
    size = len(encode(Connect("g")))
    assert encode(Connect("g"), size) == b'{"type":"connect","generation":"g"}'


def test_a_message_over_its_limit_is_refused_with_both_numbers() -> None:
    size = len(encode(Connect("g")))
    with pytest.raises(MessageError, match=f"of {size} bytes is over the limit of {size - 1}"):
        encode(Connect("g"), size - 1)


def test_a_limit_counts_bytes_and_not_letters() -> None:
    size = len(encode(Connect("é")))
    assert size == len(encode(Connect("e"))) + 1
    with pytest.raises(MessageError):
        encode(Connect("é"), size - 1)


def test_a_waiting_request_names_the_page_and_the_number() -> None:
    assert messages.waiting_request("page", 3) == "page:3"
