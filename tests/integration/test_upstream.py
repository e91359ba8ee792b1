"""What applications of htagweb 1.0 do, in process: Starlette's test client and a private stack."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.testclient import TestClient

from examples import simple
from htagweb import AppServer, Runner, embedded
from htagweb.naming import app_name
from tests.support.processes import APPS

NAME = "examples.simple.App"
LIMIT_S = 1


@pytest.fixture(scope="module", autouse=True)
def private_stack() -> Iterator[None]:
    """Run the private stack that all Runners of this process share, and end it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("HTAGWEB_REDIS_URL", raising=False)
        patch.syspath_prepend(str(APPS))
        embedded.ensure_stack()
        yield
        embedded.stop_started()


def click_on(html: str) -> dict[str, Any]:
    """Return the call of the page's last button."""
    buttons = re.findall(r"<button[^>]*>", html)
    found = re.search(r'id="(\d+)"', buttons[-1])
    assert found
    id = found[1]
    return {"id": int(id), "method": "__on__", "args": [f"onclick-{id}"], "kargs": {}, "event": {}}


def call_of(html: str, method: str, *args: Any) -> dict[str, Any]:
    """Return the call of a method of the app itself."""
    found = re.search(r'<body[^>]* id="(\d+)"', html)
    assert found
    return {"id": int(found[1]), "method": method, "args": list(args), "kargs": {}, "event": {}}


def pid_in(html: str) -> str:
    """Return the app's process id, as its page shows it."""
    found = re.search(r'class="pid"[^>]*>(\d+)<', html)
    assert found
    return found[1]


def open_page(client: TestClient, path: str = "/") -> str:
    """Return the page's document."""
    response = client.get(path)
    assert response.status_code == 200, response.text
    assert "<!DOCTYPE html>" in response.text
    return response.text


@pytest.mark.parametrize("obj", [NAME, "examples.simple:App", simple, simple.App], ids=str)
def test_a_click_over_the_socket_is_answered_with_what_changes(obj: object) -> None:
    with TestClient(Runner(obj)) as client:
        html = open_page(client)
        with client.websocket_connect(f"/_/{NAME}") as socket:
            socket.send_text(json.dumps(click_on(html)))
            answer = json.loads(socket.receive_text())
    assert "hi!" in str(answer["update"])


def test_a_click_by_post_is_answered_with_what_changes() -> None:
    with TestClient(Runner(NAME, http_only=True)) as client:
        html = open_page(client)
        response = client.post(f"/_/{NAME}", content=json.dumps(click_on(html)))
    assert "hi!" in str(response.json()["update"])


def test_every_app_of_the_examples_is_named_as_it_was() -> None:
    assert {app_name(each) for each in (simple, simple.App, NAME, "examples.simple:App")} == {NAME}


def test_the_oldest_name_of_the_runner_serves() -> None:
    with TestClient(AppServer(NAME)) as client:
        open_page(client)


def test_a_route_of_ones_own_is_served_and_nothing_else() -> None:
    async def serve(request: Request) -> Response:
        return PlainTextResponse("world")

    runner = Runner()
    runner.add_route("/hello", serve)
    with TestClient(runner) as client:
        assert client.get("/").status_code == 404
        assert client.get("/hello").text == "world"


async def serve_by_the_requests_app(request: Request) -> Response:
    response: Response = await request.app.handle(request, NAME)
    return response


@pytest.mark.parametrize(
    "endpoint",
    [serve_by_the_requests_app, lambda request: request.app.handle(request, NAME), simple.App, simple, NAME],
    ids=["endpoint", "lambda", "class", "module", "name"],
)
def test_a_route_serves_an_app(endpoint: Any) -> None:
    runner = Runner()
    runner.add_route("/an_app", endpoint)
    with TestClient(runner) as client:
        assert client.get("/").status_code == 404
        html = open_page(client, "/an_app")
        assert "update" in client.post(f"/_/{NAME}", json=click_on(html)).json()


def test_the_old_name_of_handle_serves_an_app() -> None:
    async def serve(request: Request) -> Response:
        with pytest.deprecated_call():
            return await runner.serve(request, NAME)

    runner = Runner()
    runner.add_route("/an_app", serve)
    with TestClient(runner) as client:
        open_page(client, "/an_app")


def test_without_its_lifespan_a_page_can_be_had() -> None:
    open_page(TestClient(Runner(NAME)))


@pytest.mark.parametrize(
    ("method", "args"),
    [("wait", ("slow", 3)), ("wait", ("slow", 10**6)), ("spin", ())],
    ids=["three seconds", "a wait without end", "a loop without end"],
)
def test_a_handler_over_the_limit_ends_with_its_app(method: str, args: tuple[Any, ...]) -> None:
    app = "site_for_tests.Audit"
    open_page(TestClient(Runner(app)))  # the limit is too short for the import
    with TestClient(Runner(app, timeout_interaction=LIMIT_S)) as client:
        html = open_page(client)
        call = call_of(html, method, *args) | {"htagweb": {"n": 1}}
        ended = client.post(f"/_/{app}", json=call).json()["htagweb"]["end"]
        assert ended["reason"] == "interaction_timeout"
        assert pid_in(open_page(client)) != pid_in(html), "the next page has a process of its own"


@pytest.mark.parametrize("app", ["site_for_tests.Slow", "site_for_tests.Endless"])
def test_a_start_over_the_limit_ends(app: str) -> None:
    with TestClient(Runner(app, timeout_interaction=LIMIT_S)) as client:
        for _ in range(2):  # the first time it may be the import that takes so long
            response = client.get("/")
            assert response.status_code == 504
            assert f"did not start within {LIMIT_S} s" in response.text


def test_a_limit_of_a_route_wins_over_the_runners() -> None:
    app = "site_for_tests.Slow"
    runner = Runner(timeout_interaction=LIMIT_S * 1000)
    runner.add_route("/", lambda request: runner.handle(request, app, timeout_interaction=LIMIT_S))
    with TestClient(runner) as client:
        assert client.get("/").status_code == 504


def test_an_app_ends_so_long_after_its_last_interaction_whatever_it_updates_and_its_session_stays() -> None:
    app = "site_for_tests.Audit"
    with TestClient(Runner(app, timeout_inactivity=LIMIT_S)) as client:
        html = open_page(client)
        with client.websocket_connect(f"/_/{app}") as socket:

            def say(method: str, *args: Any) -> float:
                socket.send_text(json.dumps(call_of(html, method, *args)))
                return time.monotonic()

            def hear() -> dict[str, Any]:
                message: dict[str, Any] = json.loads(socket.receive_text())
                return message

            began = say("remember", "fruit", "pear")
            while hear() and time.monotonic() - began < 2 * LIMIT_S:
                say("run", "once more")
            last = say("tick", 10**4)
            updates = 0
            while "end" not in (message := hear())["htagweb"]:
                updates += "update" in message
        assert message["htagweb"]["end"]["reason"] == "inactivity"
        assert time.monotonic() - last >= LIMIT_S
        assert updates > 10
        call = call_of(open_page(client), "recall", "fruit")
        assert "fruit=pear" in client.post(f"/_/{app}", json=call).text
