"""Opens a page: asks the instance's owner for its HTML, and for an owner where there is none."""

from __future__ import annotations

import asyncio
import logging
import secrets
from urllib.parse import quote

from htagweb_broker import (
    BrokerError,
    InstanceId,
    Launch,
    Open,
    PageReply,
    Replied,
    SpawnRequest,
    wait_event,
)
from starlette.requests import Request
from starlette.responses import Response

from htagweb.web import pages
from htagweb.web.service import WebService
from htagweb.web.sessions import admitted, visit_of

logger = logging.getLogger(__name__)

LOOK_AGAIN_S = 1.0
ASK_AGAIN_S = 5.0
"""An owner that lives but does not answer for so long may not know that it is one: it is asked again."""
UNLIMITED_OPEN_S = 3600.0
PING_S = 25


async def open_page(
    service: WebService, request: Request, app: str, launch: Launch, *, root: str, ssl: bool
) -> Response:
    """Return the app's page for the request's user, or a page that says why there is none.

    ``root`` is the path, not quoted, under which the Runner was entered. With
    ``ssl`` the page's socket is encrypted, whatever its own scheme.
    """
    instance = InstanceId(visit_of(request).session, app)
    patience_s = (launch.timeout_interaction_s or UNLIMITED_OPEN_S) + service.settings.open_timeout_s
    try:
        await admitted(service, request)
        async with asyncio.timeout(patience_s):
            outcome = await _Opening(service, instance, launch).run()
    except BrokerError as exc:
        logger.warning("%s was not opened: %s", instance, exc)
        return pages.broker_away()
    except TimeoutError:
        logger.error("%s was not opened within %g s", instance, patience_s)
        return pages.too_late()
    if isinstance(outcome, Response):
        return outcome
    reply = outcome.reply
    if not isinstance(reply, PageReply):
        return pages.not_started(reply.reason, reply.error, reply.detail, launch.debug)
    config: dict[str, object] = {
        "url": f"{_quoted(root)}/_/{app}",
        "generation": reply.generation,
        "last": outcome.number,
        "ping_s": PING_S,
        "max_message_bytes": service.settings.max_message_bytes,
    }
    modes = {"ssl": ssl, "http_only": launch.http_only, "parano": launch.parano, "debug": launch.debug}
    config |= {name: True for name, is_on in modes.items() if is_on}
    return pages.app_page(reply.html, _quoted(root), config)


def _quoted(root: str) -> str:
    """Return a root path as an address of this host: two slashes first would name another host."""
    path = root.strip("/")
    return quote(f"/{path}") if path else ""


class _Opening:
    """One request for a page, until it is answered or cannot be."""

    def __init__(self, service: WebService, instance: InstanceId, launch: Launch) -> None:
        self._service = service
        self._broker = service.broker
        self._instance = instance
        self._request = secrets.token_hex(16)
        self._launch = launch

    async def run(self) -> Replied | Response:
        """Ask, and wait for the answer; the caller limits the time."""
        if not (await self._service.supervisors()).living:
            return pages.no_supervisor()  # pages that wait would fill the inbox
        with self._broker.replies.expect(self._request) as hint:
            message = Open(self._request, self._service.worker, self._launch)
            most_apps = self._service.settings.max_apps_per_session
            connections = self._broker.connections
            opened = await self._broker.inbox.open(self._instance, message, most_apps)
            if opened == "busy":  # perhaps because nobody owns it, who would take from it
                return await self._look_again(0.0) or pages.too_busy()
            if opened == "full":
                return pages.too_many_apps(most_apps)
            if (refusal := await self._find_owner(opened.generation, opened.owner)) is not None:
                return refusal
            waited_s = 0.0
            while True:
                if not await wait_event(hint, LOOK_AGAIN_S):
                    waited_s += LOOK_AGAIN_S
                hint.clear()
                replied = await self._broker.replies.read(self._instance.session, self._request)
                if replied is not None:
                    return replied
                if connections != self._broker.connections:
                    # The server may have lost the message, or the reply: the same request is answered again.
                    connections = self._broker.connections
                    await self._broker.inbox.open(self._instance, message, most_apps)
                if (refusal := await self._look_again(waited_s)) is not None:
                    return refusal

    async def _look_again(self, waited_s: float) -> Response | None:
        """Find an owner again: the last one may have died, or never heard of the request."""
        record = await self._broker.ownership.read(self._instance)
        if record is None:
            return await self._find_owner("", "")
        if waited_s and waited_s % ASK_AGAIN_S == 0:
            await self._spawn(record.generation)
            return None
        return await self._find_owner(record.generation, record.owner)

    async def _find_owner(self, generation: str, owner: str) -> Response | None:
        supervisors = await self._service.supervisors()
        if owner and owner in supervisors.living:
            return None
        if not supervisors.living:
            return pages.no_supervisor()
        if not supervisors.has_room or supervisors.load >= self._service.settings.max_apps_in_total:
            return pages.no_room()
        await self._spawn(generation)
        return None

    async def _spawn(self, generation: str) -> None:
        await self._broker.spawns.put(SpawnRequest(self._instance.dump(), generation))
