"""How a request comes into a Runner, wherever that is mounted, and what runs its service there.

Starlette runs the lifespan of the outermost application alone. So an outer one
either runs the Runner's as its own, or the Runner starts its service
with the first request.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from contextvars import Context

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Receive, Scope, Send

from htagweb import embedded
from htagweb.logs import hide_queries
from htagweb.web import pages
from htagweb.web.probes import Readiness
from htagweb.web.service import WebService

logger = logging.getLogger(__name__)

ROOTS = "htagweb.roots"
"""In a request's scope: the root path of every entrance that it came through."""


class Life:
    """Runs a Runner's service: as a lifespan, or by itself from the first request on."""

    def __init__(self, service: WebService, readiness: Readiness) -> None:
        self._service = service
        self._readiness = readiness
        self._run: _Run | None = None

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """Run the service within the block, unless it runs already.

        StackError when a private stack is needed and cannot be started.
        """
        if self._service.is_running:
            yield
            return
        async with self._serving():
            yield

    @asynccontextmanager
    async def _serving(self) -> AsyncIterator[None]:
        hide_queries()
        redis_url = self._service.settings.redis_url
        if not redis_url:
            embedded.end_with_master()
            redis_url = await asyncio.to_thread(embedded.ensure_stack)
        async with self._service.running(redis_url), asyncio.TaskGroup() as tasks:
            looking = tasks.create_task(self._readiness.watch())
            try:
                yield
            finally:
                looking.cancel()

    def begin(self) -> None:
        """Have the service run in this event loop; returns at once."""
        loop = asyncio.get_running_loop()
        if self._run is not None and self._run.lives_in(loop):
            return
        if self._run is not None or not self._service.is_running:
            self._run = _Run(loop, self._serving)

    async def started(self) -> bool:
        """Return whether the service runs, once that is known; why it does not is in the log."""
        self.begin()
        return self._run is None or await self._run.started()


class _Run:
    """One run of the service that began with a request, and ends with its event loop."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, serving: Callable[[], AbstractAsyncContextManager[None]]
    ) -> None:
        self._loop = loop
        self._settled = asyncio.Event()
        self._serves = False
        # No group can own it: it outlives the request, and no lifespan was given to us. The event
        # loop's runner cancels it at the end and waits for it. The request's context is not its own.
        self._task = loop.create_task(self._serve(serving), name="htagweb", context=Context())

    def lives_in(self, loop: asyncio.AbstractEventLoop) -> bool:
        return self._loop is loop and not self._task.done()

    async def started(self) -> bool:
        await self._settled.wait()
        return self._serves

    async def _serve(self, serving: Callable[[], AbstractAsyncContextManager[None]]) -> None:
        try:
            async with serving():
                logger.info("started by the first request, as no lifespan was run")
                self._serves = True
                self._settled.set()
                await self._loop.create_future()
        except Exception:
            logger.exception("the Runner's service could not run; the next request tries again")
        finally:
            self._serves = False
            self._settled.set()


class Entrance:
    """The outermost layer of a Runner but for proxies: outside of sessions, and of its user's middleware.

    It notes under which path the Runner was entered, serves what needs no session, and
    sees to it that the service runs.
    """

    def __init__(
        self, app: ASGIApp, life: Life, first: Sequence[BaseRoute], others: Sequence[BaseRoute]
    ) -> None:
        """``first`` are served here, unless one of ``others`` has the very same path."""
        self._app = app
        self._life = life
        self._first = first
        self._others = others

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] not in ("http", "websocket"):
            return await self._app(scope, receive, send)
        # A new dict: a Runner inside this one adds its own, and scopes are copied on their way.
        scope[ROOTS] = {**scope.get(ROOTS, {}), self._life: scope.get("root_path", "")}
        for route in self._first:
            match, child_scope = route.matches(scope)
            if match is Match.FULL and not self._is_taken(route):
                self._life.begin()  # a worker that waits to be ready for its first request would never be
                return await route.handle({**scope, **child_scope}, receive, send)
        if not await self._life.started():
            return await _not_running()(scope, receive, send)
        await self._app(scope, receive, send)

    def _is_taken(self, route: BaseRoute) -> bool:
        path = getattr(route, "path", None)
        return any(getattr(other, "path", None) == path for other in self._others)


def _not_running() -> Response:
    text = "A part of it could not be started; its log says which, and what to do."
    return pages.problem(503, "The server is not ready", text, retry_s=pages.RETRY_S)


def entered_root(request: Request, life: Life) -> str:
    """Return the root path under which the request came into a Runner.

    A mount inside of the Runner makes the request's own longer. RuntimeError
    when it never came in.
    """
    try:
        root: str = request.scope[ROOTS][life]
    except KeyError:
        raise RuntimeError(
            "this request did not come through this Runner, so it has no session here: "
            "add the endpoint with the Runner's own add_route, or below a path where the Runner is mounted"
        ) from None
    return root
