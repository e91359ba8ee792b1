"""A page's WebSocket: interactions in, numbered actions out; sealed where the page asks for it."""

from __future__ import annotations

import asyncio
import logging
import secrets

from htagweb_broker import (
    Answered,
    BrokerError,
    Connect,
    Emission,
    Ended,
    Feed,
    FeedBroken,
    InstanceId,
    Record,
)
from starlette.responses import PlainTextResponse
from starlette.websockets import WebSocket, WebSocketDisconnect

from htagweb.web import wire
from htagweb.web.lines import NORMAL, Line, SealedLine, TooLarge
from htagweb.web.origin import is_same_origin
from htagweb.web.sealing import Agreement, SealError, agree
from htagweb.web.service import WebService
from htagweb.web.sessions import visit_of
from htagweb.web.submitting import SEALED_ONLY, Submission, submit

logger = logging.getLogger(__name__)

BUSY_RETRY_S = 1.0

BAD_HELLO = 4400
GONE = 4404
BAD_SEAL = 4422
TOO_MANY_PAGES = 4429
NOT_READY = 1013
TOO_LARGE = 1009


async def serve_socket(service: WebService, websocket: WebSocket, app: str) -> None:
    """Serve one page's socket until it closes."""
    if not is_same_origin(websocket):
        logger.warning("a socket from another site was refused: %s", websocket.headers.get("origin"))
        return await _deny(websocket, 403, "This address takes connections of its own pages only.")
    instance = InstanceId(visit_of(websocket).session, app)
    try:
        hello = wire.parse_hello(websocket.query_params)
        record = await service.broker.ownership.read(instance)
        agreement = agree(hello.curve, hello.key) if hello and hello.curve and hello.key is not None else None
    except (wire.WireError, SealError) as exc:
        logger.warning("%s: a socket was refused: %s", instance, exc)
        await websocket.accept()
        return await websocket.close(BAD_HELLO, str(exc)[:120])
    except BrokerError as exc:
        logger.warning("%s: a socket was refused: %s", instance, exc)
        return await _deny(websocket, 503, "The server is not ready.")
    if hello is None and record is None:
        logger.warning("%s: a socket was refused: the session has not opened this app", instance)
        return await _deny(websocket, 404, "This app was not opened in this session.")
    if record is not None and record.parano and agreement is None:
        logger.warning("%s: a socket was refused: it is not sealed", instance)
        return await _deny(websocket, 403, SEALED_ONLY)
    await websocket.accept()
    try:
        line = await _line_of(websocket, agreement, service)
    except WebSocketDisconnect:
        return logger.debug("%s: a page left", instance)
    if record is None or (hello is not None and hello.generation != record.generation):
        # Whatever the page shows belongs to a process that is gone.
        logger.info("%s: a page of an earlier run of the app is loaded anew", instance)
        return await line.close(GONE, wire.own(reload=True))
    page = hello.page if hello else secrets.token_urlsafe(16)
    after = hello.last if hello else record.out
    socket = PageSocket(service, line, instance, record, page)
    socket.is_ours = hello is not None
    try:
        async with service.places.hold(instance.session, page) as has_place:
            if has_place:
                return await socket.run(after)
        logger.warning("%s: a socket was refused: its session has too many pages open", instance)
        await line.close(TOO_MANY_PAGES)
    except BrokerError as exc:
        logger.warning("%s: a socket was refused: %s", instance, exc)
        await line.close(NOT_READY)


async def _deny(websocket: WebSocket, status: int, text: str) -> None:
    await websocket.send_denial_response(PlainTextResponse(text, status))


async def _line_of(websocket: WebSocket, agreement: Agreement | None, service: WebService) -> Line:
    """Return what carries texts from here on; the page is told our public key first."""
    limit_bytes = service.settings.max_message_bytes
    if agreement is None:
        return Line(websocket, limit_bytes, service.clock)
    await websocket.send_text(wire.own(key=agreement.public))
    return SealedLine(websocket, agreement.keys, limit_bytes, service.clock)


