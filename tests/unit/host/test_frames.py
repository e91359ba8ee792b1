"""Frames survive their way, and what is no frame is refused."""

import struct
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from htagweb.host import frames
from htagweb.host.frames import FrameError, FrameSplitter

RAW = msgspec.Raw(b'{"a":[1,2]}')
TO_APP: list[frames.ToApp] = [
    frames.Start("m.A", ["x"], {"k": None}, {"s": RAW}, True, "r1"),
    frames.Render("r2"),
    frames.Interact("p", 3, RAW),
    frames.SessionData({"s": RAW}, 3),
    frames.Updated(4, False),
    frames.End(),
]
FROM_APP: list[frames.FromApp] = [
    frames.Page("r1", "<html>é</html>", changed={"k": RAW}, deleted=["gone"]),
    frames.Failed("r1", "ValueError: no", "Traceback"),
    frames.Answer("p", 3, RAW, msgspec.Raw(b"{}")),
    frames.Update(4, RAW, msgspec.Raw(b"{}"), deleted=["k"]),
    frames.Save(changed={"k": RAW}),
    frames.Exit(),
]
FROM_TEMPLATE: list[frames.FromTemplate] = [
    frames.Ready(0.5, 0),
    frames.Ready(0.5, 0, {"/p/é.py": (10**18, 5)}),
    frames.ImportFailed("SyntaxError: no", "Traceback"),
    frames.Forked(7, 1234),
    frames.ForkFailed(7, "no memory"),
]


def only_body(data: bytes) -> bytes:
    (body,) = FrameSplitter().feed(data)
    return body


def alike(decoded: frames.Frame, sent: frames.Frame) -> bool:
    return type(decoded) is type(sent) and msgspec.json.encode(decoded) == msgspec.json.encode(sent)


@pytest.mark.parametrize("frame", TO_APP, ids=lambda frame: type(frame).__name__)
def test_a_frame_to_the_app_arrives_as_it_was(frame: frames.ToApp) -> None:
    assert alike(frames.decode_to_app(only_body(frames.encode(frame))), frame)


@pytest.mark.parametrize("frame", FROM_APP, ids=lambda frame: type(frame).__name__)
def test_a_frame_of_the_app_arrives_as_it_was(frame: frames.FromApp) -> None:
    assert alike(frames.decode_from_app(only_body(frames.encode(frame))), frame)


@pytest.mark.parametrize("frame", FROM_TEMPLATE, ids=lambda frame: type(frame).__name__)
def test_a_packet_of_the_template_arrives_as_it_was(frame: frames.FromTemplate) -> None:
    assert alike(frames.decode_from_template(frames.encode_packet(frame)), frame)


def test_a_packet_to_the_template_arrives_as_it_was() -> None:
    fork = frames.Fork("i", 7)
    assert alike(frames.decode_to_template(frames.encode_packet(fork)), fork)


def test_carried_json_is_not_rewritten_on_its_way() -> None:
    odd = msgspec.Raw(b'{ "a" :1.0,"\\u0061":2 }')
    answer = frames.Answer("p", 1, odd, msgspec.Raw(b"{}"))
    decoded = frames.decode_from_app(only_body(frames.encode(answer)))
    assert isinstance(decoded, frames.Answer)
    assert bytes(decoded.dom) == bytes(odd)


@pytest.mark.parametrize(
    "decode",
    [
        frames.decode_to_app,
        frames.decode_from_app,
        frames.decode_to_template,
        frames.decode_from_template,
        frames.decode_call,
    ],
)
@pytest.mark.parametrize(
    "body", [b"", b"no json", b"[]", b'{"type":"nonsense"}', b'{"type":"end","more":1}', b"\xff"]
)
def test_what_is_no_frame_is_refused(decode: Callable[[bytes], Any], body: bytes) -> None:
    with pytest.raises(FrameError):
        decode(body)


def test_a_frame_of_the_other_direction_is_refused() -> None:
    with pytest.raises(FrameError):
        frames.decode_from_app(only_body(frames.encode(frames.End())))


def test_frames_are_cut_out_wherever_the_reads_end() -> None:
    stream = b"".join(frames.encode(frame) for frame in TO_APP)
    splitter = FrameSplitter()
    bodies = [body for at in range(len(stream)) for body in splitter.feed(stream[at : at + 1])]
    assert bodies == list(FrameSplitter().feed(stream))
    assert len(bodies) == len(TO_APP)


def test_a_frame_that_announces_too_many_bytes_is_refused_before_they_come() -> None:
    with pytest.raises(FrameError, match="101 bytes is over the limit of 100"):
        list(FrameSplitter(max_bytes=100).feed(struct.pack(">I", 101)))


def test_a_packet_over_the_limit_is_refused_by_the_sender() -> None:
    with pytest.raises(FrameError, match="over the limit"):
        frames.encode_packet(frames.ImportFailed("e", "x" * frames.MAX_PACKET_BYTES))


def test_a_call_needs_only_the_id() -> None:
    assert frames.decode_call(b'{"id":5}') == frames.Call(5)


def test_a_call_that_continues_a_generator_has_nulls() -> None:
    call = frames.decode_call(b'{"id":5,"method":null,"args":null,"kargs":null,"event":{}}')
    assert call == frames.Call(5, None, None, None, {})


def test_a_call_with_a_wrong_field_is_refused_by_its_name() -> None:
    with pytest.raises(FrameError, match=r"\$\.args"):
        frames.decode_call(b'{"id":5,"method":"m","args":{}}')


def test_a_value_set_to_null_and_a_deleted_one_are_told_apart() -> None:
    save = frames.Save(changed={"null": msgspec.Raw(b"null"), "set": RAW}, deleted=["gone"])
    decoded = frames.decode_from_app(only_body(frames.encode(save)))
    assert isinstance(decoded, frames.Save)
    texts = {key: value if value is None else bytes(value) for key, value in decoded.changes.items()}
    assert texts == {"null": b"null", "set": bytes(RAW), "gone": None}
