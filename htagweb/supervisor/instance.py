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
    SessionData,
)

from htagweb.host import frames
from htagweb.host.frames import Frame, FromApp
from htagweb.logs import ContextLog, log_event
from htagweb.supervisor import life as lives
from htagweb.supervisor.asked import Asked, interact_work, is_too_busy, open_work
from htagweb.supervisor.handover import InstanceState, ProcessState
from htagweb.supervisor.intake import Intake
from htagweb.supervisor.launches import facts_of, is_same_app, times_of, why_dumped, why_no_page
from htagweb.supervisor.life import Command, Life, Phase
from htagweb.supervisor.process import DUMP_SIGNAL, AppProcess, Ends
from htagweb.supervisor.publisher import Publisher
from htagweb.supervisor.services import Services
from htagweb.supervisor.templates import LaunchError

logger = logging.getLogger(__name__)
output_logger = logging.getLogger("htagweb.app")


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
        self._due = lives.Due()
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
        self._asked = Asked(self._publisher, generation)
        self._intake = Intake(self, self._publisher, self.log)
        self._handed: ProcessState | None = None

    # Life

    async def run(self) -> None:
        """Start the app and serve it until its process is gone and the instance released."""
        if self._handed is None:
            self._take_open(self._opened)
        async with asyncio.TaskGroup() as tasks:
            self._launching = tasks.create_task(self._start() if self._handed is None else self._attach())
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
        services.meter.enter(child.pid)
        await self._process.attach(child.ends)
        session = {key: msgspec.Raw(value) for key, value in self._session.values.items()}
        app, request = self.id.app, self._opened.request
        self._process.send(
            frames.Start(app, launch.args, launch.kargs, session, launch.debug, request, launch.http_only)
        )
        self._send_waiting()
        self._publisher.renew({"pid": str(child.pid), **facts_of(self.launch)})
        fork_ms = (services.clock.now() - began) * 1000
        text = "started, pid %(pid)d, forked in %(fork_ms).1f ms"
        log_event(self.log, "app_started", text, pid=child.pid, fork_ms=fork_ms)

    def _send_waiting(self) -> None:
        assert self._process is not None
        self._started = True
        for frame in self._unsent:
            self._process.send(frame)
        self._unsent.clear()

    def _fail_start(self, error: str, detail: str) -> None:
        self._asked.refuse_pages("refused", error, detail if self.launch.debug else "")
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
            self.log.error("%s, its stack follows, then it is ended", why_dumped(self.life))
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
        self._asked.refuse_pages(reason, why_no_page(reason, self.life.times.interaction_s), "")
        self._publisher.release(reason)

    def end(self, reason: EndReason) -> None:
        """End the app, politely first."""
        self._apply(lives.EndWanted(reason))

    def abort(self) -> None:
        """Kill the process without a word: something is wrong with this supervisor's part of it."""
        if self._process is not None:
            self._process.signal(signal.SIGKILL)

    def tick(self, now: float) -> None:
        """Let time pass: ends what is late, or idle."""
        if self._due.is_reached(self.life, now):
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
        """Keep the broker's record of the instance from expiring, and as far as the app is."""
        self._publisher.confirm()

    @property
    def pid(self) -> int | None:
        """The app's process id, None before it was forked."""
        return self._process.pid if self._process is not None else None

    @property
    def taken(self) -> str:
        """The last inbox entry that was dealt with; one before all where that is not known (any more)."""
        return self._publisher.taken or "0-0"

    @property
    def is_ending(self) -> bool:
        """Whether its end was decided."""
        return self.life.is_ending

    @property
    def is_busy(self) -> bool:
        """Whether someone waits for an answer."""
        return bool(self.life.deadlines)

    def _handle_fenced(self) -> None:
        if not self.is_ending:
            self.log.error("another generation owns the instance, this one ends")
            self._apply(lives.EndWanted("lost"))

    def _handle_pressure(self, high: bool) -> None:
        if self._process is None:
            return
        if high:
            self._process.pause()
        else:
            self._process.resume()

    # Restart in place

    def hold(self) -> None:
        """Take nothing more of the app, until ``let_go``."""
        if self._process is not None:
            self._process.hold()

    def let_go(self) -> None:
        """Go on."""
        if self._process is not None:
            self._process.let_go()

    @property
    def is_running(self) -> bool:
        """Whether its app's process was started."""
        return self._process is not None and self._started

    @property
    def is_portable(self) -> bool:
        """Whether a held instance can be handed over now: its app runs, and nothing is under way."""
        if self._process is None or not self._started or not self._process.is_quiet:
            return False
        return self._publisher.is_idle and not self._intake.is_held

    def dump(self, position: str) -> InstanceState:
        """Return what a successor has to know; ``position`` is the last inbox entry that was read."""
        assert self._process is not None
        return InstanceState(
            instance=self.id.dump(),
            generation=self.generation,
            launch=self.launch,
            life=self.life,
            pending_opens=self.pending_opens,
            asked=self._asked.dump(),
            position=position,
            publisher=self._publisher.dump(),
            process=self._process.dump(),
            cpu=self._services.meter.dump(self._process.pid),
        )

    @classmethod
    def resumed(cls, services: Services, state: InstanceState) -> OwnedInstance:
        """Return the instance that another program handed over; ``run`` goes on with it."""
        session = SessionData({}, state.publisher.session_version)
        opened = Open("", "", state.launch)
        owned = cls(services, InstanceId.load(state.instance), state.generation, opened, session)
        owned.life = state.life
        owned.pending_opens = list(state.pending_opens)
        owned._asked.resume(state.asked)
        owned._publisher.resume(state.publisher)
        owned._handed = state.process
        owned._process = AppProcess(state.process.pid, state.process.pidfd, owned, owned.log)
        services.meter.resume(state.process.pid, state.cpu)
        return owned

    async def _attach(self) -> None:
        assert self._process is not None and self._handed is not None
        await self._process.attach(Ends.handed(self._handed))
        self._send_waiting()

    # The inbox

    def handle_entries(self, entries: Sequence[Entry]) -> None:
        """Take what the inbox brought."""
        self._intake.take(entries)

    def handle_session(self, data: SessionData, saves: int) -> None:
        """Tell the app what the session is now."""
        values = {key: msgspec.Raw(value) for key, value in data.values.items()}
        self._send(frames.SessionData(values, saves))

    def handle_message(self, message: InboxMessage) -> bool:
        """Take a message; return whether an action or a reply will take its entry out of the inbox."""
        match message:
            case Open():
                self._handle_open(message)
                return True
            case Connect(generation) if generation == self.generation:
                self._apply(lives.Connected())
            case End(generation, reason) if generation == self.generation:
                log_event(self.log, "app_end_ordered", "told to end: %(reason)s", reason=reason)
                self.end(reason)
            # Not while ending: its page is told that.
            case Interact(generation) if generation == self.generation and not self.is_ending:
                if self._asked.is_to_run(message, self.life.deadlines):
                    self._handle_interaction(message)
                    return True
        return False

    def _handle_open(self, message: Open) -> None:
        if self.is_ending:
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
        self._apply(lives.Taken(self._asked.open(message)))

    def _handle_interaction(self, message: Interact) -> None:
        self._asked.taken.take(message)
        self._apply(lives.Connected())
        most = self._services.max_in_flight
        if is_too_busy(self.life.deadlines, message.page, most):
            text = f"Too many interactions wait for an answer (the limit is {most})."
            return self._asked.refuse(message, text)
        self._apply(lives.Taken(self._asked.interact(message)))
        self._send(frames.Interact(message.page, message.number, message.call))

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
            case frames.Answer(page, number):
                self._apply(lives.Done(interact_work(page, number)))
                self._asked.answer(frame, changes)
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
        self._apply(lives.Done(open_work(request)))
        self._asked.show(request, html, changes)

    def handle_output(self, line: str) -> None:
        """Log a line that the app printed."""
        self._output.info("%s", line)

    def handle_gone(self, status: str) -> None:
        """Take note that the process ended."""
        if not self.is_ending:
            self.log.error("its process ended by itself: %s", status)
        self._apply(lives.ProcessGone(self._services.meter.leave(self.pid)))
