"""The Runner: a Starlette application that serves htag apps."""

from __future__ import annotations

import inspect
import warnings
import webbrowser
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from functools import partial, wraps
from typing import Any

import uvicorn
from htagweb_broker import Launch, SystemClock
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp
from starlette.websockets import WebSocket

import htagweb.host
from htagweb import embedded
from htagweb.host.engines import htag1
from htagweb.mounting import Entrance, Life, entered_root
from htagweb.naming import app_name, is_app_name, is_meant_as_app
from htagweb.settings import Settings
from htagweb.web import pages
from htagweb.web.opening import open_page
from htagweb.web.posts import serve_post
from htagweb.web.probes import Readiness
from htagweb.web.proxies import ProxyMiddleware
from htagweb.web.service import WebService
from htagweb.web.sessions import SessionMiddleware
from htagweb.web.sockets import serve_socket

Endpoint = Callable[[Request], Awaitable[Response] | Response]


class Runner(Starlette):
    """Serves htag apps to many users: each has a living process of its own, behind any number of workers.

    It is a Starlette application: routes, middleware and mounts work as there,
    it may itself be mounted in another one, and ``uvicorn module:app`` or gunicorn serve it.
    """

    def __init__(  # noqa: PLR0917 - the order is that of htagweb 1.0
        self,
        obj: object = None,
        host: str = "0.0.0.0",
        port: int = 8000,
        debug: bool = False,
        ssl: bool = False,
        parano: bool = False,
        http_only: bool = False,
        timeout_interaction: float = 60,
        timeout_inactivity: float = 0,
        *,
        redis_url: str | None = None,
        allowed_origins: Sequence[str] | None = None,
    ) -> None:
        """Serve ``obj`` on "/": a htag class, a module with an ``App``, ``"module.Class"``, or None.

        ``README.md`` has the table of parameters. TypeError or ValueError say
        what is wrong with one.
        """
        self.bind_host = host
        self.bind_port = port
        self.ssl = _flag("ssl", ssl)
        self.parano = _flag("parano", parano)
        self.http_only = _flag("http_only", http_only)
        self.timeout_interaction = _seconds("timeout_interaction", timeout_interaction)
        self.timeout_inactivity = _seconds("timeout_inactivity", timeout_inactivity)
        settings = Settings.load(redis_url=redis_url, allowed_origins=_joined(allowed_origins))
        self._service = WebService(settings, SystemClock())
        self._readiness = Readiness(self._service)
        self._life = Life(self._service, self._readiness)
        self._sessions = Middleware(SessionMiddleware, service=self._service)
        super().__init__(
            debug=_flag("debug", debug),
            routes=[
                Route("/_/{app}", self._serve_post, methods=["POST"]),
                WebSocketRoute("/_/{app}", self._serve_socket),
            ],
            middleware=[self._sessions],
            lifespan=self.lifespan,
        )
        if obj is not None:
            self.add_route("/", app_name(obj))

    def build_middleware_stack(self) -> ASGIApp:
        """Return the whole application; Starlette calls it once."""
        sessionless = [Route("/_/client.js", self._serve_client), *self._readiness.routes()]
        entrance = Entrance(super().build_middleware_stack(), self._life, sessionless, self.routes)
        return ProxyMiddleware(entrance, self._service.proxies)

    def add_middleware(self, middleware_class: Any, *args: Any, **kargs: Any) -> None:
        """Add a middleware, as Starlette does; it has ``request.session``."""
        super().add_middleware(middleware_class, *args, **kargs)
        self.user_middleware.remove(self._sessions)
        self.user_middleware.insert(0, self._sessions)

    @asynccontextmanager
    async def lifespan(self, app: object = None) -> AsyncIterator[None]:
        """Run what the Runner needs to serve; for an application that it is mounted in.

        Starlette runs the outermost application's lifespan alone:
        ``Starlette(lifespan=runner.lifespan)``. StackError when a private stack
        is needed and cannot be started.
        """
        async with self._life.lifespan():
            yield

    async def handle(  # noqa: PLR0917 - the order is that of htagweb 1.0
        self,
        request: Request,
        obj: object,
        http_only: bool | None = None,
        parano: bool | None = None,
        timeout_interaction: float | None = None,
        timeout_inactivity: float | None = None,
    ) -> Response:
        """Return the page of an htag app for the request's user; for use in routes of your own.

        What is None is as the Runner has it. The query's parameters become the
        app's ``init`` arguments: other parameters start the user's app anew, the
        same ones show the living one. Names that start with "_" are left out.
        RuntimeError when the request did not come through this Runner.
        """
        root = entered_root(request, self._life)
        args, kargs = htag1.parameters(request.url.query)
        launch = Launch(
            args=args,
            # htag makes attributes of these: a link with ?_onload=… would run a stranger's script.
            kargs={name: value for name, value in kargs.items() if not name.startswith("_")},
            debug=self.debug,
            http_only=_flag("http_only", _or(http_only, self.http_only)),
            parano=_flag("parano", _or(parano, self.parano)),
            timeout_interaction_s=_seconds(
                "timeout_interaction", _or(timeout_interaction, self.timeout_interaction)
            ),
            timeout_inactivity_s=_seconds(
                "timeout_inactivity", _or(timeout_inactivity, self.timeout_inactivity)
            ),
        )
        return await open_page(self._service, request, app_name(obj), launch, root=root, ssl=self.ssl)

    def serve(self, request: Request, obj: object) -> Coroutine[Any, Any, Response]:
        """Return what ``handle`` does: its name until htagweb 0.24."""
        warnings.warn("Runner.serve is now called Runner.handle", DeprecationWarning, stacklevel=2)
        return self.handle(request, obj)

    def add_route(
        self,
        path: str,
        route: Endpoint | object,
        methods: list[str] | None = None,
        name: str | None = None,
        include_in_schema: bool = True,
    ) -> None:
        """Serve an endpoint, as Starlette does, or an app: a htag class, a module with one, or its name.

        An endpoint that is no coroutine function may return an awaitable, as
        ``lambda request: runner.handle(request, App)`` does.
        """
        endpoint = route
        if is_meant_as_app(route):
            app = app_name(route)
            name = name or app

            async def serve_app(request: Request) -> Response:
                return await self.handle(request, app)

            endpoint = serve_app
        super().add_route(path, _awaited(endpoint), methods, name, include_in_schema)

    def run(self, openBrowser: bool = False) -> None:
        """Serve on the host and port until Ctrl-C.

        Does nothing where a supervisor imports the script for its apps, so a
        script may call it without ``if __name__ == "__main__"``.
        """
        if htagweb.host.inside_template:
            return
        if openBrowser:
            webbrowser.open_new_tab(f"http://localhost:{self.bind_port}")
        settings = self._service.settings
        with embedded.owned_by_this_process():
            uvicorn.run(
                self,
                host=self.bind_host,
                port=self.bind_port,
                ws_max_size=2 * settings.max_message_bytes,
                ws_per_message_deflate=False,  # a tenth of a click's CPU time; see docs/performance.md
                forwarded_allow_ips=settings.trusted_proxies,
            )

    async def _serve_client(self, request: Request) -> Response:
        return pages.client_script()

    async def _serve_post(self, request: Request) -> Response:
        return await serve_post(self._service, request, _app_in(request))

    async def _serve_socket(self, websocket: WebSocket) -> None:
        await serve_socket(self._service, websocket, _app_in(websocket))


