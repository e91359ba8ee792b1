"""One instance that this supervisor owns: joins its inbox, its app process, its outbox and its life.

What arrives (inbox entries, frames, ticks, the process's end) is handled at
once and in order. What has to reach the broker goes through the publisher's
queue.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Sequence

import msgspec
from htagweb_broker import (
    Answered,
    Claimed,
    Connect,
    End,
    EndReason,
    Entry,
    FailureReply,
    InboxMessage,
    InstanceId,
    Interact,
    MessageError,
    Open,
    PageReply,
    SessionData,
    decode_inbox,
)

from htagweb.host import frames
from htagweb.host.frames import Frame, FromApp
from htagweb.logs import ContextLog, log_event
from htagweb.supervisor import life as lives
from htagweb.supervisor.launches import facts_of, is_same_app, times_of, why_no_page
from htagweb.supervisor.life import Command, Life, Phase
from htagweb.supervisor.process import DUMP_SIGNAL, AppProcess
from htagweb.supervisor.publisher import Publisher
from htagweb.supervisor.services import Services
from htagweb.supervisor.taken import TakenNumbers
from htagweb.supervisor.templates import LaunchError

logger = logging.getLogger(__name__)
output_logger = logging.getLogger("htagweb.app")

BUSY_PAGES = 4
"""So many pages of an app may wait for all that they can at once; how many there are is the pages' word."""
_NOTHING = msgspec.Raw(b"{}")
_encode = msgspec.json.Encoder().encode


