"""How long a click is kept while the broker is away: 30 s, then its page is told."""

import asyncio
from dataclasses import dataclass

import msgspec
import pytest
from htagweb_broker import Interact

from htagweb.web.submitting import Submission
from tests.unit.web.harness import GENERATION, PAGE, Site

CLICK = Submission(PAGE, 7, GENERATION, msgspec.Raw(b'{"id":1}'))


@dataclass
class Outage:
    """What became of a click on a broker that was away."""

    given_up: bool
    """Whether it was given up before the broker was back."""
    answer: str | None
    """What its page hears at once."""
    waiting: list[bool]
    """What the page was told of its waiting."""


async def click_in_outage(site: Site, seconds: int) -> Outage:
    """Click while the broker is away for so long; the clock goes in steps, so that it is tried again."""
    waiting: list[bool] = []

    async def note(is_waiting: bool) -> None:
        waiting.append(is_waiting)

    site.broker.away = True
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(CLICK.run(site.service, site.instance, note))
        for _ in range(seconds):
            await site.clock.advance(1)
        given_up = running.done()
        site.broker.away = False
        await site.clock.advance(1)
    return Outage(given_up, running.result(), waiting)


async def test_a_click_is_carried_out_when_the_broker_comes_back_after_29_s(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    outage = await click_in_outage(site, 29)
    assert (outage.given_up, outage.answer, outage.waiting) == (False, None, [True, False])
    ((message,),) = site.broker.of("submit")
    assert isinstance(message, Interact)
    assert (message.page, message.number, message.generation) == (PAGE, 7, GENERATION)
    assert "given up" not in caplog.text


async def test_a_click_is_told_and_not_carried_out_when_the_broker_is_away_for_31_s(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    outage = await click_in_outage(site, 31)
    assert outage.given_up
    told = msgspec.json.decode(outage.answer or "")
    assert told["err"] == "The server did not answer: this click may not have been carried out."
    assert told["htagweb"] == {"page": PAGE, "answers": 7}
    assert site.broker.of("submit") == []
    assert "an interaction was given up: the broker is away" in caplog.text