AppServer = Runner
"""The Runner's name until htagweb 0.24."""


def _app_in(connection: HTTPConnection) -> str:
    """Return the app that an address names; what is no name is not found, and gets into no log."""
    name: str = connection.path_params["app"]
    if not is_app_name(name):
        raise HTTPException(404)
    return name


def _awaited(endpoint: Any) -> Any:
    """Return the endpoint so that an awaitable which it returns is awaited: Starlette does not."""
    function = endpoint
    while isinstance(function, partial):
        function = function.func
    is_plain = inspect.isfunction(function) or inspect.ismethod(function)
    if not is_plain or inspect.iscoroutinefunction(function):
        return endpoint

    @wraps(endpoint)
    async def serve(request: Request) -> Any:
        response = await run_in_threadpool(endpoint, request)
        return await response if inspect.isawaitable(response) else response

    return serve


def _or(given: Any, default: Any) -> Any:
    return default if given is None else given


def _flag(name: str, value: bool) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{name} is True or False, not {value!r}")
    return value


def _seconds(name: str, value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 10**9:
        raise ValueError(f"{name} is a number of seconds, 0 for no limit, not {value!r}")
    return float(value)


def _joined(origins: Sequence[str] | None) -> str | None:
    """Return the origins as the setting has them."""
    if origins is None:
        return None
    is_list = isinstance(origins, Sequence) and not isinstance(origins, str)
    if not is_list or not all(isinstance(origin, str) for origin in origins):
        raise TypeError(
            f"allowed_origins is a list of origins, such as ['https://a.example'], not {origins!r}"
        )
    return ",".join(origins)
