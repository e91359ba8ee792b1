"""Starlette's ``request.session``, held in the broker; the cookie only carries a signed random id."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from htagweb_broker import BrokerError, BrokerUnavailable, SessionMoved
from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from htagweb.session import SessionDict
from htagweb.web import pages
from htagweb.web.arrivals import TooManyArrivals, admit
from htagweb.web.cookies import cookie_name, digest_of
from htagweb.web.origin import ALLOWED
from htagweb.web.renewal import renew
from htagweb.web.service import WebService

logger = logging.getLogger(__name__)

VISIT = "htagweb.visit"
COOKIE_LIFE_S = 400 * 24 * 3600
"""The longest that browsers keep one. How long a session lives is the broker's to say: clicks over a
WebSocket are a use of it too, and cannot renew a cookie."""


class WebSession(SessionDict):
    """``request.session``: a dict of JSON values."""

    wants_new_id = False

    def renew(self) -> None:
        """Give the session a new id with this response, its values stay; at login and at logout.

        Its apps end, and the old id is worth nothing from then on.
        """
        self.wants_new_id = True


@dataclass(slots=True)
class Visit:
    """Who makes this request."""

    session: str
    """The session's digest."""
    cookie: str
    is_new: bool
    """The browser does not have this session yet."""
    wanted: bool = False
    """Something depends on the session: a new one is told to the browser."""
    is_renewed: bool = False
    """The browser's cookie gets its life anew."""
    is_admitted: bool = False
    """It was counted as a new one."""


def visit_of(connection: HTTPConnection) -> Visit:
    """Return who makes this request; the session is kept from now on."""
    visit: Visit = connection.scope[VISIT]
    visit.wanted = True
    return visit


async def admitted(service: WebService, connection: HTTPConnection) -> Visit:
    """As ``visit_of``, for what costs a process; TooManyArrivals is the middleware's to answer."""
    visit = visit_of(connection)
    if visit.is_new and not visit.is_admitted:
        await admit(service, connection)
        visit.is_admitted = True
    visit.is_renewed = True
    return visit


class SessionMiddleware:
    """Loads the session before a request and saves what was changed before its response starts.

    So a value that a handler writes is seen by every interaction that starts
    after the response.
    """

    def __init__(self, app: ASGIApp, service: WebService) -> None:
        self._app = app
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] not in ("http", "websocket"):
            return await self._app(scope, receive, send)
        connection = HTTPConnection(scope)
        try:
            visit, session = await self._load(connection)
        except BrokerError as exc:
            return await _refuse(exc)(scope, receive, send)
        scope["session"], scope[VISIT] = session, visit
        scope[ALLOWED] = self._service.allowed_origins

        has_started = False

        async def send_saved(message: Message) -> None:
            nonlocal has_started
            if message["type"] == "http.response.start":
                await self._save(connection, visit, session, message)
            has_started = True
            await send(message)

        try:
            await self._app(scope, receive, send_saved)
        except (BrokerUnavailable, SessionMoved, TooManyArrivals) as exc:
            if has_started or scope["type"] != "http":
                raise
            await _refuse(exc)(scope, receive, send)

    async def _load(self, connection: HTTPConnection) -> tuple[Visit, WebSession]:
        signer = await self._service.signer()
        given = connection.cookies.get(cookie_name(_scheme(connection)), "")
        cookie = signer.accept(given)
        if cookie is not None:
            digest = digest_of(cookie)
            data = await self._service.broker.sessions.read(digest)
            if data.is_moving:
                # Not a new session: its cookie would take the place of the one that is on its way.
                raise SessionMoved("its session is getting a new id")
            return Visit(digest, cookie, is_new=False), WebSession(data.values)
        if given:
            logger.warning("a session cookie that is not ours was replaced")
        cookie = signer.issue()
        return Visit(digest_of(cookie), cookie, is_new=True), WebSession()

    async def _save(
        self, connection: HTTPConnection, visit: Visit, session: WebSession, message: Message
    ) -> None:
        changes = session.take_changes()
        if changes:
            await admitted(self._service, connection)
        broker = self._service.broker
        if session.wants_new_id and not visit.is_new:
            visit.cookie = await renew(self._service, visit.session, changes)
            visit.session, visit.is_new, visit.wanted = digest_of(visit.cookie), True, True
        elif changes:
            await broker.sessions.write(visit.session, changes)
        # Not with each response: one that is kept by a cache would give the cookie to others.
        if not (visit.wanted if visit.is_new else visit.is_renewed):
            return
        # Else a response that was late would bring the browser's old id back.
        if visit.is_new or not await broker.sessions.is_moving(visit.session):
            headers = MutableHeaders(scope=message)
            headers.append("set-cookie", self._header(connection, visit))
            headers.add_vary_header("Cookie")

    def _header(self, connection: HTTPConnection, visit: Visit) -> str:
        scheme = _scheme(connection)
        life = f"Max-Age={COOKIE_LIFE_S}"
        secure = "; Secure" if scheme == "https" else ""
        return f"{cookie_name(scheme)}={visit.cookie}; Path=/; {life}; HttpOnly; SameSite=Lax{secure}"


def _scheme(connection: HTTPConnection) -> str:
    scheme: str = connection.scope.get("scheme", "http")
    return scheme


def _refuse(error: Exception) -> Response:
    """Return the page that says why a request was not served."""
    logger.warning("a request was refused: %s", error)
    match error:
        case TooManyArrivals():
            return pages.too_many_arrivals()
        case SessionMoved():
            return pages.session_moves()
    return pages.broker_away()
