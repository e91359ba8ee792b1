"""Places for a session's pages: only so many, and none is kept by who is gone."""

import pytest
from htagweb_broker import limits
from htagweb_broker.keys import Keys
from htagweb_broker.pages import Pages

from tests.unit.broker.fakes import SESSION, FakeServerClient

NOW_MS = 1_700_000_000_000
OTHER = "f" * 64


@pytest.fixture
def pages(memory: FakeServerClient) -> Pages:
    """Give the places of a server in memory."""
    return Pages(memory, Keys())


async def enter(pages: Pages, page: str, now_ms: int = NOW_MS, session: str = SESSION) -> bool:
    return await pages.enter(session, page, now_ms, 2)


async def test_when_all_places_are_taken_a_page_is_refused(pages: Pages) -> None:
    assert [await enter(pages, page) for page in "abc"] == [True, True, False]


async def test_a_page_that_has_a_place_keeps_it(pages: Pages) -> None:
    assert [await enter(pages, page) for page in "abab"] == [True] * 4


async def test_a_place_that_was_given_back_is_free(pages: Pages) -> None:
    await enter(pages, "a")
    await enter(pages, "b")
    await pages.leave(SESSION, "a")
    assert [await enter(pages, page) for page in "cb"] == [True, True]


async def test_to_leave_twice_takes_nobody_elses_place(pages: Pages) -> None:
    await enter(pages, "a")
    for _ in range(2):
        await pages.leave(SESSION, "b")
    assert [await enter(pages, page) for page in "bc"] == [True, False]


async def test_a_page_that_is_not_heard_of_loses_its_place(pages: Pages) -> None:
    await enter(pages, "a")
    await enter(pages, "b")
    assert not await enter(pages, "c", NOW_MS + limits.PAGE_TTL_MS - 1)
    assert await enter(pages, "c", NOW_MS + limits.PAGE_TTL_MS)


async def test_to_enter_again_keeps_a_place_longer(pages: Pages) -> None:
    await enter(pages, "a")
    await enter(pages, "a", NOW_MS + 60_000)
    await enter(pages, "b", NOW_MS + 60_000)
    assert not await enter(pages, "c", NOW_MS + limits.PAGE_TTL_MS)


async def test_sessions_have_places_of_their_own(pages: Pages) -> None:
    for page in "ab":
        await enter(pages, page)
    assert await enter(pages, "c", session=OTHER)


async def test_the_key_expires_with_its_last_page(pages: Pages, memory: FakeServerClient) -> None:
    await enter(pages, "a")
    assert 0 < await memory.call("PTTL", Keys().pages(SESSION)) <= limits.PAGE_TTL_MS
