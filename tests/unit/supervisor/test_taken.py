"""No interaction runs twice: the last number of each page is remembered."""

from __future__ import annotations

import msgspec
from htagweb_broker import Interact

from htagweb.supervisor.taken import TakenNumbers


def message(number: int, page: str = "page") -> Interact:
    return Interact("1-00000000", page, number, msgspec.Raw(b"{}"))


def test_a_number_is_new_once() -> None:
    taken = TakenNumbers()
    assert taken.is_new(message(1))
    taken.take(message(1))
    assert not taken.is_new(message(1))
    assert taken.is_new(message(2))


def test_pages_count_for_themselves() -> None:
    taken = TakenNumbers()
    taken.take(message(5, "one"))
    assert taken.is_new(message(1, "two"))


def test_the_page_that_was_not_used_for_longest_is_forgotten_first() -> None:
    taken = TakenNumbers(max_pages=2)
    for each in (message(1, "a"), message(1, "b"), message(2, "a"), message(1, "c")):
        taken.take(each)
    assert not taken.is_new(message(2, "a"))
    assert taken.is_new(message(1, "b"))
