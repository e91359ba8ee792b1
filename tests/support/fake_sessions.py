"""The session side of the fake broker: values, renewals, arrivals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from htagweb_broker import AppWrite, SessionData

if TYPE_CHECKING:
    from tests.support.fakes import FakeBroker


class _Part:
    def __init__(self, broker: FakeBroker) -> None:
        self._broker = broker


class FakeSessions(_Part):
    async def read(self, session: str) -> SessionData:
        self._broker.note("read_session", session)
        return self._broker.sessions_data.get(session, SessionData({}, ""))

    async def write(
        self, session: str, changes: Mapping[str, bytes | None], app: AppWrite | None = None
    ) -> tuple[str, str]:
        self._broker.note("write", dict(changes))
        before = self._broker.sessions_data.get(session, SessionData({}, ""))
        values = {key: value for key, value in {**before.values, **changes}.items() if value is not None}
        after = f"v{len(self._broker.of('write'))}"
        self._broker.sessions_data[session] = SessionData(values, after)
        return before.version, after

    async def check_room(self, session: str, changes: Mapping[str, bytes | None]) -> None:
        self._broker.note("check_room")

    async def is_moving(self, session: str) -> bool:
        self._broker.note("is_moving")
        return self._broker.sessions_data.get(session, SessionData({}, "")).is_moving

    async def apps(self, session: str) -> list[str]:
        self._broker.note("apps", session)
        return sorted(each.app for each in self._broker.records if each.session == session)


class FakeRenewals(_Part):
    async def close(self, session: str) -> None:
        self._broker.note("close_session", session)

    async def move(self, session: str, new: str, changes: Mapping[str, bytes | None]) -> None:
        self._broker.note("move", dict(changes))
        values = self._broker.sessions_data.pop(session, SessionData({}, "")).values
        kept = {key: value for key, value in {**values, **changes}.items() if value is not None}
        self._broker.sessions_data[new] = SessionData(kept, "moved")
        self._broker.sessions_data[session] = SessionData({}, "", is_moving=True)


class FakeArrivals(_Part):
    async def count(self, address: str) -> int:
        self._broker.note("arrive", address)
        return len([1 for (each,) in self._broker.of("arrive") if each == address])
