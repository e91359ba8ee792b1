"""Submits what a page sends to its instance, also through a short absence of the broker."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import msgspec
from htagweb_broker import (
    BrokerError,
    Connect,
    InstanceId,
    Interact,
    MessageError,
    Submitted,
)

from htagweb.web import wire
from htagweb.web.service import WebService

logger = logging.getLogger(__name__)

PATIENCE_S = 30.0
"""How long an interaction is kept while the broker is away; then the page is told."""
RETRY_S = 0.2
SEALED_ONLY = (
    "This app takes sealed messages only. Load its page again, over https or on localhost, "
    "in a browser that has WebCrypto."
)
"""What a page of a parano app hears that speaks in clear text."""

Waiting = Callable[[bool], Awaitable[None]]


async def submit(
    service: WebService, instance: InstanceId, message: Interact | Connect, on_waiting: Waiting
) -> Submitted:
    """Append the message to the inbox; BrokerError when the broker stays away for 30 s.

    To repeat it is safe: the supervisor knows an interaction by page and number.
    ``on_waiting`` hears when it takes longer, and when that is over.
    """
    give_up_at = service.clock.now() + PATIENCE_S
    told = False
    while True:
        try:
            result = await service.broker.inbox.submit(
                instance, message, service.settings.max_message_bytes * 2
            )
        except MessageError:
            raise
        except BrokerError as exc:
            service.clicks.begins(exc)
            if service.clock.now() >= give_up_at:
                raise
        else:
            service.clicks.ends()
            if told:
                await on_waiting(False)
            return result
        if not told:
            told = True
            await on_waiting(True)
        await service.clock.sleep(RETRY_S)


class Submission(msgspec.Struct, frozen=True):
    """One interaction of a page."""

    page: str
    number: int
    generation: str
    call: msgspec.Raw
    worker: str = ""
    """This web worker, when its request waits for the answer."""
    after: int = 0
    """The page's unanswered interaction that was submitted before, 0 for none."""

    async def run(self, service: WebService, instance: InstanceId, on_waiting: Waiting) -> str | None:
        """Submit it; return what the page has to hear at once, None when the answer comes by the feed."""
        message = Interact(self.generation, self.page, self.number, self.call, self.worker, self.after)
        try:
            result = await submit(service, instance, message, on_waiting)
        except BrokerError as exc:
            logger.error("%s: an interaction was given up: %s", instance, exc)
            return wire.refusal(
                "The server did not answer: this click may not have been carried out.", self.page, self.number
            )
        match result:
            case "ok":
                return None
            case "busy":
                logger.warning("%s: an interaction was refused, its inbox is full", instance)
                return wire.refusal("Too many clicks wait for this app.", self.page, self.number)
            case "ended":
                return await told_end(service, instance, self.generation)
        logger.info("%s: an interaction of generation %s came too late", instance, self.generation)
        return wire.own(reload=True)


async def told_end(service: WebService, instance: InstanceId, generation: str) -> str:
    """Return why the generation has ended, as its page has to hear it."""
    try:
        record = await service.broker.ownership.read(instance)
    except BrokerError:
        record = None
    if record is None or record.generation != generation or record.reason is None:
        return wire.own(reload=True)
    return wire.ended(record.reason)
