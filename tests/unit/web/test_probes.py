"""The probes: what they say while broker and supervisors come and go, and that they cost nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from htagweb_broker import BrokerRefused
from starlette.responses import PlainTextResponse
from starlette.staticfiles import StaticFiles

from htagweb.web.probes import LOOK_S, SILENT_S
from tests.support.fakes import turns
from tests.unit.web.harness import SUPERVISOR, Site, beat

GRACE_S = 30


class Watched:
    """A site whose readiness is watched."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.broker = site.broker

    async def look(self) -> None:
        """Let the next look be over."""
        await self.site.clock.advance(LOOK_S)

    async def pass_time(self, seconds: float) -> None:
        """Let time pass, with all the looks that belong into it."""
        for _ in range(round(seconds / LOOK_S)):
            await self.look()

    async def probe(self, path: str = "/readyz", method: str = "GET") -> httpx.Response:
        """Ask as an orchestrator does: without a cookie."""
        return await self.site.http.request(method, path)

    async def state(self) -> dict[str, Any]:
        """Return what /readyz says."""
        found: dict[str, Any] = (await self.probe()).json()
        return found


@pytest.fixture
async def watched(site: Site) -> AsyncIterator[Watched]:
    async with asyncio.TaskGroup() as tasks:
        watching = tasks.create_task(site.runner._readiness.watch())
        await turns()
        yield Watched(site)
        watching.cancel()


async def test_whoever_can_answer_lives(watched: Watched) -> None:
    watched.broker.away = True
    response = await watched.probe("/healthz")
    assert (response.status_code, response.json()) == (200, {"alive": True})


async def test_with_broker_and_supervisor_it_is_ready(watched: Watched) -> None:
    response = await watched.probe()
    assert response.status_code == 200
    assert response.json() == {
        "ready": True,
        "broker": "ok",
        "away_s": 0.0,
        "supervisors": 1,
        "room": True,
        "draining": 0,
    }


async def test_before_the_first_look_it_is_not_ready(site: Site) -> None:
    response = await site.http.get("/readyz")
    assert response.status_code == 503
    assert (response.json()["ready"], response.json()["away_s"]) == (False, None)


async def test_a_broker_that_was_never_there_is_not_waited_for(site: Site) -> None:
    site.broker.away = True
    async with asyncio.TaskGroup() as tasks:
        watching = tasks.create_task(site.runner._readiness.watch())
        watched = Watched(site)
        await watched.pass_time(3)
        assert await watched.state() == {
            "ready": False,
            "broker": "away",
            "away_s": None,
            "supervisors": 0,
            "room": False,
            "draining": 0,
        }
        watching.cancel()


async def test_a_short_absence_of_the_broker_is_told_and_does_not_flip_it(watched: Watched) -> None:
    watched.broker.away = True
    await watched.pass_time(GRACE_S)
    response = await watched.probe()
    assert response.status_code == 200
    assert (response.json()["broker"], response.json()["away_s"]) == ("away", GRACE_S)


async def test_a_long_absence_of_the_broker_flips_it_until_it_is_back(watched: Watched) -> None:
    watched.broker.away = True
    await watched.pass_time(GRACE_S + LOOK_S)
    response = await watched.probe()
    assert response.status_code == 503
    assert int(response.headers["retry-after"]) > 0
    assert response.json()["supervisors"] == 1, "as they were seen last"
    watched.broker.away = False
    await watched.look()
    assert (await watched.probe()).status_code == 200


async def test_a_short_absence_of_every_supervisor_does_not_flip_it_and_a_long_one_does(
    watched: Watched,
) -> None:
    watched.broker.living.clear()
    await watched.pass_time(GRACE_S)
    state = await watched.state()
    assert (state["ready"], state["broker"], state["supervisors"]) == (True, "ok", 0)
    await watched.look()
    assert (await watched.probe()).status_code == 503
    watched.broker.living[SUPERVISOR] = beat()
    await watched.look()
    assert (await watched.probe()).status_code == 200


async def test_the_grace_is_a_setting(watched: Watched) -> None:
    object.__setattr__(watched.site.service.settings, "ready_grace_s", 0.0)
    assert (await watched.probe()).status_code == 200
    watched.broker.away = True
    await watched.look()
    assert (await watched.probe()).status_code == 503


async def test_a_broker_that_hangs_is_away(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    stuck = asyncio.get_running_loop().create_future()

    async def hang() -> Any:
        return await stuck

    monkeypatch.setattr(watched.broker.presence, "supervisors", hang)
    await watched.look()
    assert (await watched.state())["broker"] == "ok"
    await watched.site.clock.advance(SILENT_S)
    assert (await watched.state())["broker"] == "away"
    stuck.cancel()
    monkeypatch.undo()


async def test_a_full_or_draining_supervisor_is_told_and_is_no_absence(watched: Watched) -> None:
    watched.broker.living = {SUPERVISOR: beat(load=2), "s-2-bb": beat(draining=True)}
    await watched.pass_time(2 * GRACE_S)
    state = await watched.state()
    assert (state["ready"], state["supervisors"], state["room"], state["draining"]) == (True, 2, False, 1)


async def test_looking_survives_what_nobody_expected(
    watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    watched.broker.errors["supervisors"] = ZeroDivisionError("unexpected")
    await watched.look()
    assert "an unexpected error" in caplog.text
    watched.broker.errors["supervisors"] = BrokerRefused("no permission")
    await watched.look()
    assert (await watched.state())["broker"] == "away"
    watched.broker.errors.clear()
    await watched.look()
    assert (await watched.state())["broker"] == "ok"


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/_/client.js"])
async def test_it_needs_no_session_and_no_broker(watched: Watched, path: str) -> None:
    watched.broker.done.clear()
    watched.broker.away = True
    response = await watched.probe(path)
    assert response.status_code == 200
    assert "set-cookie" not in response.headers
    assert watched.broker.done == []


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_it_is_never_kept_by_a_cache(watched: Watched, path: str) -> None:
    assert (await watched.probe(path)).headers["cache-control"] == "no-store"


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/_/client.js"])
async def test_head_is_answered_as_get(watched: Watched, path: str) -> None:
    assert (await watched.probe(path, "HEAD")).status_code == 200


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_a_post_to_it_is_the_users_business(watched: Watched, path: str) -> None:
    assert (await watched.probe(path, "POST")).status_code == 404


async def test_a_route_of_the_user_with_the_same_path_wins(watched: Watched) -> None:
    async def serve(request: Any) -> PlainTextResponse:
        return PlainTextResponse("mine")

    watched.site.runner.add_route("/healthz", serve)
    assert (await watched.probe("/healthz")).text == "mine"
    assert (await watched.probe("/readyz")).json()["ready"] is True


async def test_a_mount_or_route_that_takes_every_path_leaves_the_probes(
    watched: Watched, tmp_path: Any
) -> None:
    watched.site.runner.mount("/", StaticFiles(directory=tmp_path))
    watched.site.endpoint("/{anything:path}", lambda request: None)
    assert (await watched.probe("/healthz")).json() == {"alive": True}
