"""Seals: both sides get the same keys, a frame opens once and in its turn, everything else is a SealError."""

import logging

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from htagweb.web.sealing import (
    OVERHEAD_BYTES,
    Agreement,
    Conversation,
    Curve,
    KeyWrap,
    SealError,
    TrafficKeys,
    agree,
)
from tests.support.seal import PageSeal, to_base64url

CURVES: list[Curve] = ["X25519", "P-256"]
KEYS = TrafficKeys(b"a" * 32, b"b" * 32)
MIRRORED = TrafficKeys(KEYS.to_page, KEYS.from_page)
"""Seals as the page of ``KEYS`` does."""
FIELD = 2**255 - 19
LOW_ORDER = [
    0,
    1,
    FIELD - 1,
    FIELD,
    FIELD + 1,
    325606250916557431795983626356110631294008115727848805560023387167927233504,
    39382357235489614581723060781553021112529911719440698176882885853963445705823,
]
"""The points of X25519 with which the secret is no secret."""


def agreed(curve: Curve) -> tuple[PageSeal, Agreement]:
    page = PageSeal(curve)
    agreement = agree(curve, page.key)
    page.agree(agreement.public)
    return page, agreement


# The agreement


@pytest.mark.parametrize("curve", CURVES)
def test_page_and_server_open_what_the_other_sealed(curve: Curve) -> None:
    page, agreement = agreed(curve)
    conversation = Conversation(agreement.keys)
    assert conversation.open(page.seal("from the page, é😀")) == "from the page, é😀"
    assert page.open(conversation.seal("to the page")) == (1, "to the page")
    assert page.open(conversation.seal("")) == (2, "")
    assert conversation.open(page.seal("")) == ""


@pytest.mark.parametrize("curve", CURVES)
def test_every_agreement_has_keys_of_its_own(curve: Curve) -> None:
    page = PageSeal(curve)
    one, two = agree(curve, page.key), agree(curve, page.key)
    assert one.public != two.public
    assert len({one.keys.from_page, one.keys.to_page, two.keys.from_page, two.keys.to_page}) == 4


@pytest.mark.parametrize("point", LOW_ORDER)
@pytest.mark.parametrize("high_bit", [0, 2**255])
def test_a_key_of_low_order_is_refused(point: int, high_bit: int) -> None:
    with pytest.raises(SealError, match="fit for an agreement"):
        agree("X25519", to_base64url((point | high_bit).to_bytes(32, "little")))


@pytest.mark.parametrize(
    "raw",
    [b"\4" + bytes(64), b"\4" + b"\xff" * 64, b"\2" + bytes(64), bytes(65), b"\4" + b"\1" * 64],
    ids=["zero", "too large", "not uncompressed", "infinity", "beside the curve"],
)
def test_what_is_no_point_of_p256_is_refused(raw: bytes) -> None:
    with pytest.raises(SealError, match="fit for an agreement"):
        agree("P-256", to_base64url(raw))


@pytest.mark.parametrize("curve", CURVES)
@pytest.mark.parametrize(
    "key", ["", "A", "A" * 44, "A" * 42, "é" * 43, "A" * 42 + "=", "A" * 42 + "\n", "\0"]
)
def test_what_is_no_key_is_refused_with_what_was_expected(curve: Curve, key: str) -> None:
    with pytest.raises(SealError, match=r"expected [0-9]+ bytes of base64url as a public key"):
        agree(curve, key)


@given(
    curve=some.sampled_from(CURVES), key=some.text(max_size=140) | some.binary(max_size=70).map(to_base64url)
)
@settings(max_examples=300, deadline=None)
def test_any_text_as_a_key_is_agreed_with_or_refused(curve: Curve, key: str) -> None:
    try:
        agree(curve, key)
    except SealError as exc:
        assert "expected" in str(exc)


# Frames


texts = some.text(max_size=200)
numbers = some.integers(1, 2**53)


@given(text=texts, number=numbers)
def test_a_frame_opens_as_what_was_sealed(text: str, number: int) -> None:
    frame = MIRRORED.seal(number, text)
    assert len(frame) == len(text.encode()) + OVERHEAD_BYTES
    assert KEYS.open(frame) == (number, text)


@given(text=texts, number=numbers, at=some.integers(0), bits=some.integers(1, 255))
def test_an_altered_frame_is_refused(text: str, number: int, at: int, bits: int) -> None:
    frame = bytearray(MIRRORED.seal(number, text))
    frame[at % len(frame)] ^= bits
    with pytest.raises(SealError):
        KEYS.open(bytes(frame))


