"""The Runner: its parameters, its routes, and where ``run`` does nothing."""

import webbrowser
from typing import Any

import httpx
import pytest
import uvicorn
from htag import Tag
from starlette.applications import Starlette

import htagweb
from htagweb import AppServer, Runner, embedded, host
from tests.unit.web.harness import Site


class App(Tag.body):  # type: ignore[misc]
    """An app."""


@pytest.mark.parametrize("name", ["timeout_interaction", "timeout_inactivity"])
@pytest.mark.parametrize("value", [-1, "60", None, True, float("nan"), float("inf"), 10**9])
def test_a_limit_that_is_no_number_of_seconds_is_refused(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{name} is a number of seconds, 0 for no limit, not "):
        Runner(**{name: value})


@pytest.mark.parametrize("value", [0, 1, 0.5])
def test_a_limit_in_seconds_is_taken(value: float) -> None:
    assert Runner(timeout_interaction=value).timeout_interaction == float(value)


@pytest.mark.parametrize("obj", [1, object(), Tag, "no_class", "a b.App"])
def test_what_is_no_app_is_refused_at_once(obj: object) -> None:
    with pytest.raises((TypeError, ValueError), match="expected "):
        Runner(obj)


def test_it_is_a_starlette_application() -> None:
    assert isinstance(Runner(App), Starlette)


def test_its_old_name_still_works() -> None:
    assert AppServer is Runner


def test_the_package_has_no_other_names() -> None:
    assert set(htagweb.__all__) == {"AppServer", "Runner", "__version__"}
    with pytest.raises(AttributeError, match="module 'htagweb' has no attribute 'nothing'"):
        htagweb.nothing  # noqa: B018


def test_a_redis_url_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTAGWEB_REDIS_URL", "redis://environment")
    assert Runner()._service.settings.redis_url == "redis://environment"
    assert Runner(redis_url="redis://given")._service.settings.redis_url == "redis://given"


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any]]:
    """Give what would have been served and opened in a browser."""
    done: list[tuple[str, Any]] = []
    monkeypatch.setattr(uvicorn, "run", lambda app, **options: done.append(("serve", options)))
    monkeypatch.setattr(webbrowser, "open_new_tab", lambda url: done.append(("browser", url)))
    monkeypatch.setattr(embedded, "stop_started", lambda: done.append(("stop", None)))
    return done


def test_run_serves_on_host_and_port_and_ends_what_it_started(served: list[tuple[str, Any]]) -> None:
    Runner(App, "localhost", 9000).run()
    (_, options), (last, _) = served
    assert (options["host"], options["port"], last) == ("localhost", 9000, "stop")


def test_run_opens_a_browser_when_asked(served: list[tuple[str, Any]]) -> None:
    Runner(App, port=9000).run(openBrowser=True)
    assert served[0] == ("browser", "http://localhost:9000")


def test_run_does_nothing_inside_a_template(
    served: list[tuple[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "inside_template", True)
    Runner(App).run(openBrowser=True)
    assert served == []


async def status(site: Site, method: str, path: str) -> int:
    response = await site.http.request(method, path)
    return response.status_code


@pytest.fixture
async def empty(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Give a Runner without an app of its own."""
    site = Site(monkeypatch, None)
    yield site
    await site.http.aclose()


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/", 404),
        ("GET", "/nothing", 404),
        ("GET", "/_/", 404),
        ("GET", "/_/m.App/more", 404),
        ("GET", "/_/m.App", 405),
        ("POST", "/_/client.js", 400),
        ("PUT", "/_/m.App", 405),
        ("GET", "/_/client.js", 200),
        ("POST", "/_/m.App", 400),
    ],
)
async def test_what_is_served_without_an_app(empty: Site, method: str, path: str, expected: int) -> None:
    assert await status(empty, method, path) == expected


async def test_a_service_that_does_not_run_says_what_to_do(empty: Site) -> None:
    empty.service._broker = None
    transport = httpx.ASGITransport(empty.runner)
    async with httpx.AsyncClient(transport=transport, base_url="http://site") as client:
        with pytest.raises(RuntimeError, match="serve it with uvicorn or gunicorn"):
            await client.get("/", headers=empty.cookies)


async def test_without_a_redis_url_the_lifespan_starts_a_private_stack(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("HTAGWEB_REDIS_URL", raising=False)

    def missing() -> str:
        raise embedded.StackError("no broker: install one")

    monkeypatch.setattr(embedded, "ensure_stack", missing)
    app = Runner(App)
    with pytest.raises(embedded.StackError, match="no broker"):
        async with app.router.lifespan_context(app):
            pass
