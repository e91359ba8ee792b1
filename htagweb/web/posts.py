"""Interactions by POST: the request waits for its answer."""

from __future__ import annotations

import asyncio
import logging
import secrets

from htagweb_broker import (
    Answered,
    BrokerError,
    Ended,
    FeedBroken,
    InstanceId,
    wait_event,
    waiting_request,
)
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response

from htagweb.web import wire
from htagweb.web.origin import is_same_origin
from htagweb.web.service import WebService
from htagweb.web.sessions import visit_of
from htagweb.web.submitting import Submission

logger = logging.getLogger(__name__)

LONGEST_ANSWER_S = 3600.0
"""For apps without a limit of their own."""
LOOK_AGAIN_S = 1.0


class _Refused(Exception):
    """A request that is answered with a plain text and a status."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


async def serve_post(service: WebService, request: Request, app: str) -> Response:
    """Answer one interaction with its action object."""
    instance = InstanceId(visit_of(request).session, app)
    try:
        answer = await _interact(service, request, instance)
    except _Refused as exc:
        logger.warning("%s: a POST was refused: %s", instance, exc)
        return PlainTextResponse(str(exc), exc.status)
    except ClientDisconnect:
        return PlainTextResponse("", 400)
    except BrokerError as exc:
        logger.warning("%s: a POST was refused, the broker is away: %s", instance, exc)
        return PlainTextResponse("The server is not ready.", 503, headers={"retry-after": "3"})
    return Response(answer, media_type="application/json", headers={"cache-control": "no-store"})


async def _interact(service: WebService, request: Request, instance: InstanceId) -> str:
    if not is_same_origin(request):
        raise _Refused(403, "This address takes requests of its own pages only.")
    try:
        message = wire.parse_message(await _body(request, service.settings.max_message_bytes))
        call = wire.call_of(message)
    except wire.WireError as exc:
        raise _Refused(400, str(exc)) from exc
    record = await service.broker.ownership.read(instance)
    if record is None:
        raise _Refused(404, "This app was not opened in this session.")
    extra = message.htagweb or wire.Extra()
    submission = Submission(
        page=extra.page or secrets.token_urlsafe(16),
        number=extra.n or 1,
        generation=extra.generation or record.generation,
        call=call,
        worker=service.worker,
    )
    if submission.generation != record.generation:
        logger.info("%s: an interaction of generation %s came too late", instance, submission.generation)
        return wire.stale()
    if extra.n is not None:  # it may be a repetition, whose answer was lost on its way
        answered = await service.broker.outbox.find_answer(instance, submission.page, submission.number)
        if answered is not None:
            return wire.render(answered, submission.page)
    with service.broker.replies.expect(waiting_request(submission.page, submission.number)) as hint:
        answer = await submission.run(service, instance, _no_notice)
        if answer is not None:
            return answer
        try:
            async with asyncio.timeout(LONGEST_ANSWER_S):
                return await _wait_for_answer(
                    service, request, instance, submission, hint=hint, after=record.out
                )
        except FeedBroken:
            return wire.stale()
        except TimeoutError:
            raise _Refused(504, "The app did not answer in time.") from None


async def _no_notice(waiting: bool) -> None:
    """A POST has no way to be told while it waits."""


async def _wait_for_answer(
    service: WebService,
    request: Request,
    instance: InstanceId,
    submission: Submission,
    *,
    hint: asyncio.Event,
    after: int,
) -> str:
    """Read the outbox when there is a hint, and now and then: an end gives none.

    The instance's channel is not followed: ``tag.update()`` would take this
    request for a browser that listens.
    """
    asked = submission.page, submission.number
    while True:
        if not await wait_event(hint, LOOK_AGAIN_S) and await request.is_disconnected():
            raise ClientDisconnect
        hint.clear()
        for emission in await service.broker.outbox.read_after(instance, submission.generation, after):
            after, action = emission.number, emission.action
            is_mine = isinstance(action, Answered) and (action.page, action.number) == asked
            if is_mine or isinstance(action, Ended):
                return wire.render(emission, submission.page)


async def _body(request: Request, limit: int) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise _Refused(413, f"A message may have at most {limit} bytes.")
    return bytes(body)
