"""``/healthz`` and ``/readyz``: what orchestrators and load balancers ask a web worker.

Neither starts an app, begins a session or waits for the broker: a background
look every 1.5 s notes what there is, and the answer is made of that.
"""

from __future__ import annotations

import logging

from htagweb_broker import BrokerError, Supervisors
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from htagweb.web.service import WebService

logger = logging.getLogger(__name__)

LOOK_S = 1.5
SILENT_S = LOOK_S + 1.5
"""A broker that did not answer for so long is away, though nothing has failed yet."""
RETRY_S = 3
_NO_STORE = {"cache-control": "no-store"}


class Readiness:
    """Knows when the broker and a supervisor were last there."""

    def __init__(self, service: WebService) -> None:
        self._service = service
        self._forget()

    def _forget(self) -> None:
        self._supervisors = Supervisors({}, frozenset())
        self._failed = False
        self._answered_at: float | None = None
        self._complete_at: float | None = None

    async def watch(self) -> None:
        """Look every 1.5 s until cancelled; whatever fails is an absence."""
        self._forget()
        while True:
            try:
                self._note(await self._service.supervisors())
            except BrokerError as exc:
                self._failed = True
                logger.debug("the broker is away: %s", exc)
            except Exception:
                self._failed = True
                logger.exception("an unexpected error, the next look is in %g s", LOOK_S)
            await self._service.clock.sleep(LOOK_S)

    def _note(self, supervisors: Supervisors) -> None:
        self._supervisors = supervisors
        self._failed = False
        self._answered_at = self._service.clock.now()
        if supervisors.living:
            self._complete_at = self._answered_at

    def routes(self) -> list[Route]:
        """Return the two probes."""
        return [Route("/healthz", self._serve_health), Route("/readyz", self._serve_readiness)]

    async def _serve_health(self, request: Request) -> Response:
        """Answer: whoever can answer lives."""
        return JSONResponse({"alive": True}, headers=_NO_STORE)

    async def _serve_readiness(self, request: Request) -> Response:
        """Answer 200 while pages can be served, or could be a moment ago; 503 otherwise."""
        state = self.state()
        if state["ready"]:
            return JSONResponse(state, headers=_NO_STORE)
        return JSONResponse(state, 503, headers={**_NO_STORE, "retry-after": str(RETRY_S)})

    def state(self) -> dict[str, object]:
        """Return the answer's values; the supervisors' are of the last look that the broker answered.

        ``away_s`` is how long the broker, or any supervisor, has been missing;
        None when they were never there.
        """
        now = self._service.clock.now()
        answers = not self._failed and self._answered_at is not None and now - self._answered_at <= SILENT_S
        living = self._supervisors.living
        away_s: float | None
        if answers and living:
            away_s = 0.0
        elif self._complete_at is None:
            away_s = None
        else:
            away_s = round(now - self._complete_at, 1)
        return {
            "ready": away_s is not None and away_s <= self._service.settings.ready_grace_s,
            "broker": "ok" if answers else "away",
            "away_s": away_s,
            "supervisors": len(living),
            "room": self._supervisors.has_room,
            "draining": sum(beat.draining for beat in living.values()),
        }
