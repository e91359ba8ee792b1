"""How long a click is kept while the broker is away: 30 s, then its page is told."""

import asyncio

import msgspec
import pytest
from htagweb_broker import Interact

from htagweb.web.submitting import Submission
from tests.unit.web.harness import GENERATION, PAGE, Site

CLICK = Submission(PAGE, 7, GENERATION, msgspec.Raw(b'{"id":1}'))


async def clicked(site: Site, waiting: list[bool]) -> str | None:
    """Submit the click; return what its page hears at once. Notes when the page is told that it waits."""

    async def note(is_waiting: bool) -> None:
        waiting.append(is_waiting)

    return await CLICK.run(site.service, site.instance, note)


async def pass_s(site: Site, seconds: int) -> None:
    """Turn the clock in steps, so that it is tried again meanwhile."""
    for _ in range(seconds):
        await site.clock.advance(1)


async def test_a_click_is_carried_out_when_the_broker_comes_back_after_29_s(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    waiting: list[bool] = []
    site.broker.away = True
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(clicked(site, waiting))
        await pass_s(site, 29)
        assert not running.done()
        assert waiting == [True]
        site.broker.away = False
        await site.clock.advance(1)
    assert running.result() is None
    assert waiting == [True, False]
    ((message,),) = site.broker.of("submit")
    assert isinstance(message, Interact)
    assert (message.page, message.number, message.generation) == (PAGE, 7, GENERATION)
    assert "given up" not in caplog.text


async def test_a_click_is_told_and_not_carried_out_when_the_broker_is_away_for_31_s(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    waiting: list[bool] = []
    site.broker.away = True
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(clicked(site, waiting))
        await pass_s(site, 31)
        assert running.done()
        site.broker.away = False
        await site.clock.advance(1)
    told = msgspec.json.decode(running.result() or "")
    assert told["err"] == "The server did not answer: this click may not have been carried out."
    assert told["htagweb"] == {"page": PAGE, "answers": 7}
    assert site.broker.of("submit") == []
    assert "an interaction was given up: the broker is away" in caplog.text