@given(text=texts, kept=some.integers(0))
def test_a_truncated_frame_is_refused(text: str, kept: int) -> None:
    frame = MIRRORED.seal(1, text)
    with pytest.raises(SealError):
        KEYS.open(frame[: kept % len(frame)])


@given(text=texts, more=some.binary(min_size=1, max_size=40))
def test_a_lengthened_frame_is_refused(text: str, more: bytes) -> None:
    with pytest.raises(SealError):
        KEYS.open(MIRRORED.seal(1, text) + more)


@given(some.binary(max_size=200))
@settings(max_examples=500)
def test_any_bytes_are_refused_and_raise_nothing_else(data: bytes) -> None:
    with pytest.raises(SealError):
        KEYS.open(data)
    with pytest.raises(SealError):
        Conversation(KEYS).open(data)


def test_what_is_sealed_for_one_direction_does_not_open_in_the_other() -> None:
    with pytest.raises(SealError):
        KEYS.open(KEYS.seal(1, "reflected"))


@pytest.mark.parametrize("number", [0, -1, 2**53 + 1, 2**64])
def test_a_number_beyond_its_range_is_not_sealed_under(number: int) -> None:
    with pytest.raises(SealError, match="number from 1"):
        KEYS.seal(number, "")


@pytest.mark.parametrize("number", [0, 2**53 + 1, 2**64 - 1])
def test_a_number_beyond_its_range_is_refused(number: int) -> None:
    page, agreement = agreed("X25519")
    with pytest.raises(SealError, match="number from 1"):
        agreement.keys.open(page.seal("x", number))


# A conversation


@given(some.lists(some.integers(0, 6), min_size=1, max_size=12))
def test_a_conversation_takes_frames_in_order_once_each_and_no_other(order: list[int]) -> None:
    frames = [MIRRORED.seal(number, f"text {number}") for number in range(1, 8)]
    conversation, turn = Conversation(KEYS), 0
    for position in order:
        if position == turn:
            assert conversation.open(frames[position]) == f"text {position + 1}"
            turn += 1
            continue
        with pytest.raises(SealError, match=f"expected frame {turn + 1}, got frame {position + 1}"):
            conversation.open(frames[position])


@given(some.lists(texts, min_size=1, max_size=20))
def test_no_two_texts_of_a_conversation_have_one_number(said: list[str]) -> None:
    conversation = Conversation(KEYS)
    frames = [conversation.seal(text) for text in said]
    opened = [MIRRORED.open(frame) for frame in frames]
    assert opened == list(enumerate(said, 1))


# What may not be seen


def test_no_key_and_no_text_is_in_a_repr_an_error_or_a_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    page, agreement = agreed("X25519")
    frame = page.seal("secret words")
    shown = [
        repr(agreement),
        repr(agreement.keys),
        repr(Conversation(agreement.keys)),
        repr(KeyWrap(["secret"])),
    ]
    for data in (frame + b"x", frame[:-1], frame[:9]):
        with pytest.raises(SealError) as caught:
            agreement.keys.open(data)
        shown += [str(caught.value), repr(caught.value)]
    found = "".join(shown) + caplog.text
    assert "secret" not in found
    for key in (agreement.keys.from_page, agreement.keys.to_page):
        assert key.hex() not in found
        assert repr(key)[2:-1] not in found


# Wrapped for the broker


def test_wrapped_keys_come_back_for_their_owner_alone() -> None:
    wrapped = KeyWrap(["secret"]).wrap(KEYS, "session:app:channel")
    assert KeyWrap(["secret"]).unwrap(wrapped, "session:app:channel") == KEYS
    assert KEYS.from_page not in wrapped
    for secret, owner in (("secret", "session:app:other"), ("other", "session:app:channel")):
        with pytest.raises(SealError):
            KeyWrap([secret]).unwrap(wrapped, owner)


def test_the_first_secret_wraps_and_all_unwrap() -> None:
    wrapped = KeyWrap(["new", "old"]).wrap(KEYS, "o")
    assert KeyWrap(["newest", "new"]).unwrap(wrapped, "o") == KEYS
    with pytest.raises(SealError):
        KeyWrap(["old"]).unwrap(wrapped, "o")


def test_the_same_keys_are_never_wrapped_to_the_same_bytes() -> None:
    wrap = KeyWrap(["secret"])
    assert wrap.wrap(KEYS, "o") != wrap.wrap(KEYS, "o")


@given(some.binary(max_size=120))
def test_any_bytes_as_wrapped_keys_are_refused(data: bytes) -> None:
    with pytest.raises(SealError):
        KeyWrap(["secret"]).unwrap(data, "o")
