"""The supervisor's own life: heartbeat, take-over of the dead, timers, reaping, drain."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
from collections.abc import Callable, Sequence

from htagweb_broker import Absence, Beat, BrokerError, Clock, SupervisorBroker, limits

from htagweb.host.process import become_subreaper
from htagweb.logs import log_event
from htagweb.settings import Settings
from htagweb.supervisor.placement import Placement
from htagweb.supervisor.services import Services
from htagweb.supervisor.sources import SourceWatcher
from htagweb.supervisor.templates import Template, Templates
from htagweb.version import __version__

logger = logging.getLogger(__name__)

TICK_S = 0.1
REAP_S = 1.0
SETTLE_BEATS = 2
"""Heartbeats that must have worked before anyone is called dead: after an outage of the broker
every supervisor's heartbeat is missing, and each needs the time to come back."""
ENDING_S = 5.0
"""After the drain, the longest wait for app processes to end."""


class Supervisor:
    """One incarnation of the daemon."""

    def __init__(self, settings: Settings, app_dirs: Sequence[str], clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self.id = f"{settings.name}-{os.getpid()}-{secrets.token_hex(4)}"
        self._templates = Templates(app_dirs)
        self._broker = SupervisorBroker(
            settings.redis_url,
            settings.namespace,
            clock,
            lambda instance, entries: self.placement.deliver(instance, entries),  # noqa: PLW0108
            settings.session_ttl_s,
        )
        services = Services(
            self._broker,
            self._templates,
            clock,
            settings.max_in_flight,
            settings.never_connected_s,
            supervisor=self.id,
            host=socket.gethostname(),
        )
        self.placement = Placement(services, settings.max_apps, self._is_dead)
        self._sources = SourceWatcher(self._templates.watched, self._handle_change, clock)
        self._good_beats = 0
        self._absence = Absence(logger, "heartbeat (apps keep running)", clock)
        self._dead: frozenset[str] = frozenset()
        self._stopping = asyncio.Event()

    async def run(self, on_ready: Callable[[], None]) -> None:
        """Serve until ``stop`` is called, then drain; ``on_ready`` is called when apps can be served.

        BrokerError when the broker cannot be used at the start; later outages are waited for.
        """
        become_subreaper()
        try:
            await self._broker.ping()
            await self._broker.spawns.create_group()
            await self._beat()
            async with asyncio.TaskGroup() as tasks:
                background = [
                    tasks.create_task(self._broker.readers.run()),
                    tasks.create_task(self._keep_beating()),
                    tasks.create_task(self._keep_ticking()),
                    tasks.create_task(self._keep_reaping()),
                    tasks.create_task(self._keep_renewing()),
                    tasks.create_task(self._sources.run()),
                ]
                placing = tasks.create_task(self.placement.run())
                on_ready()
                await self._stopping.wait()
                await self._drain(placing)
                for task in background:
                    task.cancel()
            await self._leave()
        finally:
            self._templates.stop()
            self._broker.close()

    def stop(self) -> None:
        """Begin to drain."""
        self._stopping.set()

    # Heartbeat and the dead

    async def _beat(self) -> None:
        is_to_drain = await self._broker.presence.beat(
            self.id,
            Beat(
                name=self._settings.name,
                host=socket.gethostname(),
                pid=os.getpid(),
                version=__version__,
                capacity=self._settings.max_apps,
                load=self.placement.load,
                draining=self._stopping.is_set(),
            ),
        )
        if is_to_drain and not self._stopping.is_set():
            logger.info("told to drain by an operator")
            self.stop()

    async def _keep_beating(self) -> None:
        """Beat, and look after the dead.

        A failed beat is not fatal: ownership is only lost when another
        supervisor takes it over, and then the next emission is refused.
        """
        last = self._clock.now()
        while True:
            await self._clock.sleep(limits.BEAT_INTERVAL_S)
            try:
                await self._beat()
                if not self._good_beats or self._clock.now() - last > limits.BEAT_TTL_MS / 1000:
                    self._assert_all()
                last = self._clock.now()
                self._good_beats += 1
                self._absence.ends()
                await self._look_after_the_dead()
            except BrokerError as exc:
                self._good_beats = 0
                self._absence.begins(exc)
            except Exception:
                logger.exception("an unexpected error, heartbeats and apps go on")

    def _assert_all(self) -> None:
        """Write to every record: while this one was away, another supervisor may have ended its apps, or
        the server have lost them."""
        for instance in list(self.placement.instances.values()):
            instance.renew()

    async def _is_dead(self, supervisor: str) -> bool:
        return self._good_beats >= SETTLE_BEATS and not await self._broker.presence.lives(supervisor)

    async def _look_after_the_dead(self) -> None:
        if self._good_beats < SETTLE_BEATS:
            return
        before, self._dead = self._dead, (await self._broker.presence.supervisors()).dead
        await self.placement.take_abandoned()
        # Two looks in a row: who was only late has beaten again meanwhile.
        for dead in before & self._dead:
            await self._broker.spawns.leave(dead)
            count = await self.placement.take_over(dead)
            text = "supervisor %(supervisor)s is dead, %(apps)d of its apps were ended; their pages come back"
            log_event(logger, "taken_over", text, logging.WARNING, supervisor=dead, apps=count)

    # Timers

    async def _keep_ticking(self) -> None:
        while True:
            await self._clock.sleep(TICK_S)
            self.placement.tick(self._clock.now())

    async def _keep_renewing(self) -> None:
        while True:
            await self._clock.sleep(limits.INSTANCE_RENEW_S)
            self._assert_all()

    async def _keep_reaping(self) -> None:
        """Reap what apps started and left behind: as subreaper, this process inherits it."""
        while True:
            await self._clock.sleep(REAP_S)
            self._templates.reap()
            reap_strangers(self._templates.pids | self.placement.pids)

    # Development

    def _handle_change(self, template: Template) -> None:
        """Have the app's pages come back with its new source, those that are developed."""
        for instance in list(self.placement.instances.values()):
            if instance.id.app == template.app and instance.launch.debug:
                instance.end("changed")
        self._templates.discard(template)  # after those: one that waits for its fork is not to fail

    # The end

    async def _drain(self, placing: asyncio.Task[None]) -> None:
        """Stop intake, let interactions finish, end the apps."""
        # 1. No new instances, here or for anyone who reads the heartbeat.
        text, apps = "draining: %(apps)d apps", self.placement.load
        log_event(logger, "supervisor_draining", text, supervisor=self.id, apps=apps)
        self.placement.drain()
        # 2. Each app ends when nobody waits for its answer, or when the time is over.
        deadline = self._clock.now() + self._settings.drain_s
        while self.placement.instances:
            late = self._clock.now() >= deadline
            for instance in list(self.placement.instances.values()):
                if late or not instance.is_busy:
                    instance.end("drained")
            if late:
                break
            await self._clock.sleep(TICK_S)
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
