"""The Runner: a Starlette application that serves htag apps."""

from __future__ import annotations

import asyncio
import logging
import webbrowser
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from htagweb_broker import Launch, SystemClock
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

import htagweb.host
from htagweb import embedded
from htagweb.host.engines import htag1
from htagweb.naming import app_name, is_app_name
from htagweb.settings import Settings
from htagweb.web import pages
from htagweb.web.opening import open_page
from htagweb.web.posts import serve_post
from htagweb.web.service import WebService
from htagweb.web.sessions import SessionMiddleware
from htagweb.web.sockets import serve_socket

logger = logging.getLogger(__name__)


class Runner(Starlette):
    """Serves htag apps to many users: each has a living process of its own, behind any number of workers.

    It is a Starlette application: routes, middleware and mounts work as there,
    and ``uvicorn module:app`` or gunicorn serve it.
    """

    def __init__(
        self,
        obj: object = None,
        host: str = "0.0.0.0",
        port: int = 8000,
        debug: bool = False,
        *,
        timeout_interaction: float = 60,
        timeout_inactivity: float = 0,
        redis_url: str | None = None,
    ) -> None:
        """Serve ``obj`` on "/".

        ``obj`` is a htag class, a module with an ``App``, ``"module.Class"`` or
        None for routes of your own only. ``host`` and ``port`` are for ``run``.
        ``debug`` shows tracebacks in the page. ``timeout_interaction`` (seconds, 0
        for none) ends an app that takes longer to start or to answer,
        ``timeout_inactivity`` (seconds, 0 for none) one that nobody used for so
        long; ``tag.update()`` is no use in this sense. ``redis_url`` is the broker;
        without it HTAGWEB_REDIS_URL counts, and without that a private server
        is started.

        TypeError or ValueError say what is wrong with a parameter.
        """
        self.bind_host = host
        self.bind_port = port
        self.timeout_interaction = _seconds("timeout_interaction", timeout_interaction)
        self.timeout_inactivity = _seconds("timeout_inactivity", timeout_inactivity)
        self._service = WebService(Settings.load(redis_url=redis_url), SystemClock())
        super().__init__(
            debug=debug,
            routes=[
                Route("/_/client.js", self._serve_client, methods=["GET"]),
                Route("/_/{app}", self._serve_post, methods=["POST"]),
                WebSocketRoute("/_/{app}", self._serve_socket),
            ],
            middleware=[Middleware(SessionMiddleware, service=self._service)],
            lifespan=_lifespan,
        )
        if obj is not None:
            name = app_name(obj)

            async def serve_home(request: Request) -> Response:
                return await self.handle(request, name)

            self.add_route("/", serve_home)

    async def handle(
        self,
        request: Request,
        obj: object,
        *,
        timeout_interaction: float | None = None,
        timeout_inactivity: float | None = None,
    ) -> Response:
        """Return the page of an htag app for the request's user; for use in routes of your own.

        The query's parameters become the app's ``init`` arguments: other
        parameters start the user's app anew, the same ones show the living one.
        Names that start with "_" are left out.
        """
        interaction, inactivity = timeout_interaction, timeout_inactivity
        args, kargs = htag1.parameters(request.url.query)
        launch = Launch(
            args=args,
            # htag makes attributes of these: a link with ?_onload=… would run a stranger's script.
            kargs={name: value for name, value in kargs.items() if not name.startswith("_")},
            debug=self.debug,
            timeout_interaction_s=self.timeout_interaction
            if interaction is None
            else _seconds("timeout_interaction", interaction),
            timeout_inactivity_s=self.timeout_inactivity
            if inactivity is None
            else _seconds("timeout_inactivity", inactivity),
        )
        return await open_page(self._service, request, app_name(obj), launch)

    def run(self, openBrowser: bool = False) -> None:
        """Serve on the host and port until Ctrl-C.

        Does nothing where a supervisor imports the script for its apps, so a
        script may call it without ``if __name__ == "__main__"``.
        """
        if htagweb.host.inside_template:
            return
        if openBrowser:
            webbrowser.open_new_tab(f"http://localhost:{self.bind_port}")
        limit = self._service.settings.max_message_bytes
        with embedded.owned_by_this_process():
            uvicorn.run(self, host=self.bind_host, port=self.bind_port, ws_max_size=2 * limit)

    async def _serve_client(self, request: Request) -> Response:
        return pages.client_script()

    async def _serve_post(self, request: Request) -> Response:
        return await serve_post(self._service, request, _app_in(request))

    async def _serve_socket(self, websocket: WebSocket) -> None:
        await serve_socket(self._service, websocket, _app_in(websocket))


AppServer = Runner
"""The Runner's name until htagweb 0.24."""


@asynccontextmanager
async def _lifespan(runner: Runner) -> AsyncIterator[None]:
    service = runner._service
    redis_url = service.settings.redis_url
    if not redis_url:
        embedded.end_with_master()
        redis_url = await asyncio.to_thread(embedded.ensure_stack)
    async with service.running(redis_url):
        yield


def _app_in(connection: HTTPConnection) -> str:
    """Return the app that an address names; what is no name is not found, and gets into no log."""
    name: str = connection.path_params["app"]
    if not is_app_name(name):
        raise HTTPException(404)
    return name


def _seconds(name: str, value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 10**9:
        raise ValueError(f"{name} is a number of seconds, 0 for no limit, not {value!r}")
    return float(value)
