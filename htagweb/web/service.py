"""What all requests of one web worker share: the broker, the signer, who lives. It holds no user's state."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Protocol

from htagweb_broker import Absence, BrokerError, Clock, Supervisors, WebBroker

from htagweb.settings import Settings
from htagweb.web.cookies import Signer, secrets_in
from htagweb.web.origin import origins_in
from htagweb.web.places import Places
from htagweb.web.proxies import Proxies

logger = logging.getLogger(__name__)

PRESENCE_FRESH_S = 1.0
WATCH_S = 2.0
SECRET_S = 5.0


class Watcher(Protocol):
    """Someone who depends on a supervisor and wants to know whether it lives."""

    owner: str

    def note_owner(self, lives: bool) -> None:
        """Take note whether the supervisor lives; called every 2 s, and must not wait."""
        ...


class WebService:
    """Lives as long as its web worker serves (``running``)."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        """Nothing is connected yet; SettingError says which setting is not what it should be."""
        if settings.secret:
            secrets_in(settings.secret)
        self.proxies = Proxies(settings.trusted_proxies)
        self.allowed_origins = origins_in(settings.allowed_origins)
        self.settings = settings
        self.clock = clock
        self.worker = secrets.token_hex(8)
        self.watchers: set[Watcher] = set()
        self._broker: WebBroker | None = None
        self._places: Places | None = None
        self._signer: Signer | None = None
        self._secret = ""
        self._absence = Absence(logger, "a web worker", clock)
        self.clicks = Absence(logger, "clicks (kept meanwhile)", clock)
        """Whether the broker takes interactions, as pages submit them."""
        self._supervisors: tuple[float, Supervisors] | None = None

    @property
    def broker(self) -> WebBroker:
        """The broker; RuntimeError outside ``running``."""
        if self._broker is None:
            raise RuntimeError("the Runner's lifespan has not run: serve it with uvicorn or gunicorn")
        return self._broker

    @property
    def places(self) -> Places:
        """The places of connected pages; RuntimeError outside ``running``."""
        if self._places is None:
            self._places = Places(self.broker.pages, self.clock, self.settings.max_pages_per_session)
        return self._places

    @property
    def is_running(self) -> bool:
        """Whether this is within ``running``."""
        return self._broker is not None

    @asynccontextmanager
    async def running(self, redis_url: str) -> AsyncIterator[None]:
        """Connect to the broker, again and again where that is needed; its absence is no error here."""
        settings = self.settings
        self._broker = broker = WebBroker(
            redis_url, settings.namespace, self.worker, self.clock, settings.session_ttl_s
        )
        async with asyncio.TaskGroup() as tasks:
            background = [
                tasks.create_task(self._keep(broker.channels.run)),
                tasks.create_task(self._keep(broker.replies.run)),
                tasks.create_task(self._keep(self._watch_owners)),
                tasks.create_task(self._keep(self.places.keep)),
            ]
            if not settings.secret:
                background.append(tasks.create_task(self._keep(self._keep_secret)))
            try:
                yield
            finally:
                for task in background:
                    task.cancel()
                broker.close()
                self._broker = self._places = None

    async def _keep(self, run: Callable[[], Awaitable[None]]) -> None:
        """Run a background loop until cancelled; requests of this worker survive its errors."""
        while True:
            try:
                await run()
            except BrokerError as exc:
                self._absence.begins(exc)
            except Exception:
                logger.exception("an unexpected error, requests are served on")
            await self.clock.sleep(PRESENCE_FRESH_S)

    async def signer(self) -> Signer:
        """Return what signs cookies; BrokerError when its secret cannot be had from the broker."""
        if self._signer is None:
            self._secret = self.settings.secret or await self.broker.secret()
            self._signer = Signer(self._secret)
        return self._signer

    async def secrets(self) -> list[str]:
        """Return the secrets that all web workers share, the one in use first; BrokerError as ``signer``."""
        await self.signer()
        return secrets_in(self._secret)

    async def _keep_secret(self) -> None:
        """Agree with the other workers again after the server lost its data, or cookies would be forged."""
        while True:
            await self.clock.sleep(SECRET_S)
            secret = await self.broker.secret(self._secret)
            self._absence.ends()
            if secret != self._secret:
                self._secret, self._signer = secret, Signer(secret)

    async def supervisors(self) -> Supervisors:
        """Return who lives, at most a second old."""
        now = self.clock.now()
        if self._supervisors is None or now - self._supervisors[0] > PRESENCE_FRESH_S:
            self._supervisors = now, await self.broker.presence.supervisors()
        return self._supervisors[1]

    async def _watch_owners(self) -> None:
        while True:
            await self.clock.sleep(WATCH_S)
            if not self.watchers:
                continue
            living = (await self.supervisors()).living
            self._absence.ends()
            for watcher in list(self.watchers):
                watcher.note_owner(watcher.owner in living)
