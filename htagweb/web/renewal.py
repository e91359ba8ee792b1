"""Gives a session a new id: at login, so that an id which somebody planted or saw before is worth nothing."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from htagweb_broker import MAX_INBOX_BYTES, BrokerUnavailable, End, InstanceId, limits
from htagweb_broker.keys import partition

from htagweb.web.cookies import Signer, digest_of
from htagweb.web.service import WebService

logger = logging.getLogger(__name__)

END_WAIT_S = 3.0
"""Longest wait for the session's apps to end: a supervisor kills one that has not within 2 s."""
LOOK_S = 0.1
MOVE_PATIENCE_S = 5.0
"""How long the move is tried again while the broker is away."""
RETRY_S = 0.2

assert END_WAIT_S + MOVE_PATIENCE_S < limits.CLOSED_TTL_MS / 1000, (
    "nobody enters before the session has moved"
)


async def renew(service: WebService, session: str, changes: Mapping[str, bytes | None]) -> str:
    """Move the session, with the changes, to a new id; return the new cookie.

    Its apps are ended first, and what they still save moves too. MessageError,
    SessionMoved or another BrokerError say why it has no new id; after
    BrokerUnavailable it may have one that nobody knows.
    """
    broker = service.broker
    signer = await service.signer()
    await broker.sessions.check_room(session, changes)  # before anything is ended for it
    await broker.renewals.close(session)
    await _end_apps(service, session)
    cookie = _issue_beside(signer, session)
    give_up_at = service.clock.now() + MOVE_PATIENCE_S
    while True:
        try:
            await broker.renewals.move(session, digest_of(cookie), changes)
        except BrokerUnavailable:
            if service.clock.now() >= give_up_at:
                raise
            await service.clock.sleep(RETRY_S)
        else:
            return cookie


def _issue_beside(signer: Signer, session: str) -> str:
    """Return the cookie of a new session in the same partition: one script can reach both."""
    while True:
        cookie = signer.issue()
        if partition(digest_of(cookie)) == partition(session):
            return cookie


async def _end_apps(service: WebService, session: str) -> None:
    """Ask all apps of the session to end and wait until they have; those that come meanwhile too."""
    asked: set[tuple[str, str]] = set()
    give_up_at = service.clock.now() + END_WAIT_S
    while living := await _ask_living(service, session, asked):
        if service.clock.now() >= give_up_at:
            logger.warning("%s… has a new id, but %d of its apps have not ended", session[:8], living)
            return
        await service.clock.sleep(LOOK_S)


async def _ask_living(service: WebService, session: str, asked: set[tuple[str, str]]) -> int:
    """Ask each app once; return how many still live."""
    broker, living = service.broker, 0
    for app in await broker.sessions.apps(session):
        instance = InstanceId(session, app)
        record = await broker.ownership.read(instance)
        if record is None or not record.owner:
            continue
        living += 1
        if (app, record.generation) not in asked:
            message = End(record.generation, "renewed")
            # A full inbox is asked again: its supervisor takes from it.
            if await broker.inbox.submit(instance, message, MAX_INBOX_BYTES) == "ok":
                asked.add((app, record.generation))
    return living
