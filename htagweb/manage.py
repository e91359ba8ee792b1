"""Who uses which apps now, and ending that: ``users()``, as in htagweb 1.0.

It is synchronous, for scripts and endpoints alike: each call connects in a
thread of its own and blocks until it is answered. ``htagweb_broker.Inspector``
is the same for code that awaits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from typing import Any, TypeVar

from htagweb_broker import Inspector, RunningApp

from htagweb.embedded import Directory, Master, stack_directories
from htagweb.settings import SettingError, Settings

__all__ = ["App", "User", "users"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Broker:
    """Where to ask."""

    url: str
    namespace: str

    def ask(self, work: Callable[[Inspector], Awaitable[T]]) -> T:
        """Do the work over a connection of its own; BrokerError when the broker cannot be used."""

        async def connected() -> T:
            inspector = Inspector.at(self.url, self.namespace)
            try:
                return await work(inspector)
            finally:
                inspector.close()

        # Always a thread: the caller may be in an event loop, which cannot run a second one.
        with ThreadPoolExecutor(max_workers=1) as thread:
            return thread.submit(asyncio.run, connected()).result()


class App:
    """One running app of a user, as it was when ``users`` was called."""

    def __init__(self, broker: _Broker, found: RunningApp) -> None:
        self._broker = broker
        self._found = found
        self.name = found.instance.app
        """``module.Class``"""
        self.generation = found.generation
        self.pid = found.pid
        """On its ``host``; 0 in the moment before its process is there."""
        self.host = found.host
        self.supervisor = found.supervisor
        """The incarnation that owns it."""
        self.cdate = _utc(found.started_ms)
        """When it was started: a datetime in UTC, with its time zone."""
        self.mdate = _utc(found.active_ms)
        """When its page was last rendered or an interaction answered: likewise."""

    def kill(self) -> None:
        """End the app, its session data stays; returns when it has ended.

        Its page says so and offers to start it again. TimeoutError when it has
        not ended within some seconds: its supervisor does not do what it should.
        """
        self._broker.ask(lambda inspector: _end(inspector, [self._found]))

    def __str__(self) -> str:
        return f"{self.name} (pid:{self.pid})"

    def __repr__(self) -> str:
        return f"<App {self}>"


class User:
    """One session with running apps, as it was when ``users`` was called."""

    def __init__(self, broker: _Broker, uid: str, apps: list[App]) -> None:
        self._broker = broker
        self.uid = uid
        """The session's digest, as logs and keys show it; the cookie cannot be told from it."""
        self.apps = apps

    @property
    def session(self) -> dict[str, Any]:
        """The session's values as they are now: a copy."""
        return self._broker.ask(lambda inspector: inspector.values(self.uid))

    def kill(self) -> None:
        """End all apps that the session runs now, then forget its data; returns when both are done.

        TimeoutError when an app has not ended within some seconds; then the data was kept.
        """

        async def work(inspector: Inspector) -> None:
            await _end(inspector, await inspector.apps_of(self.uid))
            await inspector.forget(self.uid)

        self._broker.ask(work)

    def __str__(self) -> str:
        return self.uid

    def __repr__(self) -> str:
        return f"<User {self}>"


def users(redis_url: str | None = None) -> list[User]:
    """Return the sessions that have running apps, sorted by ``uid``.

    Without ``redis_url`` it is ``HTAGWEB_REDIS_URL``, else the private broker
    of the web server that this is called in. SettingError (a ValueError) when
    there is none, BrokerError when it cannot be used.
    """
    settings = Settings.load(redis_url=redis_url)
    broker = _Broker(settings.redis_url or _private_url(), settings.namespace)
    found = broker.ask(lambda inspector: inspector.instances())
    return [
        User(broker, uid, [App(broker, app) for app in apps])
        for uid, apps in groupby(found, key=lambda app: app.instance.session)
    ]


def _private_url() -> str:
    directory = Directory(Master.of_this_server())
    if directory.socket.exists():
        return directory.url
    text = "no broker: call users(redis_url=...), set HTAGWEB_REDIS_URL, or call it in the web server"
    private = [f"unix://{path / directory.socket.name}" for path in sorted(stack_directories())]
    raise SettingError(f"{text}; private ones of this user: {', '.join(private)}" if private else text)


async def _end(inspector: Inspector, apps: list[RunningApp]) -> None:
    if left := await inspector.end_all(apps):
        names = ", ".join(str(app.instance) for app in left)
        raise TimeoutError(f"not ended in time, look into the supervisor's log: {names}")


def _utc(epoch_ms: int) -> datetime:
    return datetime.fromtimestamp(epoch_ms / 1000, UTC)
