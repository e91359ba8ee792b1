"""The little of protobuf that a Streamlit page takes is written and read as Streamlit's own code does."""

from __future__ import annotations

import pytest

from benchmarks.load.errors import BadAnswer
from benchmarks.load.users.streamlit import field, fields_of, varint
from tests.benchmarks.load.wires import Streamlit

NUMBERS = [
    (0, b"\x00"),
    (1, b"\x01"),
    (127, b"\x7f"),
    (128, b"\x80\x01"),
    (300, b"\xac\x02"),
    (16384, b"\x80\x80\x01"),
]


@pytest.mark.parametrize(("number", "written"), NUMBERS)
def test_a_number_takes_seven_bits_of_each_byte(number: int, written: bytes) -> None:
    assert varint(number) == written


def test_a_field_has_its_number_its_length_and_its_value() -> None:
    assert field(11, b"") == b"Z\x00"
    assert field(2, b"ab") == b"\x12\x02ab"
    assert field(16, b"a" * 200) == b"\x82\x01\xc8\x01" + b"a" * 200


@pytest.mark.parametrize(
    ("message", "numbers"),
    [
        (b"", []),
        (Streamlit.rerun, [11]),
        (Streamlit.started, [2, 4]),  # the metadata's own field 6 is not one of the message
        (Streamlit.drawn[0], [1, 2, 5]),
        (Streamlit.other, [9]),
        (Streamlit.finished, [2, 6]),
        (field(27, b"x" * 300) + b"\x30\x96\x01" + field(2, b""), [27, 6, 2]),
    ],
    ids=["empty", "rerun", "started", "drawn", "status", "finished", "long"],
)
def test_only_the_fields_of_the_message_itself_are_told(message: bytes, numbers: list[int]) -> None:
    assert list(fields_of(message)) == numbers


def test_every_field_that_is_written_is_read() -> None:
    numbers = [1, 15, 16, 2047, 2048]
    message = b"".join(field(number, b"\x30\x00" * number) for number in numbers)
    assert list(fields_of(message)) == numbers


def test_a_kind_of_field_that_streamlit_does_not_send_is_refused() -> None:
    with pytest.raises(BadAnswer, match="ForwardMsg"):
        list(fields_of(b"\x35\x01\x00\x00\x00"))
