"""Opening a page: who is asked, how often, and what the browser gets when there is no answer."""

import asyncio
import json
import re
from typing import Any

import pytest
from htagweb_broker import BrokerUnavailable, EndReason, FailureReply, Launch, SpawnRequest
from starlette.requests import Request

from htagweb.web import opening
from tests.support.waiting import until
from tests.unit.web.harness import APP, GENERATION, SUPERVISOR, Site, beat


def config_of(html: str) -> dict[str, Any]:
    found = re.search(r'type="application/json">(.*?)</script>', html)
    assert found
    config: dict[str, Any] = json.loads(found[1])
    return config


async def test_the_answer_is_the_page_with_its_configuration(site: Site) -> None:
    site.own()
    response = await site.get_answered()
    assert response.status_code == 200
    assert "<body>the page" in response.text
    assert config_of(response.text) == {
        "url": f"/_/{APP}",
        "generation": GENERATION,
        "last": 5,
        "ping_s": opening.PING_S,
        "max_message_bytes": site.service.settings.max_message_bytes,
    }


@pytest.mark.parametrize("name", ["ssl", "parano", "http_only", "debug"])
async def test_a_mode_of_the_runner_is_in_the_configuration_when_it_is_on(site: Site, name: str) -> None:
    setattr(site.runner, name, True)
    config = config_of((await site.get_answered()).text)
    assert {key for key, value in config.items() if value is True} == {name}


@pytest.mark.parametrize("name", ["parano", "http_only"])
@pytest.mark.parametrize("is_on", [True, False])
async def test_a_mode_of_a_route_wins_over_the_runners(site: Site, name: str, is_on: bool) -> None:
    setattr(site.runner, name, not is_on)
    site.endpoint("/own", lambda request: site.runner.handle(request, APP, **{name: is_on}))
    config = config_of((await site.get_answered("/own")).text)
    assert config.get(name, False) is is_on
    assert getattr((await site.opened()).launch, name) is is_on


async def test_a_page_is_kept_by_its_cookie(site: Site) -> None:
    site.own()
    assert "set-cookie" in (await site.get_answered()).headers


async def test_the_query_is_how_the_app_is_launched(site: Site) -> None:
    site.own()
    await site.get_answered("/?one&k=v")
    message = await site.opened()
    assert message.launch == Launch(["one"], {"k": "v"}, False, 20.0, 0.0)
    assert message.worker == site.service.worker


async def test_after_a_new_connection_to_the_broker_the_page_is_asked_for_again(site: Site) -> None:
    site.own()
    async with asyncio.TaskGroup() as tasks:
        getting = tasks.create_task(site.get())
        await site.opened()
        site.broker.connections += 1
        await until(lambda: len(site.broker.of("open")) == 2, "it is asked for again")
        await site.reply()
    assert getting.result().status_code == 200
    first, second = site.broker.of("open")
    assert first == second


async def test_a_living_owner_is_asked_and_nobody_else(site: Site) -> None:
    site.own()
    await site.get_answered()
    assert site.broker.of("spawn") == []


@pytest.mark.parametrize(("owner", "generation"), [(None, ""), ("", GENERATION), ("dead-1-aa", GENERATION)])
async def test_without_a_living_owner_one_is_spawned_from_the_generation_that_was_seen(
    site: Site, owner: str | None, generation: str
) -> None:
    if owner is not None:
        site.own(owner)
    await site.get_answered()
    assert site.broker.of("spawn")[0] == (SpawnRequest(site.instance.dump(), generation),)


async def test_the_reply_is_awaited_before_the_request_is_appended(site: Site) -> None:
    site.own()
    async with asyncio.TaskGroup() as tasks:
        getting = tasks.create_task(site.get())
        message = await site.opened()
        assert message.request in site.broker.hints
        await site.reply()
    assert site.broker.hints == {}
    assert getting.result().status_code == 200


async def test_a_reply_without_a_hint_is_found(site: Site) -> None:
    site.own()
    async with asyncio.TaskGroup() as tasks:
        getting = tasks.create_task(site.get())
        await site.reply(hint=False)
    assert getting.result().status_code == 200


async def test_a_hint_without_a_reply_is_no_answer(site: Site) -> None:
    site.own()
    async with asyncio.TaskGroup() as tasks:
        getting = tasks.create_task(site.get())
        message = await site.opened()
        site.broker.hints[message.request].set()
        await until(lambda: site.broker.of("read_reply"), "a look at the reply")
        assert not getting.done()
        await site.reply()
    assert getting.result().status_code == 200


async def test_an_owner_that_dies_while_the_page_waits_is_replaced(site: Site) -> None:
    site.own()
    async with asyncio.TaskGroup() as tasks:
        getting = tasks.create_task(site.get())
        await site.opened()
        site.own("")
        await until(lambda: site.broker.of("spawn"), "a spawn request")
        await site.reply()
    assert site.broker.of("spawn")[0] == (SpawnRequest(site.instance.dump(), GENERATION),)
    assert getting.result().status_code == 200


