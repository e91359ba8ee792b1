"""The supervisor's own life: heartbeat, take-over of the dead, timers, reaping, drain."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import random
import secrets
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress

from htagweb_broker import Absence, Beat, BrokerError, Clock, SupervisorBroker, limits

from htagweb.host.process import become_subreaper
from htagweb.logs import log_event
from htagweb.settings import Settings
from htagweb.supervisor import whereabouts
from htagweb.supervisor.allowance import Allowance
from htagweb.supervisor.handover import Handover, HandoverError
from htagweb.supervisor.meter import Meter
from htagweb.supervisor.placement import Placement
from htagweb.supervisor.restart import LAST_STARTS_S, Restart
from htagweb.supervisor.services import Services
from htagweb.supervisor.sources import SourceWatcher
from htagweb.supervisor.standing import Standing
from htagweb.supervisor.templates import Template, Templates
from htagweb.version import __version__

logger = logging.getLogger(__name__)

TICK_S = 0.1
REAP_S = 1.0
MEASURE_S = 1.0
MISSED_S = 0.2
DRAIN_BATCH = 4
DRAIN_SPREAD = 0.5
"""Apps end a few at a time, over at most this part of the drain's time: their pages go elsewhere, and all
at once would be a crowd there."""
ENDING_S = 5.0
"""After the drain, the longest wait for app processes to end."""


class Supervisor:
    """One incarnation of the daemon."""

    def __init__(
        self, settings: Settings, app_dirs: Sequence[str], clock: Clock, handed: Handover | None = None
    ) -> None:
        """``handed``: it takes the place of the one that this process was until now."""
        self._settings = settings
        self._clock = clock
        self._handed = handed
        self.id = handed.supervisor if handed else f"{settings.name}-{os.getpid()}-{secrets.token_hex(4)}"
        self._allowance = Allowance.of(settings)
        self._meter = Meter(self._allowance)
        self._templates = Templates(app_dirs, self._allowance)
        self._broker = SupervisorBroker(
            settings.redis_url,
            settings.namespace,
            self.id,
            clock,
            lambda instance, entries: self.placement.deliver(instance, entries),  # noqa: PLW0108
            session_ttl_s=settings.session_ttl_s,
        )
        services = Services(
            self._broker,
            self._templates,
            clock,
            settings.max_in_flight,
            settings.never_connected_s,
            supervisor=self.id,
            host=socket.gethostname(),
            meter=self._meter,
        )
        self.standing = Standing(self._broker.presence, self.id, self._describe, self._beat)
        interval_s = settings.beat_interval_s
        self.placement = Placement(services, settings.max_apps, self._is_dead, self.standing, interval_s)
        self._place, self._started = whereabouts.place(), whereabouts.started(os.getpid())
        # After an outage of the broker nobody's heartbeat counts, and each needs the time to come back.
        self._settle_beats = math.ceil(settings.dead_after_s / interval_s)
        self._sources = SourceWatcher(self._templates.watched, self._handle_change, clock)
        self._good_beats = 0
        self._was_dead = False
        self._connections = 0
        self._absence = Absence(logger, "heartbeat (apps keep running)", clock)
        self._dead: frozenset[str] = frozenset()
        self._beaten = asyncio.Event()
        self._stopping = asyncio.Event()
        self._restart_wanted = asyncio.Event()
        self._is_restarting = False
        self._tasks: asyncio.TaskGroup
        self._reading: asyncio.Task[None]

    async def run(self, on_ready: Callable[[], None]) -> None:
        """Serve until ``stop`` is called, then drain; ``on_ready`` is called when apps can be served.

        BrokerError when the broker cannot be used at the start; later outages are waited for,
        also by one that was handed apps: it must not lose them.
        """
        become_subreaper()
        try:
            if self._handed is None:
                await self._broker.ping()
                await self._broker.spawns.create_group()
                await self._beat()
            async with asyncio.TaskGroup() as self._tasks:
                tasks = self._tasks
                self._begin_to_read()
                background = [
                    tasks.create_task(self._keep_beating()),
                    tasks.create_task(self._keep_looking()),
                    tasks.create_task(self._keep_ticking()),
                    tasks.create_task(self._keep_reaping()),
                    tasks.create_task(self._keep_measuring()),
                    tasks.create_task(self._keep_renewing()),
                    tasks.create_task(self._sources.run()),
                    tasks.create_task(self._keep_restarting()),
                ]
                placing = tasks.create_task(
                    self.placement.run(self._handed.instances if self._handed else ())
                )
                self._handed = None  # it may be large
                on_ready()
                await self._stopping.wait()
                await self._drain(placing)
                for task in background:
                    task.cancel()
                await asyncio.wait(background)
                self._reading.cancel()  # last: a restart that was given up may have begun to read again
            await self._leave()
        finally:
            self._templates.stop()
            self._broker.close()

    def divide(self) -> None:
        """Take cgroups for the apps where that is allowed, and say in the log how apps are limited."""
        kept_by = self._meter.begin()
        text = "an app may take %(allowance)s; kept by %(kept_by)s"
        log_event(logger, "apps_limited", text, allowance=str(self._allowance), kept_by=kept_by)

    def stop(self) -> None:
        """Begin to drain."""
        self._stopping.set()

    def restart(self) -> None:
        """Begin to hand all apps to the installed version of this program; a drain goes first."""
        self._restart_wanted.set()

    # Heartbeat and the dead

    def _describe(self) -> Beat:
        return Beat(
            name=self._settings.name,
            host=socket.gethostname(),
            pid=os.getpid(),
            version=__version__,
            capacity=self._settings.max_apps,
            load=self.placement.load,
            draining=self._stopping.is_set(),
            cpu=whereabouts.cpu(),
            place=self._place,
            started=self._started,
        )

    async def _beat(self) -> None:
        dead_after_s = self._settings.dead_after_s
        heard = await self._broker.presence.beat(self.id, self._describe(), dead_after_s)
        self._was_dead |= heard.was_dead
        if heard.is_to_drain and not self._stopping.is_set():
            logger.info("told to drain by an operator")
            self.stop()

    async def _keep_beating(self) -> None:
        """Say that this one lives.

        A failed beat is not fatal: ownership is only lost when another
        supervisor takes it over, and then the next emission is refused.
        """
        while True:
            # After a missed one at once, when the broker is back: pages come back with it.
            await self._clock.sleep(self._settings.beat_interval_s if self._good_beats else MISSED_S)
            try:
                await self._beat()
                if not self._good_beats or self._was_dead or self._connections != self._broker.connections:
                    await self._come_back()
                self._good_beats += 1
                self._absence.ends()
                self._beaten.set()
            except BrokerError as exc:
                self._good_beats = 0
                self._absence.begins(exc)
            except Exception:
                logger.exception("an unexpected error, heartbeats and apps go on")

    async def _keep_looking(self) -> None:
        """Look after the dead, with each heartbeat, which does not wait for that.

        To end a thousand apps over a slow connection takes longer than a heartbeat counts.
        """
        while True:
            await self._beaten.wait()
            try:
                await self._look_after_the_dead()
            except BrokerError as exc:
                self._good_beats = 0
                self._absence.begins(exc)
            except Exception:
                logger.exception("an unexpected error, the dead are looked after again")
            self._beaten.clear()

    async def _come_back(self) -> None:
        """Find out what is still its own; who took it over may have forgotten what it owns.

        So after every new connection: its server may have lost its last writes.
        """
        self._connections = self._broker.connections
        if self.placement.instances:
            await self._broker.presence.note_owned(self.id, *self.placement.instances)
        self._assert_all()
        await self.placement.disown()
        self._was_dead = False

    def _assert_all(self) -> None:
        """Write to every record: while this one was away, another supervisor may have ended its apps, or
        the server have lost them."""
        for instance in list(self.placement.instances.values()):
            instance.renew()

    async def _is_dead(self, supervisor: str) -> bool:
        is_settled = self._good_beats >= self._settle_beats
        return is_settled and not await self._broker.presence.lives(supervisor)

    async def _look_after_the_dead(self) -> None:
        supervisors = await self._broker.presence.supervisors()
        self.standing.note(supervisors)
        living = supervisors.living.items()
        dead = {name for name, beat in living if whereabouts.is_gone(beat, self._place)}
        if self._good_beats >= self._settle_beats:
            await self.placement.take_abandoned()
            # Two looks in a row: who was only late has beaten again meanwhile.
            before, self._dead = self._dead, supervisors.dead
            dead |= before & self._dead
        for supervisor in dead:
            await self._take_over(supervisor)

    async def _take_over(self, dead: str) -> None:
        await self._broker.spawns.leave(dead)
        count = await self.placement.take_over(dead)
        text = "supervisor %(supervisor)s is dead, %(apps)d of its apps were ended; their pages come back"
        log_event(logger, "taken_over", text, logging.WARNING, supervisor=dead, apps=count)

    # Timers

    async def _keep_ticking(self) -> None:
        while True:
            await self._clock.sleep(TICK_S)
            self.placement.tick(self._clock.now())

    async def _keep_measuring(self) -> None:
        """End the apps that take more than they may."""
        while True:
            await self._clock.sleep(MEASURE_S)
            try:
                found = await self._meter.exceeded(self.placement.pids, self._clock.now())
            except Exception:
                logger.exception("an unexpected error, apps are not measured for now and go on")
                continue
            for instance in list(self.placement.instances.values()):
                if instance.pid in found and not instance.is_ending:
                    reason, detail = found[instance.pid]
                    instance.log.warning("it takes %s", detail)
                    instance.end(reason)

    async def _keep_renewing(self) -> None:
        while True:
            await self._clock.sleep(limits.INSTANCE_RENEW_S)
            self._assert_all()

    async def _keep_reaping(self) -> None:
        """Reap what apps started and left behind: as subreaper, this process inherits it."""
        while True:
            await self._clock.sleep(REAP_S)
            self._templates.reap()
            if not self._is_restarting:  # the installed version is being tried, by a child
                reap_strangers(self._templates.pids | self.placement.pids)

    # Development

    def _handle_change(self, template: Template) -> None:
        """Have the app's pages come back with its new source, those that are developed."""
        for instance in list(self.placement.instances.values()):
            if instance.id.app == template.app and instance.launch.debug:
                instance.end("changed")
        self._templates.discard(template)  # after those: one that waits for its fork is not to fail

    # Restart in place

    async def _keep_restarting(self) -> None:
        """Restart whenever it is wanted. It succeeds by never coming back; else everything goes on."""
        while True:
            await self._restart_wanted.wait()
            self._restart_wanted.clear()  # first: what is wanted during a try is one more
            self._is_restarting = True
            try:
                await self._restart_in_place()
            except HandoverError as exc:
                logger.error("not restarted, goes on as it is: %s", exc)
            except Exception:
                logger.exception("not restarted, goes on as it is: an unexpected error")
            self._is_restarting = False

    async def _restart_in_place(self) -> None:
        restart = Restart(self.id, self.placement, self._templates, self._broker.inboxes, self._clock)
        await restart.check()
        await restart.wait_for_starts()
        async with self.placement.paused():
            await restart.wait_for_starts(LAST_STARTS_S)
            with suppress(BrokerError):
                await self._beat()  # the next one is the successor's
            self._reading.cancel()
            await asyncio.wait([self._reading])
            try:
                await restart.run(self._stopping.is_set)
            except Exception:  # when cancelled, everything ends: nobody would end a reader that began then
                self._begin_to_read()
                raise
            self._begin_to_read()

    def _begin_to_read(self) -> None:
        self._reading = self._tasks.create_task(self._broker.inboxes.run())

    # The end

    async def _drain(self, placing: asyncio.Task[None]) -> None:
        """Stop intake, let interactions finish, end the apps."""
        # 1. No new instances, here or for anyone who reads the heartbeat.
        text, apps = "draining: %(apps)d apps", self.placement.load
        log_event(logger, "supervisor_draining", text, supervisor=self.id, apps=apps)
        self.placement.drain()
        # 2. Each app ends when nobody waits for its answer, or when the time is over.
        deadline = self._clock.now() + self._settings.drain_s
        least = max(DRAIN_BATCH, math.ceil(apps * TICK_S / (self._settings.drain_s * DRAIN_SPREAD or TICK_S)))
        while self.placement.instances and self._clock.now() < deadline:
            idle = [one for one in self.placement.instances.values() if not (one.is_ending or one.is_busy)]
            for owned in idle[: random.randint(least, 2 * least)]:
                owned.end("drained")
            await self._clock.sleep(TICK_S)
        for owned in list(self.placement.instances.values()):
            owned.end("drained")
        # 3. Their last words reach the broker while the heartbeat still says that they are ours.
        await asyncio.wait([placing], timeout=ENDING_S)
        if not placing.done():
            logger.error("%d apps did not end in time, left to the kernel", self.placement.load)
            placing.cancel()

    async def _leave(self) -> None:
        try:
            await self._broker.spawns.leave(self.id)
            # What it could not end, or claimed just now: nobody looks for the instances of who is forgotten.
            await self.placement.take_over(self.id)
        except BrokerError as exc:
            logger.warning("left without a word to the broker: %s", exc)


def reap_strangers(own: set[int]) -> None:
    """Reap dead children that nobody waits for: none of ``own``, the templates and app processes."""
    while True:
        try:
            dead = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if dead is None or dead.si_pid in own:
            return
        try:
            os.waitid(os.P_PID, dead.si_pid, os.WEXITED | os.WNOHANG)
        except ChildProcessError:
            return
