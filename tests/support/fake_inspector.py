"""An installation in memory, as ``Inspector`` shows it to commands and to ``htagweb.manage``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, cast

from htagweb_broker import (
    Beat,
    BrokerUnavailable,
    Inspector,
    InstanceId,
    RunningApp,
    StoredSession,
    Supervisors,
)


def running(session: str, app: str = "shop.Cart", supervisor: str = "s1-1-aa", pid: int = 7) -> RunningApp:
    """Return an app that was started at 5 s and used at 9 s."""
    return RunningApp(InstanceId(session, app), "1-aa", supervisor, "h", pid, 5_000, 9_000)


class FakeInspector:
    """Answers at once; what is ended is gone, except what is ``stuck``."""

    def __init__(self) -> None:
        self.apps: list[RunningApp] = []
        self.data: dict[str, dict[str, Any]] = {}
        self.living: dict[str, Beat] = {}
        self.stuck: set[InstanceId] = set()
        self.drained: list[str] = []
        self.loads: list[int] = []
        """What the supervisors that drain run, look by look; then they are gone."""
        self.is_away = False
        self.closed = 0

    @property
    def real(self) -> Inspector:
        return cast(Inspector, self)

    def close(self) -> None:
        self.closed += 1

    async def instances(self) -> list[RunningApp]:
        if self.is_away:
            raise BrokerUnavailable("the broker is away")
        return sorted(self.apps, key=lambda app: app.instance)

    async def apps_of(self, session: str) -> list[RunningApp]:
        return [app for app in await self.instances() if app.instance.session == session]

    async def sessions(self) -> list[StoredSession]:
        apps = Counter(app.instance.session for app in self.apps)
        return [
            StoredSession(session, len(self.data.get(session, {})), 3600.0, apps[session])
            for session in sorted({*self.data, *apps})
        ]

    async def values(self, session: str) -> dict[str, Any]:
        return dict(self.data.get(session, {}))

    async def end_all(self, apps: Iterable[RunningApp]) -> list[RunningApp]:
        left = [app for app in apps if app.instance in self.stuck]
        self.apps = [app for app in self.apps if app not in apps or app in left]
        return left

    async def forget(self, session: str) -> None:
        self.data.pop(session, None)

    async def order_drain(self, supervisor: str) -> None:
        self.drained.append(supervisor)

    async def supervisors(self) -> Supervisors:
        if self.drained:
            load = self.loads.pop(0) if self.loads else None
            for name in self.drained:
                if load is None:
                    self.living.pop(name, None)
                else:
                    self.living[name] = beat(self.living[name].name, load)
        return Supervisors(dict(self.living), frozenset())


def beat(name: str, load: int = 0) -> Beat:
    """Return what a supervisor says of itself."""
    return Beat(name, "h", 1, "2.0", 10, load, False)
