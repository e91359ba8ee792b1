"""Starlette's ``request.session``, held in the broker; the cookie only carries a signed random id."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from htagweb_broker import BrokerError, BrokerUnavailable
from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from htagweb.session import SessionDict
from htagweb.web import pages
from htagweb.web.cookies import COOKIE, digest_of
from htagweb.web.service import WebService

logger = logging.getLogger(__name__)

VISIT = "htagweb.visit"


@dataclass(slots=True)
class Visit:
    """Who makes this request."""

    session: str
    """The session's digest."""
    cookie: str
    is_new: bool
    """The browser does not have this cookie yet."""
    wanted: bool = False
    """Something depends on the session: a new one is told to the browser."""


def visit_of(connection: HTTPConnection) -> Visit:
    """Return who makes this request; the session is kept from now on."""
    visit: Visit = connection.scope[VISIT]
    visit.wanted = True
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
            logger.warning("a request was refused, the broker is away: %s", exc)
            return await pages.broker_away()(scope, receive, send)
        scope["session"], scope[VISIT] = session, visit

        has_started = False

        async def send_saved(message: Message) -> None:
            nonlocal has_started
            if message["type"] == "http.response.start":
                await self._save(connection, visit, session, message)
                has_started = True
            await send(message)

        try:
            await self._app(scope, receive, send_saved)
        except BrokerUnavailable as exc:
            if has_started or scope["type"] != "http":
                raise
            logger.warning("a session was not saved, the broker is away: %s", exc)
            await pages.broker_away()(scope, receive, send)

    async def _load(self, connection: HTTPConnection) -> tuple[Visit, SessionDict]:
        signer = await self._service.signer()
        cookie = connection.cookies.get(COOKIE, "")
        if signer.is_ours(cookie):
            digest = digest_of(cookie)
            data = await self._service.broker.sessions.read(digest)
            return Visit(digest, cookie, is_new=False), SessionDict(data.values)
        if cookie:
            logger.warning("a session cookie that is not ours was replaced")
        cookie = signer.issue()
        return Visit(digest_of(cookie), cookie, is_new=True), SessionDict()

    async def _save(
        self, connection: HTTPConnection, visit: Visit, session: SessionDict, message: Message
    ) -> None:
        if changes := session.take_changes():
            visit.wanted = True
            await self._service.broker.sessions.write(visit.session, changes)
        if visit.wanted:
            headers = MutableHeaders(scope=message)
            headers.append("set-cookie", self._header(connection, visit))

    def _header(self, connection: HTTPConnection, visit: Visit) -> str:
        # Sent each time, so that the cookie lives as long after its last use as the session does.
        life = f"Max-Age={self._service.settings.session_ttl_s}"
        secure = "; Secure" if connection.url.scheme == "https" else ""
        return f"{COOKIE}={visit.cookie}; Path=/; {life}; HttpOnly; SameSite=Lax{secure}"