async def test_an_owner_that_lives_and_does_not_answer_is_asked_again(site: Site) -> None:
    site.own()
    async with asyncio.TaskGroup() as tasks:
        getting = tasks.create_task(site.get())
        await until(lambda: site.broker.of("spawn"), "a spawn request")
        looks = len(site.broker.of("read_reply"))
        await site.reply()
    assert looks >= opening.ASK_AGAIN_S / opening.LOOK_AGAIN_S
    assert getting.result().status_code == 200


async def test_without_a_supervisor_the_page_says_how_to_start_one(site: Site) -> None:
    site.broker.living.clear()
    response = await site.get()
    assert response.status_code == 503
    assert "htagweb-supervisor --redis-url" in response.text
    assert site.broker.of("spawn") == []
    assert site.broker.of("open") == [], "a page that waits for hours would fill the inbox"


@pytest.mark.parametrize("full", [beat(load=2), beat(draining=True)])
async def test_without_room_the_page_says_so_and_comes_back(site: Site, full: Any) -> None:
    site.broker.living[SUPERVISOR] = full
    response = await site.get()
    assert response.status_code == 503
    assert "All places are taken" in response.text


async def test_an_owner_without_room_for_more_still_serves_its_own(site: Site) -> None:
    site.broker.living[SUPERVISOR] = beat(load=2)
    site.own()
    assert (await site.get_answered()).status_code == 200


async def test_a_record_that_is_lost_while_the_page_waits_is_made_anew(site: Site) -> None:
    site.own()
    async with asyncio.TaskGroup() as tasks:
        getting = tasks.create_task(site.get())
        await site.opened()
        del site.broker.records[site.instance]
        await until(lambda: site.broker.of("spawn"), "a spawn request")
        await site.reply()
    assert site.broker.of("spawn")[0] == (SpawnRequest(site.instance.dump(), ""),)
    assert getting.result().status_code == 200


async def test_a_supervisor_that_leaves_while_the_page_waits_is_told(site: Site) -> None:
    site.own()
    async with asyncio.TaskGroup() as tasks:
        getting = tasks.create_task(site.get())
        await site.opened()
        site.broker.living.clear()
        site.own("")
        await site.clock.advance(2)
    assert getting.result().status_code == 503


async def test_a_full_inbox_that_nobody_takes_from_gets_an_owner(site: Site) -> None:
    site.broker.open_refused = "busy"
    assert (await site.get()).status_code == 503
    assert site.broker.of("spawn") == [(SpawnRequest(site.instance.dump(), ""),)]


async def test_a_full_inbox_is_told(site: Site) -> None:
    site.broker.open_refused = "busy"
    assert (await site.get()).status_code == 503


async def test_a_page_that_does_not_come_in_time_is_told(site: Site) -> None:
    site.own()
    site.runner.timeout_interaction = 2**-6
    object.__setattr__(site.service.settings, "open_timeout_s", 2**-6)
    response = await site.get()
    assert response.status_code == 504
    assert "did not come in time" in response.text


async def test_a_broker_that_goes_away_while_the_page_waits_is_told(site: Site) -> None:
    site.own()
    site.broker.errors["read_reply"] = BrokerUnavailable("away")
    assert (await site.get()).status_code == 503


@pytest.mark.parametrize(
    ("reason", "status"), [("refused", 500), ("crashed", 500), ("interaction_timeout", 504), ("drained", 503)]
)
async def test_a_failure_is_told_by_its_reason(site: Site, reason: EndReason, status: int) -> None:
    site.own()
    response = await site.get_answered(reply=FailureReply(reason, "no <luck>", "trace <b>"))
    assert response.status_code == status
    assert "o &lt;luck&gt;" in response.text


async def test_a_failures_detail_is_shown_escaped(site: Site) -> None:
    site.own()
    response = await site.get_answered(reply=FailureReply("refused", "no", "trace <b>"))
    assert "<pre>trace &lt;b&gt;</pre>" in response.text


async def test_who_lives_is_known_for_a_second(site: Site) -> None:
    for _ in range(3):
        await site.get_answered()
        site.broker.done = [done for done in site.broker.done if done[0] != "open"]
    assert len(site.broker.of("supervisors")) == 1
    await site.clock.advance(1.1)
    await site.get_answered()
    assert len(site.broker.of("supervisors")) == 2


async def test_a_route_of_ones_own_has_its_own_limits(site: Site) -> None:
    site.own()

    def work(request: Request) -> Any:
        return site.runner.handle(request, APP, timeout_interaction=1, timeout_inactivity=2)

    site.endpoint("/own", work)
    await site.get_answered("/own")
    launch = (await site.opened()).launch
    assert (launch.timeout_interaction_s, launch.timeout_inactivity_s) == (1.0, 2.0)
