"""No interaction runs twice, and one that the broker lost runs when it comes again."""

from __future__ import annotations

import msgspec
from htagweb_broker import Interact

from htagweb.supervisor.taken import MAX_SKIPPED, TakenNumbers


def message(number: int, page: str = "page", after: int = 0) -> Interact:
    return Interact("1-00000000", page, number, msgspec.Raw(b"{}"), after=after)


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


def test_a_number_that_was_left_out_is_new_later_once() -> None:
    taken = TakenNumbers()
    for number in (1, 4, 2):
        taken.take(message(number))
    assert [taken.is_new(message(number)) for number in range(1, 6)] == [False, False, True, False, True]


def test_what_follows_a_number_that_was_not_taken_waits_for_it() -> None:
    taken = TakenNumbers()
    taken.take(message(1))
    assert not taken.is_new(message(3, after=2))
    taken.take(message(2, after=1))
    assert taken.is_new(message(3, after=2))


def test_numbers_left_out_are_remembered_up_to_a_limit() -> None:
    taken = TakenNumbers()
    taken.take(message(10**15))
    assert taken.is_new(message(10**15 - MAX_SKIPPED))
    assert not taken.is_new(message(10**15 - MAX_SKIPPED - 1))


def test_a_successor_knows_what_was_taken() -> None:
    taken, successor = TakenNumbers(), TakenNumbers()
    taken.take(message(3))
    successor.load(taken.dump())
    assert [successor.is_new(message(number)) for number in (2, 3, 4)] == [True, False, True]
