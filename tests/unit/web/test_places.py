"""The places of connected pages: as many as the session may have, kept while a socket holds them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from htagweb_broker import BrokerUnavailable

from htagweb.web.places import KEEP_S, MOST_SOCKETS, Places
from htagweb.web.sockets import NOT_READY, TOO_MANY_PAGES
from tests.support.fakes import FakeBroker, FakeClock
from tests.support.waiting import until
from tests.unit.web.harness import GENERATION, PAGE, Site, Socket

HELLO = f"page={PAGE}&generation={GENERATION}&last=3"


@pytest.fixture
def broker() -> FakeBroker:
    return FakeBroker()


@pytest.fixture
async def places(broker: FakeBroker) -> AsyncIterator[Places]:
    yield Places(broker.web_side.pages, FakeClock(), 2)


async def test_a_session_has_so_many_places_and_a_free_one_is_given_again(places: Places) -> None:
    async with (
        places.hold("s", "one") as first,
        places.hold("s", "two") as second,
        places.hold("s", "three") as third,
        places.hold("other", "three") as fourth,
    ):
        assert (first, second, third, fourth) == (True, True, False, True)
    async with places.hold("s", "three") as third:
        assert third


async def test_a_page_that_reconnects_keeps_its_one_place(broker: FakeBroker, places: Places) -> None:
    async with places.hold("s", "one"):
        async with places.hold("s", "one") as again:
            assert again
        assert broker.places == {"s": {"one"}}
    assert broker.places == {"s": set()}


async def test_one_page_has_only_so_many_sockets_however_fast_they_come(places: Places) -> None:
    async with AsyncExitStack() as sockets:
        coming = [sockets.enter_async_context(places.hold("s", "one")) for _ in range(3 * MOST_SOCKETS)]
        assert (await asyncio.gather(*coming)).count(True) == MOST_SOCKETS


async def test_a_place_that_cannot_be_given_back_is_left_to_expire(
    broker: FakeBroker, places: Places
) -> None:
    async with places.hold("s", "one"):
        broker.errors["leave_page"] = BrokerUnavailable("away")


async def test_what_is_held_is_renewed_in_time(broker: FakeBroker) -> None:
    clock = FakeClock()
    places = Places(broker.web_side.pages, clock, 2)
    async with asyncio.TaskGroup() as tasks:
        keeping = tasks.create_task(places.keep())
        async with places.hold("s", "one"):
            await clock.advance(KEEP_S)
        await clock.advance(KEEP_S)
        keeping.cancel()
    assert broker.of("enter") == [("s", "one")] * 2


async def test_a_page_too_many_is_told_so(site: Site) -> None:
    site.own()
    site.broker.places[site.instance.session] = {str(number) for number in range(64)}
    socket = Socket(site, HELLO)
    await socket.serve()
    assert socket.code == TOO_MANY_PAGES


async def test_a_broker_that_is_away_is_no_reason_to_call_it_too_many(site: Site) -> None:
    site.own()
    site.broker.errors["enter"] = BrokerUnavailable("away")
    socket = Socket(site, HELLO)
    await socket.serve()
    assert socket.code == NOT_READY
    await until(lambda: not site.service.watchers, "nobody watches")
