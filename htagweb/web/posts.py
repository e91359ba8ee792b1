"""Interactions by POST: the response starts when the inbox has it, and goes on with what the app answers.

So a page may send its next interaction when it has the headers of the one before:
their order is kept, and a long one holds up none.
"""

from __future__ import annotations

import asyncio
import logging
import secrets

import msgspec
from htagweb_broker import (
    MAX_INBOX_BYTES,
    Answered,
    BrokerError,
    BrokerRefused,
    BrokerUnavailable,
    Connect,
    Emission,
    Ended,
    FeedBroken,
    InstanceId,
    Record,
    wait_event,
    waiting_request,
)
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from htagweb.web import wire
from htagweb.web.exchanges import Exchange, Refused, read_exchange, shake_hands
from htagweb.web.origin import is_same_origin
from htagweb.web.service import WebService
from htagweb.web.sessions import visit_of
from htagweb.web.submitting import PATIENCE_S, SEALED_ONLY, Submission, told_end

logger = logging.getLogger(__name__)

LONGEST_ANSWER_S = 3600.0
"""For apps without a limit of their own."""
LOOK_AGAIN_S = 1.0
_RETRY = {"retry-after": "3"}
_HEADERS = {
    "cache-control": "no-store",
    # A proxy that collects responses would keep back the headers that a page waits for.
    "x-accel-buffering": "no",
}


async def serve_post(service: WebService, request: Request, app: str) -> Response:
    """Answer one interaction, a page's hello, or its handshake for a sealed channel."""
    instance = InstanceId(visit_of(request).session, app)
    try:
        return await _serve(service, request, instance)
    except Refused as exc:
        logger.warning("%s: a POST was refused: %s", instance, exc)
        return PlainTextResponse(str(exc), exc.status, headers=_RETRY if exc.status == 503 else None)
    except ClientDisconnect:
        return PlainTextResponse("", 400)
    except BrokerError as exc:
        logger.warning("%s: a POST was refused: %s", instance, exc)
        return PlainTextResponse("The server is not ready.", 503, headers=_RETRY)


async def _serve(service: WebService, request: Request, instance: InstanceId) -> Response:
    if not is_same_origin(request):
        raise Refused(403, "This address takes requests of its own pages only.")
    exchange = await read_exchange(service, request, instance)
    try:
        message = wire.parse_message(exchange.text)
        call = wire.call_of(message) if message.id is not None or message.htagweb is None else None
    except wire.WireError as exc:
        # What came sealed is not repeated in clear text.
        text = "expected an interaction in a sealed message" if exchange.is_sealed else str(exc)
        raise Refused(400, text) from exc
    extra = message.htagweb or wire.Extra()
    record = await service.broker.ownership.read(instance)
    if record is None:
        raise Refused(404, "This app was not opened in this session.")
    if call is None and extra.key is not None and not exchange.is_sealed:
        if extra.curve is None:
            raise Refused(400, "expected curve and key both")
        channel = await shake_hands(service, instance, extra.curve, extra.key)
        return _complete(exchange, wire.own(**channel))
    if record.parano and not exchange.is_sealed:
        raise Refused(403, SEALED_ONLY)
    if call is None:
        return _complete(exchange, await _greet(service, instance, record, extra))
    asking = _Asking(service, instance, record, extra, call)
    answer = await asking.begin()
    return _Answering(request, exchange, asking) if answer is None else _complete(exchange, answer)


def _complete(exchange: Exchange, text: str) -> Response:
    return Response(exchange.answer(text), media_type=exchange.media_type, headers=_HEADERS)


async def _greet(service: WebService, instance: InstanceId, record: Record, extra: wire.Extra) -> str:
    """Tell the app that a browser looks at it; return what its page has missed."""
    if extra.page is None or extra.generation is None or extra.last is None:
        raise Refused(400, "expected an id (a number), or page, generation and last")
    stale = wire.as_array([wire.own(reload=True)])
    if extra.generation != record.generation:
        logger.info("%s: a page of an earlier run of the app is loaded anew", instance)
        return stale
    broker = service.broker
    became = await broker.inbox.submit(instance, Connect(record.generation), MAX_INBOX_BYTES)
    if became == "busy":
        raise Refused(503, "Too many clicks wait for this app.")
    if became in ("stale", "unknown"):
        return stale
    try:
        missed = await broker.outbox.read_after(instance, record.generation, extra.last)
    except FeedBroken:
        return stale
    messages = [wire.render(emission, extra.page) for emission in missed]
    if became == "ended" and not any(isinstance(emission.action, Ended) for emission in missed):
        messages.append(await told_end(service, instance, record.generation))
    return wire.as_array(messages)


