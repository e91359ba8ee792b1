"""Mounted anywhere: addresses follow the mount, and the service runs with or without a lifespan."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import re
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Host, Mount, Route

from htagweb import Runner, embedded
from tests.support.waiting import until
from tests.unit.web.harness import APP, Site

NOWHERE = "unix:///nowhere/broker.sock"


@pytest.fixture
async def site(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    """Give a Runner over a fake broker."""
    made = Site(monkeypatch)
    yield made
    await made.http.aclose()


async def hello(request: Request) -> Response:
    return PlainTextResponse("hello")


def over(app: Any, **options: Any) -> httpx.AsyncClient:
    """Return a client of an application whose lifespan nobody runs."""
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app, **options), base_url="http://site", follow_redirects=True
    )


async def addresses(site: Site, outer: Any, path: str, **options: Any) -> tuple[str, str]:
    """Open a page in the application; return where its script comes from and where it talks to."""
    site.own()
    await site.http.aclose()
    site.http = over(outer, **options)
    response = await site.get_answered(path)
    assert response.status_code == 200
    script = re.search(r'src="([^"]*)/_/client\.js\?', response.text)
    url = re.search(r'"url":"([^"]*)"', response.text)
    assert script and url
    assert (await site.http.get(f"{script[1]}/_/client.js")).status_code == 200
    assert (await site.post({}, url[1])).status_code == 400, "it gets to where posts are served"
    return script[1], url[1]


# Addresses


def in_fastapi(runner: Runner) -> FastAPI:
    """Return a FastAPI application with the Runner below /apps."""
    outer = FastAPI()
    outer.mount("/apps", runner)
    return outer


@pytest.mark.parametrize(
    "outer",
    [
        lambda runner: Starlette(routes=[Mount("/apps", runner)]),
        lambda runner: Starlette(routes=[Mount("/{place}", runner)]),
        lambda runner: Starlette(routes=[Mount("/", routes=[Mount("/apps/", runner)])]),
        in_fastapi,
    ],
    ids=["starlette", "with a parameter", "nested", "fastapi"],
)
async def test_addresses_follow_the_mount(site: Site, outer: Callable[[Runner], Any]) -> None:
    assert await addresses(site, outer(site.runner), "/apps/") == ("/apps", f"/apps/_/{APP}")


async def test_a_mounts_path_without_its_slash_is_redirected(site: Site) -> None:
    outer = Starlette(routes=[Mount("/apps", site.runner)])
    assert await addresses(site, outer, "/apps") == ("/apps", f"/apps/_/{APP}")


async def test_addresses_follow_mounts_in_one_another(site: Site) -> None:
    outer = Starlette(routes=[Mount("/one", Starlette(routes=[Mount("/two", site.runner)]))])
    assert await addresses(site, outer, "/one/two/") == ("/one/two", f"/one/two/_/{APP}")


@pytest.mark.parametrize("path", ["/", "/proxied/"])
async def test_addresses_follow_the_servers_root_path(site: Site, path: str) -> None:
    expected = "/proxied", f"/proxied/_/{APP}"
    assert await addresses(site, site.runner, path, root_path="/proxied") == expected


async def test_addresses_follow_the_servers_root_path_and_the_mount(site: Site) -> None:
    outer = Starlette(routes=[Mount("/apps", site.runner)])
    expected = "/proxied/apps", f"/proxied/apps/_/{APP}"
    assert await addresses(site, outer, "/proxied/apps/", root_path="/proxied") == expected


async def test_a_host_of_its_own_needs_no_path(site: Site) -> None:
    outer = Starlette(routes=[Host("site", site.runner)])
    assert await addresses(site, outer, "/") == ("", f"/_/{APP}")


async def test_a_mount_whose_name_needs_quotes_gets_them(site: Site) -> None:
    outer = Starlette(routes=[Mount("/my apps?", site.runner)])
    quoted = "/my%20apps%3F"
    assert await addresses(site, outer, f"{quoted}/") == (quoted, f"{quoted}/_/{APP}")


async def test_a_link_cannot_make_another_host_of_the_mounts_path(site: Site) -> None:
    site.own()
    site.http = over(Starlette(routes=[Mount("/{anything:path}", site.runner)]))
    response = await site.get_answered("http://site//evil.example/")
    assert 'src="/evil.example/_/client.js' in response.text


async def test_an_endpoint_mounted_inside_the_runner_gives_the_runners_addresses(site: Site) -> None:
    async def serve(request: Request) -> Response:
        assert request.scope["root_path"] == "/apps/inner"
        return await site.runner.handle(request, APP)

    site.runner.mount("/inner", Starlette(routes=[Route("/app", serve)]))
    outer = Starlette(routes=[Mount("/apps", site.runner)])
    assert await addresses(site, outer, "/apps/inner/app") == ("/apps", f"/apps/_/{APP}")


@pytest.mark.parametrize("path", ["/app", "/inner/app"])
async def test_the_requests_app_is_the_runner_also_where_it_is_mounted(site: Site, path: str) -> None:
    async def serve(request: Request) -> Response:
        response: Response = await request.app.handle(request, APP)
        return response

    site.runner.add_route("/app", serve)
    site.runner.routes.append(Mount("/inner", routes=[Route("/app", serve)]))
    outer = Starlette(routes=[Mount("/apps", site.runner)])
    assert await addresses(site, outer, f"/apps{path}") == ("/apps", f"/apps/_/{APP}")


async def test_a_runner_inside_a_runner_gives_addresses_of_its_own(site: Site) -> None:
    outer = Runner(redis_url=NOWHERE)
    outer._service._broker = site.broker.web_side
    outer.mount("/inner", site.runner)
    assert await addresses(site, outer, "/inner/") == ("/inner", f"/inner/_/{APP}")


async def test_beside_the_mount_the_outer_applications_routes_are_served(site: Site) -> None:
    site.http = over(Starlette(routes=[Route("/hello", hello), Mount("/apps", site.runner)]))
    assert (await site.get("/hello")).text == "hello"
    assert (await site.get("/apps/healthz")).json() == {"alive": True}
    assert (await site.get("/healthz")).status_code == 404


async def test_a_request_that_never_came_in_is_refused_with_what_to_do(site: Site) -> None:
    async def serve(request: Request) -> Response:
        return await site.runner.handle(request, APP)

    site.http = over(Starlette(routes=[Route("/app", serve), Mount("/apps", site.runner)]))
    with pytest.raises(RuntimeError, match=r"did not come through this Runner.* Runner's own add_route"):
        await site.get("/app")


async def test_a_request_that_came_through_another_runner_is_refused(site: Site) -> None:
    async def serve(request: Request) -> Response:
        return await Runner(redis_url=NOWHERE).handle(request, APP)

    site.runner.add_route("/app", serve)
    site.http = over(site.runner)
    with pytest.raises(RuntimeError, match="did not come through this Runner"):
        await site.get("/app")


# The service


def run(main: Callable[[], Any], caplog: pytest.LogCaptureFixture) -> Any:
    """Run it in an event loop of its own, as a server does; what is logged at its end fails the test."""
    caplog.set_level(logging.INFO)
    result = asyncio.run(main())
    loud = [each.getMessage() for each in caplog.records if each.levelno >= logging.ERROR]
    assert loud == []
    return result


def test_without_a_lifespan_the_first_request_starts_the_service_and_the_loops_end_ends_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    runner = Runner(redis_url=NOWHERE)

    async def main() -> None:
        async with over(Starlette(routes=[Mount("/apps", runner)])) as http:
            assert not runner._service.is_running
            await asyncio.gather(*(http.get("/apps/") for _ in range(3)))
            assert runner._service.is_running

    run(main, caplog)
    assert not runner._service.is_running
    assert caplog.text.count("started by the first request") == 1


def test_each_event_loop_starts_it_anew(caplog: pytest.LogCaptureFixture) -> None:
    runner = Runner(redis_url=NOWHERE)

    async def main() -> None:
        async with over(runner) as http:
            assert (await http.get("/")).status_code == 503

    run(main, caplog)
    run(main, caplog)
    assert caplog.text.count("started by the first request") == 2


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_a_probe_starts_it_and_does_not_wait_for_it(path: str, caplog: pytest.LogCaptureFixture) -> None:
    runner = Runner(redis_url=NOWHERE)

    async def main() -> None:
        async with over(runner) as http:
            await http.get(path)
            await until(lambda: runner._service.is_running, "the service runs")

    run(main, caplog)


def test_it_has_nothing_of_the_requests_context(caplog: pytest.LogCaptureFixture) -> None:
    visitor = contextvars.ContextVar("visitor", default="nobody")
    runner, seen = Runner(redis_url=NOWHERE), []
    serving = runner._life._serving

    @asynccontextmanager
    async def noted() -> Any:
        seen.append(visitor.get())
        async with serving():
            yield

    runner._life._serving = noted  # type: ignore[method-assign]

    async def main() -> None:
        visitor.set("jo")
        async with over(runner) as http:
            await http.get("/")

    run(main, caplog)
    assert seen == ["nobody"]


@pytest.mark.parametrize("outermost", [Starlette, FastAPI])
def test_an_outer_application_may_run_its_lifespan(
    outermost: Callable[..., Starlette], caplog: pytest.LogCaptureFixture
) -> None:
    runner = Runner(redis_url=NOWHERE)
    outer = outermost(lifespan=runner.lifespan)
    outer.mount("/apps", runner)

    async def main() -> None:
        async with outer.router.lifespan_context(outer):
            assert runner._service.is_running
            async with over(outer) as http:
                await http.get("/apps/")
        assert not runner._service.is_running

    run(main, caplog)
    assert "started by the first request" not in caplog.text


def test_two_runners_run_in_one_process(caplog: pytest.LogCaptureFixture) -> None:
    one, two = Runner(redis_url=NOWHERE), Runner(redis_url=NOWHERE)

    @asynccontextmanager
    async def both(app: Starlette) -> Any:
        async with one.lifespan(app), two.lifespan(app):
            yield

    async def main() -> None:
        async with both(Starlette()):
            assert one._service.is_running
            assert two._service.is_running
            async with one.lifespan():
                assert one._service.is_running
            assert one._service.is_running, "whoever was first ends it"

    run(main, caplog)
    assert not (one._service.is_running or two._service.is_running)


def test_a_private_stack_is_started_in_a_thread_of_its_own(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("HTAGWEB_REDIS_URL", raising=False)
    threads = []

    def start() -> str:
        threads.append(threading.current_thread())
        return NOWHERE

    monkeypatch.setattr(embedded, "ensure_stack", start)
    runner = Runner()

    async def main() -> None:
        async with over(runner) as http:
            await http.get("/")

    run(main, caplog)
    assert threads not in ([], [threading.main_thread()])


async def test_what_cannot_start_is_told_and_tried_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("HTAGWEB_REDIS_URL", raising=False)
    tries = 0

    def fail() -> str:
        nonlocal tries
        tries += 1
        raise embedded.StackError("no broker: install one")

    monkeypatch.setattr(embedded, "ensure_stack", fail)
    async with over(Runner()) as http:
        for _ in range(2):
            response = await http.get("/")
            assert response.status_code == 503
            assert "could not be started" in response.text
            assert "install one" not in response.text
    assert tries == 2
    assert caplog.text.count("StackError: no broker: install one") == 2
