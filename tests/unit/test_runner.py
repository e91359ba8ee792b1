"""The Runner: its parameters, its routes, and where ``run`` does nothing."""

import inspect
import threading
import webbrowser
from functools import partial
from types import ModuleType
from typing import Any

import pytest
import uvicorn
from htag import Tag
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

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


@pytest.mark.parametrize("name", ["debug", "ssl", "parano", "http_only"])
@pytest.mark.parametrize("value", [None, 0, 1, "yes"])
def test_a_switch_that_is_neither_on_nor_off_is_refused(name: str, value: Any) -> None:
    with pytest.raises(TypeError, match=f"{name} is True or False, not {value!r}"):
        Runner(**{name: value})


def test_the_order_of_the_parameters_is_that_of_htagweb_1() -> None:
    order = "obj host port debug ssl parano http_only timeout_interaction timeout_inactivity"
    assert positional(Runner.__init__) == order.split()
    order = "request obj http_only parano timeout_interaction timeout_inactivity"
    assert positional(Runner.handle) == order.split()


def positional(function: Any) -> list[str]:
    """Return the names of the parameters that may be given by position."""
    parameters = inspect.signature(function).parameters.values()
    return [each.name for each in parameters if each.kind is each.POSITIONAL_OR_KEYWORD][1:]


def test_allowed_origins_win_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTAGWEB_ALLOWED_ORIGINS", "https://environment.example")
    for given, expected in [
        (None, "https://environment.example"),
        (["https://a.example", "https://b.example"], "https://a.example,https://b.example"),
        ((), ""),
    ]:
        assert Runner(allowed_origins=given)._service.settings.allowed_origins == expected


@pytest.mark.parametrize("value", ["https://a.example", [1], 1, [b"https://a.example"]])
def test_allowed_origins_that_are_no_list_of_texts_are_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="allowed_origins is a list of origins, such as "):
        Runner(allowed_origins=value)


@pytest.mark.parametrize("obj", [1, object(), Tag, "no_class", "a b.App", "", positional])
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


def test_run_has_the_server_trust_the_proxies_of_the_settings(
    served: list[tuple[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTAGWEB_TRUSTED_PROXIES", "10.0.0.0/8")
    Runner(App).run()
    assert served[0][1]["forwarded_allow_ips"] == "10.0.0.0/8"


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


# Routes


async def serve_plainly(request: Request) -> Response:
    return PlainTextResponse("plain")


class Endpoint(HTTPEndpoint):
    """A class that is no app."""

    async def get(self, request: Request) -> Response:
        return PlainTextResponse("plain")


@pytest.mark.parametrize(
    "endpoint",
    [
        serve_plainly,
        lambda request: PlainTextResponse("plain"),
        lambda request: serve_plainly(request=request),
        partial(lambda request, text: PlainTextResponse(text), text="plain"),
        partial(serve_plainly),
        Endpoint,
        PlainTextResponse("plain"),
    ],
    ids=["async", "sync", "awaitable", "partial", "async partial", "class", "asgi"],
)
async def test_a_starlette_endpoint_is_served_as_ever(empty: Site, endpoint: Any) -> None:
    empty.runner.add_route("/hello", endpoint)
    assert (await empty.get("/hello")).text == "plain"


async def test_a_sync_endpoint_runs_in_a_thread_and_what_it_returns_in_the_event_loop(empty: Site) -> None:
    threads = []

    async def answer() -> Response:
        threads.append(threading.current_thread())
        return PlainTextResponse("")

    def serve(request: Request) -> Any:
        threads.append(threading.current_thread())
        return answer()

    empty.runner.add_route("/hello", serve)
    await empty.get("/hello")
    assert threads[0] is not threads[1] is threading.main_thread()


MODULE = ModuleType("m")
MODULE.App = App  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("app", "name"),
    [(App, f"{__name__}.App"), (MODULE, f"{__name__}.App"), ("m.App", "m.App"), ("m:App", "m.App")],
    ids=["class", "module", "text", "text with a colon"],
)
async def test_an_app_can_be_a_route_with_the_runners_defaults(empty: Site, app: object, name: str) -> None:
    empty.runner.http_only = True
    empty.runner.add_route("/app", app)
    assert (await empty.get_answered("/app")).status_code == 200
    ((instance, message, *_),) = empty.broker.of("open")
    assert instance.app == name
    assert (message.launch.http_only, message.launch.timeout_interaction_s) == (True, 20)
    assert empty.runner.url_path_for(name) == "/app"


@pytest.mark.parametrize(
    "endpoint",
    [
        lambda runner: lambda request: runner.handle(request, "m.App"),
        lambda runner: lambda request: request.app.handle(request, "m.App"),
        lambda runner: partial(runner.handle, obj="m.App"),
    ],
    ids=["lambda", "request's app", "partial"],
)
async def test_a_route_may_be_what_returns_the_runners_page(empty: Site, endpoint: Any) -> None:
    empty.runner.add_route("/app", endpoint(empty.runner))
    assert (await empty.get_answered("/app")).status_code == 200


async def test_the_old_name_of_handle_works_and_tells_its_caller(empty: Site) -> None:
    async def serve(request: Request) -> Response:
        with pytest.warns(DeprecationWarning, match="now called Runner.handle") as warned:
            pending = empty.runner.serve(request, "m.App")
        assert warned[0].filename == __file__
        return await pending

    empty.runner.add_route("/app", serve)
    assert (await empty.get_answered("/app")).status_code == 200


@pytest.mark.parametrize("app", ["no_class", "", App(), Tag.div("x")], ids=str)
def test_a_route_to_what_is_no_app_is_refused_at_once(app: object) -> None:
    with pytest.raises((TypeError, ValueError), match="expected "):
        Runner().add_route("/app", app)


@pytest.mark.parametrize(
    "options", [{"http_only": 1}, {"parano": "yes"}, {"timeout_interaction": -1}], ids=str
)
async def test_a_wrong_parameter_of_a_route_is_refused(empty: Site, options: dict[str, Any]) -> None:
    empty.endpoint("/app", lambda request: empty.runner.handle(request, "m.App", **options))
    assert (await empty.get("/app")).status_code == 500