class _Asking:
    """One interaction, from its submission to its answer.

    A page that says which action it had last gets an array: all actions after
    that, up to the answer. Others get the answer alone.
    """

    def __init__(
        self, service: WebService, instance: InstanceId, record: Record, extra: wire.Extra, call: msgspec.Raw
    ) -> None:
        self.instance = instance
        self._service = service
        self._outbox = service.broker.outbox
        self._living = record.generation
        self._submission = Submission(
            page=extra.page or secrets.token_urlsafe(16),
            number=extra.n or 1,
            generation=extra.generation or record.generation,
            call=call,
            worker=service.worker,
        )
        self._may_be_repeated = extra.n is not None
        self._wants_all = extra.last is not None
        self._first = record.out if extra.last is None else extra.last

    async def begin(self) -> str | None:
        """Submit it; return what can be answered at once, None when the answer has to be waited for."""
        asked = self._submission
        if asked.generation != self._living:
            logger.info("%s: an interaction of generation %s came too late", self.instance, asked.generation)
            return self._stale()
        said = await asked.run(self._service, self.instance, _no_notice)
        if said is None:
            return None
        # It was not taken: perhaps because this is a repetition, and the app has ended after its answer.
        try:
            missed = await self._read_after(self._first) if self._wants_all else await self._look_back()
        except FeedBroken:
            return self._stale()
        if settled := self._settled(missed):
            return self._shown(settled)
        return wire.as_array([*self._rendered(missed), said]) if self._wants_all else said

    async def wait(self, request: Request) -> str:
        """Return what it was answered.

        ClientDisconnect when nobody waits any more, BrokerError when the
        broker stays away for 30 s.
        """
        try:
            async with asyncio.timeout(LONGEST_ANSWER_S):
                return self._shown(await self._wait(request))
        except FeedBroken:
            return self._stale()
        except TimeoutError:
            logger.warning("%s: an interaction was not answered in time", self.instance)
            asked = self._submission
            said = wire.refusal("The app did not answer in time.", asked.page, asked.number)
            return wire.as_array([said]) if self._wants_all else said

    async def _wait(self, request: Request) -> list[Emission]:
        """Read the outbox when there is a hint, and now and then: an end gives none.

        The instance's channel is not followed: ``tag.update()`` would take this
        request for a browser that listens.
        """
        asked, clock, broker = self._submission, self._service.clock, self._service.broker
        after, heard, has_looked_back = self._first, clock.now(), False
        connections = broker.connections
        with broker.replies.expect(waiting_request(asked.page, asked.number)) as hint:
            while True:
                try:
                    emissions = await self._read_after(after)
                    heard = clock.now()
                except (BrokerUnavailable, BrokerRefused):
                    if clock.now() - heard >= PATIENCE_S:
                        raise
                    emissions = []
                if settled := self._settled(emissions):
                    if after == self._first or not self._wants_all:
                        return settled
                    # What was read before was not kept: an app that says much meanwhile fills no memory.
                    after = self._first
                    continue
                after = emissions[-1].number if emissions else after
                if connections != broker.connections:
                    # What the server had taken may be lost: it is submitted again, and taken once.
                    latest = broker.connections
                    if await asked.run(self._service, self.instance, _no_notice) is None:
                        connections = latest
                if await wait_event(hint, LOOK_AGAIN_S):
                    hint.clear()
                elif await request.is_disconnected():
                    raise ClientDisconnect
                elif not has_looked_back:
                    has_looked_back = True
                    earlier = await self._look_back()
                    if earlier and earlier[0].number <= self._first:
                        return earlier

    async def _read_after(self, number: int) -> list[Emission]:
        return await self._outbox.read_after(self.instance, self._living, number)

    async def _look_back(self) -> list[Emission]:
        """Return the answer of before, if this is a repetition of what was answered already."""
        if not self._may_be_repeated:
            return []
        asked = self._submission
        found = await self._outbox.find_answer(self.instance, asked.page, asked.number)
        return [found] if found else []

    def _settled(self, emissions: list[Emission]) -> list[Emission]:
        """Return those up to the answer, or to the end of the app; [] when neither is among them."""
        asked = self._submission.page, self._submission.number
        for position, emission in enumerate(emissions, 1):
            action = emission.action
            is_mine = isinstance(action, Answered) and (action.page, action.number) == asked
            if is_mine or isinstance(action, Ended):
                return emissions[:position]
        return []

    # What the page is told

    def _rendered(self, emissions: list[Emission]) -> list[str]:
        return [wire.render(emission, self._submission.page) for emission in emissions]

    def _shown(self, settled: list[Emission]) -> str:
        messages = self._rendered(settled)
        return wire.as_array(messages) if self._wants_all else messages[-1]

    def _stale(self) -> str:
        return wire.as_array([wire.own(reload=True)]) if self._wants_all else wire.stale()


async def _no_notice(waiting: bool) -> None:
    """A POST has no way to be told while it waits."""


class _Answering(Response):
    """A response whose body comes when the app has answered.

    An error breaks the connection: a body that ends as if it were complete would
    be taken for an answer.
    """

    def __init__(self, request: Request, exchange: Exchange, asking: _Asking) -> None:
        super().__init__(media_type=exchange.media_type, headers=_HEADERS)
        del self.headers["content-length"]
        self._request = request
        self._exchange = exchange
        self._asking = asking

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send status and headers now, the body when it is there."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        # Middleware may hold the start back until there is a body.
        await send({"type": "http.response.body", "body": b"", "more_body": True})
        try:
            answer = await self._asking.wait(self._request)
        except ClientDisconnect:
            return
        except BrokerError as exc:
            logger.warning("%s: an answer was given up, the broker is away: %s", self._asking.instance, exc)
            raise
        await send({"type": "http.response.body", "body": self._exchange.answer(answer)})