class PageSocket:
    """One connected page."""

    def __init__(
        self, service: WebService, line: Line, instance: InstanceId, record: Record, page: str
    ) -> None:
        self.owner = record.owner
        self._service = service
        self._line = line
        self._instance = instance
        self._generation = record.generation
        self._page = page
        self._interactions = 0
        self._unanswered: set[int] = set()
        """The numbers of interactions that were submitted and not answered."""
        self._waiting = False
        self._owner_lives = True
        self._owner_changed = asyncio.Event()
        self.is_ours = True
        """Not so for htagweb 1.0's clients: they get no message that is not an action object."""

    async def run(self, after: int) -> None:
        """Send what was missed since action ``after``, then follow, until either side closes."""
        self._service.watchers.add(self)
        try:
            async with (
                self._service.broker.feeds.follow(self._instance, self._generation, after) as feed,
                asyncio.TaskGroup() as tasks,
            ):
                beside = (self._receive(), self._tell_owner(), self._line.watch())
                others = [tasks.create_task(each) for each in beside]
                await self._send_feed(feed)
                for task in others:
                    task.cancel()
            await self._line.close(NORMAL)
        except* TooLarge:
            limit = self._service.settings.max_message_bytes
            logger.warning("%s: a message over the limit of %d bytes", self._instance, limit)
            await self._line.close(TOO_LARGE)
        except* SealError as group:
            logger.warning("%s: a sealed socket was closed: %s", self._instance, group.exceptions[0])
            await self._line.close(BAD_SEAL)
        except* WebSocketDisconnect:
            logger.debug("%s: a page left", self._instance)
        except* FeedBroken as group:
            logger.info("%s: the page is rendered anew: %s", self._instance, group.exceptions[0])
            await self._line.close(GONE, wire.own(reload=True))
        except* (BrokerError, TimeoutError) as group:
            logger.warning("%s: a socket was closed: %s", self._instance, group.exceptions[0])
            await self._line.close(NOT_READY)
        finally:
            self._service.watchers.discard(self)

    # Out

    async def _send_feed(self, feed: Feed) -> None:
        for emission in await feed.missed():
            if await self._send_emission(emission):
                return
        await self._greet()
        interruptions = feed.interruptions
        while True:
            for emission in await feed.next():
                if await self._send_emission(emission):
                    return
            if interruptions != feed.interruptions:
                # What the broker had taken may be lost: whatever was not answered is sent again.
                interruptions = feed.interruptions
                await self._greet()

    async def _greet(self) -> None:
        """Have the page send what was not answered, and tell the app that it is looked at."""
        await self._send_own(ready=True)
        connect = Connect(self._generation)
        # Until it is taken: an app that nobody is known to look at would end after a while.
        while await submit(self._service, self._instance, connect, self._tell_waiting) == "busy":
            await self._service.clock.sleep(BUSY_RETRY_S)

    async def _send_emission(self, emission: Emission) -> bool:
        """Send it; return whether it was the generation's last."""
        action = emission.action
        if isinstance(action, Answered) and action.page == self._page:
            self._unanswered.discard(action.number)
        await self._line.send(wire.render(emission, self._page))
        return isinstance(action, Ended)

    async def _send_own(self, **extra: object) -> None:
        if self.is_ours:
            await self._line.send(wire.own(**extra))

    def note_owner(self, lives: bool) -> None:
        """Take note whether the supervisor that runs the app lives; the page is told of a change."""
        self._owner_lives = lives
        if lives == self._waiting:
            self._owner_changed.set()

    async def _tell_owner(self) -> None:
        while True:
            await self._owner_changed.wait()
            self._owner_changed.clear()
            await self._tell_waiting(not self._owner_lives)

    async def _tell_waiting(self, waiting: bool) -> None:
        self._waiting = waiting
        text = "The app does not answer just now. Waiting for it…" if waiting else ""
        await self._send_own(waiting=waiting, text=text)

    # In

    async def _receive(self) -> None:
        while True:
            text = await self._line.receive()
            try:
                await self._handle_message(wire.parse_message(text))
            except wire.WireError as exc:
                why = "what is wrong with it was told sealed" if self._line.is_sealed else exc
                logger.warning("%s: a message was refused: %s", self._instance, why)
                number = wire.number_in(text)
                await self._line.send(wire.refusal(f"The message was refused: {exc}", self._page, number))

    async def _handle_message(self, message: wire.FromPage) -> None:
        extra = message.htagweb or wire.Extra()
        if extra.ping is not None:
            return await self._line.send(wire.own(pong=extra.ping))
        self._interactions = number = extra.n or self._interactions + 1
        generation = extra.generation or self._generation
        after = max((each for each in self._unanswered if each < number), default=0)
        submission = Submission(self._page, number, generation, wire.call_of(message), after=after)
        self._unanswered.add(number)  # before: its answer may be here first
        answer = await submission.run(self._service, self._instance, self._tell_waiting)
        if answer is not None:
            self._unanswered.discard(number)
            await self._line.send(answer)
