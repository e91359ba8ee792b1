"""Restart in place: brings all apps to rest, then puts the installed version in this program's place."""

from __future__ import annotations

import logging
from collections.abc import Callable

from htagweb_broker import Clock, Inboxes

from htagweb.supervisor import handover
from htagweb.supervisor.handover import Handover, HandoverError, InstanceState
from htagweb.supervisor.instance import OwnedInstance
from htagweb.supervisor.placement import Placement
from htagweb.supervisor.templates import Templates

logger = logging.getLogger(__name__)

STARTS_S = 30.0
"""The longest wait for apps that are being started, or given up; clicks are carried out meanwhile."""
LAST_STARTS_S = 2.0
"""The longest wait for those that began since; nothing is claimed meanwhile."""
REST_S = 5.0
"""The longest wait for what is under way between apps and broker; clicks wait meanwhile."""
LOOK_S = 0.005


class Restart:
    """One try."""

    def __init__(
        self,
        supervisor: str,
        placement: Placement,
        templates: Templates,
        inboxes: Inboxes,
        clock: Clock,
    ) -> None:
        self._supervisor = supervisor
        self._templates = templates
        self._placement = placement
        self._inboxes = inboxes
        self._clock = clock

    async def check(self) -> None:
        """HandoverError when the installed version does not start, or could not go on with our apps."""
        running = [owned for owned in self._instances if owned.is_running]
        await handover.check(self._handover([self._dump(owned) for owned in running]))

    async def wait_for_starts(self, timeout_s: float = STARTS_S) -> None:
        """Wait until every app has its process, or is given up; HandoverError when that takes too long."""
        await self._until(lambda owned: owned.is_running, timeout_s, "has not started")

    async def run(self, is_stopping: Callable[[], bool]) -> None:
        """Hand over, when inboxes are not read any more and nothing is claimed.

        Returns when the supervisor is to stop instead; HandoverError when it cannot be done.
        Either way every app goes on as before.
        """
        began = self._clock.now()
        try:
            for owned in self._instances:
                owned.hold()
            await self._until_portable(is_stopping)
            with handover.waiting_signals() as taken:
                await self._clock.sleep(LOOK_S)  # those that came before are handled meanwhile
                await self._until_portable(is_stopping)
                if not is_stopping():
                    logger.info("restarts in place, %d apps go on", self._placement.load)
                    states = [self._dump(owned) for owned in self._instances]
                    self._templates.discard_all()  # one that hangs would not notice that it is nobody's
                    handover.become_successor(self._handover(states, began), taken)
        finally:
            for owned in self._instances:
                owned.let_go()

    @property
    def _instances(self) -> list[OwnedInstance]:
        return list(self._placement.instances.values())

    def _dump(self, owned: OwnedInstance) -> InstanceState:
        return owned.dump(self._inboxes.position(owned.id))

    def _handover(self, states: list[InstanceState], began: float = 0.0) -> Handover:
        return Handover(handover.FORMAT, self._supervisor, began, states)

    async def _until_portable(self, is_stopping: Callable[[], bool]) -> None:
        await self._until(lambda owned: owned.is_portable, REST_S, "does not come to rest", is_stopping)

    async def _until(
        self,
        is_so: Callable[[OwnedInstance], bool],
        timeout_s: float,
        complaint: str,
        is_stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        late_at = self._clock.now() + timeout_s
        while missing := [
            *(f"{owned.id} {complaint}" for owned in self._instances if not is_so(owned)),
            # The new program would not know that a page may wait for their next generation.
            *(f"{owned.id} has ended and is not given up" for owned in self._placement.passing_on),
        ]:
            if is_stopping():
                return
            if self._clock.now() >= late_at:
                raise HandoverError(f"{missing[0]} within {timeout_s:g} s ({len(missing)} apps in all)")
            await self._clock.sleep(LOOK_S)
