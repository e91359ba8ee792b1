"""What commands print: durations a person can read, columns that stand under one another."""

import pytest

from htagweb.supervisor.tables import Listing, as_table, duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0s"),
        (0.9, "0s"),
        (59.9, "59s"),
        (60, "1m 0s"),
        (3599, "59m 59s"),
        (3600, "1h 0m"),
        (86399, "23h 59m"),
        (86400, "1d 0h"),
        (14 * 86400 - 1, "13d 23h"),
    ],
)
def test_a_duration_is_told_in_its_two_largest_units(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_without_rows_the_heads_stand_alone() -> None:
    assert as_table(Listing([], ("ONE", "TWO"), [])) == "ONE  TWO"


def test_numbers_are_aligned_to_the_right_and_no_line_ends_in_spaces() -> None:
    table = as_table(Listing([], ("N", "TEXT"), [(1, "a"), (100, "abcdef")]))
    assert table == "  N  TEXT\n  1  a\n100  abcdef"