class OwnedInstance:
    """The instance under one generation, from claim to release."""

    def __init__(
        self, services: Services, instance: InstanceId, generation: str, opened: Open, session: SessionData
    ) -> None:
        """Begin the life; ``run`` starts the process."""
        self.id = instance
        self.generation = generation
        self.pending_opens: list[Open] = []
        """Requests for a page that only the next generation can answer."""
        self._services = services
        self._opened = opened
        self.launch = opened.launch
        self._session = session
        extra = {"session": instance.session[:8], "app": instance.app, "generation": generation}
        self.log = ContextLog(logger, extra)
        self._output = ContextLog(output_logger, extra)
        self.life: Life = lives.begin(times_of(self.launch, services.never_connected_s), services.clock.now())
        self._publisher = Publisher(
            services.broker,
            instance,
            Claimed(generation, services.supervisor),
            session,
            facts=services.facts(),
            clock=services.clock,
            log=self.log,
            on_fenced=self._handle_fenced,
            on_pressure=self._handle_pressure,
        )
        self._process: AppProcess | None = None
        self._launching: asyncio.Task[None] | None = None
        self._started = False
        self._unsent: list[Frame] = []
        """Frames for an app that has not got its start yet."""
        self._requests: dict[str, str] = {}
        self._posts: dict[str, str] = {}
        self._taken = TakenNumbers()
        self._held: list[Entry] | None = None

    # Life

    async def run(self) -> None:
        """Start the app and serve it until its process is gone and the instance released."""
        self._take_open(self._opened)
        async with asyncio.TaskGroup() as tasks:
            self._launching = tasks.create_task(self._start())
            await self._publisher.run()

    async def _start(self) -> None:
        services, launch = self._services, self.launch
        began = services.clock.now()
        try:
            template = await services.templates.get(self.id.app, debug=launch.debug)
            child = await template.fork(str(self.id))
        except LaunchError as exc:
            self.log.warning("not started: %s%s", exc, f"\n{exc.detail}" if exc.detail else "")
            return self._fail_start(str(exc), exc.detail)
        self._process = AppProcess(child.pid, child.pidfd, self, self.log)
        await self._process.attach(child.ends)
        session = {key: msgspec.Raw(value) for key, value in self._session.values.items()}
        self._process.send(
            frames.Start(
                self.id.app,
                launch.args,
                launch.kargs,
                session,
                launch.debug,
                self._opened.request,
                launch.http_only,
            )
        )
        self._started = True
        for frame in self._unsent:
            self._process.send(frame)
        self._unsent.clear()
        self._publisher.renew({"pid": str(child.pid), **facts_of(self.launch)})
        fork_ms = (services.clock.now() - began) * 1000
        text = "started, pid %(pid)d, forked in %(fork_ms).1f ms"
        log_event(self.log, "app_started", text, pid=child.pid, fork_ms=fork_ms)

    def _fail_start(self, error: str, detail: str) -> None:
        self._refuse_requests("refused", error, detail)
        self._apply(lives.EndWanted("refused"))

    def _apply(self, event: lives.Event) -> None:
        self.life, commands = lives.step(self.life, event, self._services.clock.now())
        for command in commands:
            self._do(command)

    def _do(self, command: Command) -> None:
        if command is Command.RELEASE:
            self._release()
        elif self._process is None:
            # Nothing was forked yet, or nothing could be.
            if self._launching is not None:
                self._launching.cancel()
            self._apply(lives.ProcessGone())
        elif command is Command.ASK:
            self._send(frames.End())
        elif command is Command.DUMP:
            limit = self.life.times.interaction_s
            self.log.error("no answer within %g s, its stack follows, then it is ended", limit)
            self._process.signal(DUMP_SIGNAL)
        elif command is Command.TERMINATE:
            self._process.signal(signal.SIGTERM)
        elif command is Command.KILL:
            log_event(self.log, "app_killed", "it did not end when told to, killed", logging.WARNING)
            self._process.signal(signal.SIGKILL)

    def _release(self) -> None:
        reason = self.life.reason or "crashed"
        age_s = self._services.clock.now() - self.life.born
        text = "ended: %(reason)s, after %(age_s).1f s"
        log_event(self.log, "app_ended", text, reason=reason, age_s=age_s)
        self._refuse_requests(reason, why_no_page(reason, self.life.times.interaction_s), "")
        self._publisher.release(reason)

    def _refuse_requests(self, reason: EndReason, error: str, detail: str) -> None:
        for request, worker in self._requests.items():
            shown = detail if self.launch.debug else ""
            self._publisher.reply(request, worker, FailureReply(reason, error, shown))
        self._requests.clear()

    def end(self, reason: EndReason) -> None:
        """End the app, politely first."""
        self._apply(lives.EndWanted(reason))

    def abort(self) -> None:
        """Kill the process without a word: something is wrong with this supervisor's part of it."""
        if self._process is not None:
            self._process.signal(signal.SIGKILL)

    def tick(self, now: float) -> None:
        """Let time pass: ends what is late, or idle."""
        if now >= lives.next_deadline(self.life):
            self._apply(lives.Tick())

    def begin_inbox(self, taken: str, opens: Sequence[Open]) -> None:
        """Take what waited in the inbox before ``run``: the last request decides how the app runs."""
        self._publisher.taken = taken
        for message in opens:
            if is_same_app(message.launch, self.launch):
                self._take_open(message)
                self._send(frames.Render(message.request, message.launch.http_only))
            else:
                refusal = FailureReply("replaced", why_no_page("replaced", 0))
                self._publisher.reply(message.request, message.worker, refusal)

    def renew(self) -> None:
        """Keep the broker's record of the instance from expiring."""
        self._publisher.renew({})

    @property
    def pid(self) -> int | None:
        """The app's process id, None before it was forked."""
        return self._process.pid if self._process is not None else None

    @property
    def is_busy(self) -> bool:
        """Whether someone waits for an answer."""
        return bool(self.life.deadlines)

    def _handle_fenced(self) -> None:
        if not self.life.is_ending:
            self.log.error("another generation owns the instance, this one ends")
            self._apply(lives.EndWanted("lost"))

    def _handle_pressure(self, high: bool) -> None:
        if self._process is None:
            return
        if high:
            self._process.pause()
        else:
            self._process.resume()

    # The inbox

    def handle_entries(self, entries: Sequence[Entry]) -> None:
        """Take what the inbox brought."""
        for position, entry in enumerate(entries):
            if self._held is not None:
                self._held.extend(entries[position:])
                return
            if entry.session_version != self._publisher.session_version and not self.life.is_ending:
                self._held = list(entries[position:])
                self._publisher.load_session(self._handle_session)
                return
            self._handle_entry(entry)

    def _handle_session(self, data: SessionData, saves: int) -> None:
        values = {key: msgspec.Raw(value) for key, value in data.values.items()}
        self._send(frames.SessionData(values, saves))
        held, self._held = self._held or [], None
        if held:
            # Its version may be older than what was read; it is not asked for a second time.
            self._handle_entry(held[0])
            self.handle_entries(held[1:])

    def _handle_entry(self, entry: Entry) -> None:
        self._handle_message(entry)
        if not self.pending_opens:  # those stay in the inbox for the next generation, wherever that runs
            self._publisher.taken = entry.id

    def _handle_message(self, entry: Entry) -> None:
        try:
            message: InboxMessage = decode_inbox(entry.body)
        except MessageError as exc:
            self.log.warning("dropped from the inbox: %s", exc)
            return self._publisher.settle(entry.id)
        match message:
            case Open():
                return self._handle_open(message)
            case Connect(generation) if generation == self.generation:
                self._apply(lives.Connected())
            case End(generation, reason) if generation == self.generation:
                log_event(self.log, "app_end_ordered", "told to end: %(reason)s", reason=reason)
                self.end(reason)
            # Not while ending (its page is told that), and not twice.
            case Interact(generation) if (
                generation == self.generation and not self.life.is_ending and self._taken.is_new(message)
            ):
                return self._handle_interaction(message)
        self._publisher.settle(entry.id)

    def _handle_open(self, message: Open) -> None:
        if self.life.is_ending:
            self.pending_opens.append(message)
        elif not is_same_app(message.launch, self.launch):
            self.pending_opens.append(message)
            self.end("replaced")
        else:
            if message.launch.parano != self.launch.parano:
                self._publisher.renew(facts_of(message.launch))
            self.launch = message.launch
            self.life = self.life.with_times(times_of(message.launch, self._services.never_connected_s))
            self._take_open(message)
            self._send(frames.Render(message.request, message.launch.http_only))

    def _take_open(self, message: Open) -> None:
        self._requests[message.request] = message.worker
        self._apply(lives.Taken(_open_work(message.request)))

    def _handle_interaction(self, message: Interact) -> None:
        self._taken.take(message)
        self._apply(lives.Connected())
        if self._is_too_busy(message.page):
            text = f"Too many interactions wait for an answer (the limit is {self._services.max_in_flight})."
            return self._answer_error(message.page, message.number, text, message.worker)
        if message.worker:
            self._posts[_interact_work(message.page, message.number)] = message.worker
        self._apply(lives.Taken(_interact_work(message.page, message.number)))
        self._send(frames.Interact(message.page, message.number, message.call))

    def _is_too_busy(self, page: str) -> bool:
        most, in_flight = self._services.max_in_flight, self.life.deadlines
        if len(in_flight) >= most * BUSY_PAGES:
            return True
        prefix = _interact_work(page, 0)[:-1]
        return sum(work.startswith(prefix) for work in in_flight) >= most

    def _answer_error(self, page: str, number: int, text: str, worker: str) -> None:
        scripts = msgspec.Raw(_encode({"err": text}))
        self._publisher.answer(Answered(page, number, _NOTHING, scripts), worker)

    def _send(self, frame: Frame) -> None:
        if self._process is None or not self._started:
            self._unsent.append(frame)
        else:
            self._process.send(frame)

    # The process

    def handle_frame(self, frame: FromApp) -> None:
        """Take a frame of the app."""
        changes: frames.Changes | None = getattr(frame, "changes", None)
        match frame:
            case frames.Answer(page, number, dom, scripts):
                work = _interact_work(page, number)
                self._apply(lives.Done(work))
                worker = self._posts.pop(work, "")
                try:
                    self._publisher.answer(Answered(page, number, dom, scripts), worker, changes)
                except MessageError as exc:
                    self._answer_error(page, number, f"The answer is too large: {exc}.", worker)
            case frames.Update(update_id, dom, scripts):
                self._handle_update(update_id, dom, scripts, changes)
            case frames.Page(request, html):
                self._handle_page(request, html, changes)
            case frames.Failed(request, error, traceback):
                self.log.warning("not started: %s\n%s", error, traceback)
                self._fail_start(error, traceback)
            case frames.Exit():
                self._publisher.save(changes)
                self.end("exit")
            case frames.Save():
                self._publisher.save(changes)

    def _handle_update(
        self, update_id: int, dom: msgspec.Raw, scripts: msgspec.Raw, changes: frames.Changes | None
    ) -> None:
        def tell(delivered: bool) -> None:
            self._send(frames.Updated(update_id, delivered))

        try:
            self._publisher.update(dom, scripts, changes or {}, tell)
        except MessageError as exc:
            self.log.error("an update was dropped: %s", exc)
            tell(False)

    def _handle_page(self, request: str, html: str, changes: frames.Changes | None) -> None:
        if self.life.phase is Phase.STARTING:
            ready_ms = (self._services.clock.now() - self.life.born) * 1000
            log_event(self.log, "app_ready", "ready after %(ready_ms).1f ms", ready_ms=ready_ms)
        self._apply(lives.Started())
        self._apply(lives.Done(_open_work(request)))
        worker = self._requests.pop(request, None)
        if worker is not None:
            self._publisher.reply(request, worker, PageReply(self.generation, html), changes)
        else:
            self._publisher.save(changes)

    def handle_output(self, line: str) -> None:
        """Log a line that the app printed."""
        self._output.info("%s", line)

    def handle_gone(self, status: str) -> None:
        """Take note that the process ended."""
        if not self.life.is_ending:
            self.log.error("its process ended by itself: %s", status)
        self._apply(lives.ProcessGone())


def _open_work(request: str) -> str:
    return f"open {request}"


def _interact_work(page: str, number: int) -> str:
    return f"{page} {number}"
