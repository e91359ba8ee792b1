"""What an operator sees: apps of living supervisors, sessions by size. Looking keeps nothing alive."""

import asyncio

import pytest
from htagweb_broker import (
    Beat,
    BrokerUnavailable,
    Claimed,
    End,
    Inspector,
    InstanceId,
    Keys,
    RunningApp,
    decode_inbox,
    inspection,
    limits,
)
from htagweb_broker.inbox import Inbox
from htagweb_broker.messages import Connect
from htagweb_broker.ownership import Ownership
from htagweb_broker.presence import Presence
from htagweb_broker.sessions import Sessions

from tests.unit.broker.fakes import CART, SESSION, FakeClock, FakeServerClient, turns

OTHER = InstanceId("ff" * 32, "shop.Cart")
BEAT = Beat("s", "h", 1, "1.0", 10, 0, False)


class Site:
    """A broker in memory, what supervisors and web workers put there, and its inspector."""

    def __init__(self, client: FakeServerClient) -> None:
        self.client, self.keys, self.clock = client, Keys(), FakeClock()
        self.presence = Presence(client, self.keys)
        self.ownership = Ownership(client, self.keys)
        self.sessions = Sessions(client, self.keys)
        self.inspector = Inspector(client, self.keys, self.clock)

    async def run(self, instance: InstanceId, owner: str = "s1", **facts: str) -> None:
        """Have a supervisor live and own an instance."""
        await self.presence.beat(owner, BEAT)
        await self.presence.note_owned(owner, instance)
        await self.ownership.claim(
            instance,
            expected=Claimed("", ""),
            generation="1-aa",
            owner=owner,
            facts={"host": "h", "started_ms": "5000", **facts},
        )

    async def end(self, instance: InstanceId) -> None:
        """Have the app end."""
        await self.ownership.release(instance, "1-aa", 1, "killed", "")

    async def entries(self, instance: InstanceId) -> list[bytes]:
        """Return the messages in an inbox."""
        found = await self.client.call("XRANGE", self.keys.inbox(instance), "-", "+")
        return [fields[1] for _, fields in found]


@pytest.fixture
async def site(memory: FakeServerClient) -> Site:
    return Site(memory)


async def test_an_app_is_described_by_its_record(site: Site) -> None:
    await site.run(CART, pid="77", active_ms="9000")
    expected = RunningApp(CART, "1-aa", "s1", "h", 77, 5000, 9000)
    assert await site.inspector.instances() == [expected]
    assert await site.inspector.describe(CART) == expected


async def test_an_app_that_did_nothing_yet_was_active_when_it_was_started(site: Site) -> None:
    await site.run(CART)
    (app,) = await site.inspector.instances()
    assert (app.pid, app.active_ms) == (0, 5000)


async def test_what_nobody_ever_opened_has_no_description(site: Site) -> None:
    assert await site.inspector.describe(CART) is None


async def test_an_app_that_ended_is_not_listed_though_its_supervisor_still_names_it(site: Site) -> None:
    await site.run(CART)
    await site.end(CART)
    assert await site.inspector.instances() == []


async def test_the_apps_of_a_dead_supervisor_are_not_listed(site: Site) -> None:
    await site.run(CART)
    await site.run(OTHER, owner="s2")
    await site.client.call("DEL", site.keys.beat("s1"))
    assert [app.instance for app in await site.inspector.instances()] == [OTHER]
    assert await site.inspector.apps_of(SESSION) == []


async def test_an_app_that_two_supervisors_name_is_listed_once(site: Site) -> None:
    await site.run(CART)
    await site.presence.beat("s2", BEAT)
    await site.presence.note_owned("s2", CART)
    assert [app.supervisor for app in await site.inspector.instances()] == ["s1"]


async def test_the_apps_of_a_session_are_found_by_the_session(site: Site) -> None:
    await site.run(CART)
    await site.run(OTHER)
    assert [app.instance for app in await site.inspector.apps_of(SESSION)] == [CART]


async def test_a_session_is_listed_by_its_size_and_apps(site: Site) -> None:
    await site.run(CART)
    await site.sessions.write(SESSION, {"a": b"1", "b": b"2"})
    (found,) = await site.inspector.sessions()
    assert (found.session, found.keys, found.apps) == (SESSION, 2, 1)
    assert limits.SESSION_TTL_S - 5 < found.ttl_s <= limits.SESSION_TTL_S


async def test_sessions_without_apps_and_sessions_without_data_are_both_listed(site: Site) -> None:
    await site.sessions.write(SESSION, {"a": b"1"})
    await site.run(OTHER)
    assert [(each.session, each.keys, each.apps) for each in await site.inspector.sessions()] == [
        (SESSION, 1, 0),
        (OTHER.session, 0, 1),
    ]


async def test_the_sessions_of_another_namespace_are_not_listed(site: Site) -> None:
    strange = Keys("a?b[c]")
    await Sessions(site.client, Keys("aXbc")).write(SESSION, {"a": b"1"})
    inspector = Inspector(site.client, strange, site.clock)
    assert await inspector.sessions() == []
    await Sessions(site.client, strange).write(SESSION, {"a": b"1"})
    assert [found.session for found in await inspector.sessions()] == [SESSION]


async def test_more_are_asked_for_than_fit_one_write(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspection, "AT_ONCE", 2)
    for number in range(5):
        await site.run(InstanceId(SESSION, f"shop.App{number}"))
    assert len(await site.inspector.instances()) == 5


async def test_values_are_read_and_looking_lets_nothing_live_longer(site: Site) -> None:
    await site.sessions.write(SESSION, {"fruit": b'"pear"', "list": b"[1]"})
    await site.client.call("PEXPIRE", site.keys.session(SESSION), 5000)
    assert await site.inspector.values(SESSION) == {"fruit": "pear", "list": [1]}
    await site.inspector.sessions()
    assert await site.client.call("PTTL", site.keys.session(SESSION)) <= 5000


async def test_a_session_without_data_has_no_values(site: Site) -> None:
    assert await site.inspector.values(SESSION) == {}


async def test_ending_an_app_asks_its_inbox_and_waits_for_its_end(site: Site) -> None:
    await site.run(CART)
    (app,) = await site.inspector.instances()

    async def be_supervisor() -> None:
        while not await site.entries(CART):
            await site.clock.sleep(0.01)
        await site.end(CART)

    ended, _ = await asyncio.gather(site.inspector.end(app), be_supervisor())
    assert ended
    assert [decode_inbox(body) for body in await site.entries(CART)] == [End("1-aa", "killed")]


async def test_an_app_that_does_not_end_is_told_as_such(site: Site) -> None:
    await site.run(CART)
    apps = await site.inspector.instances()
    assert await site.inspector.end_all(apps) == apps
    assert len(await site.entries(CART)) == 1


async def test_an_app_that_ended_meanwhile_is_not_waited_for(site: Site) -> None:
    await site.run(CART)
    (app,) = await site.inspector.instances()
    await site.end(CART)
    assert await site.inspector.end(app)
    assert site.clock.slept == []


async def test_a_full_inbox_is_tried_again(site: Site) -> None:
    await site.run(CART)
    (app,) = await site.inspector.instances()
    for _ in range(limits.INBOX_MAX_ENTRIES):
        await Inbox(site.client, site.keys).submit(CART, Connect("1-aa"), 1000)

    async def be_supervisor() -> None:
        while not site.clock.slept:
            await turns(1)
        await site.client.call("XTRIM", site.keys.inbox(CART), "MAXLEN", 0)
        while not await site.entries(CART):
            await site.clock.sleep(0.01)
        await site.end(CART)

    ended, _ = await asyncio.gather(site.inspector.end(app), be_supervisor())
    assert ended


async def test_ending_an_app_lets_its_session_live_as_long_as_before(site: Site) -> None:
    await site.run(CART)
    await site.sessions.write(SESSION, {"a": b"1"})
    await site.client.call("PEXPIRE", site.keys.session(SESSION), 60_000)
    (app,) = await site.inspector.instances()
    await site.inspector.end(app)
    assert 55_000 < await site.client.call("PTTL", site.keys.session(SESSION)) <= 60_000


async def test_a_broker_that_goes_away_is_told_as_itself_and_not_in_a_group(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    await site.run(CART)
    apps = await site.inspector.instances()

    async def call(*command: object, **options: object) -> None:
        raise BrokerUnavailable("away")

    monkeypatch.setattr(site.client, "call", call)
    with pytest.raises(BrokerUnavailable):
        await site.inspector.end_all(apps)


async def test_a_forgotten_session_has_no_data(site: Site) -> None:
    await site.sessions.write(SESSION, {"a": b"1"})
    await site.inspector.forget(SESSION)
    assert await site.inspector.sessions() == []


async def test_an_order_to_drain_is_heard_with_the_next_beat_of_that_one_alone(site: Site) -> None:
    assert not (await site.presence.beat("s1", BEAT)).is_to_drain
    await site.inspector.order_drain("s1")
    assert (await site.presence.beat("s1", BEAT)).is_to_drain
    assert not (await site.presence.beat("s2", BEAT)).is_to_drain
    assert 0 < await site.client.call("PTTL", site.keys.drain("s1")) <= limits.DRAIN_TTL_MS


async def test_an_order_is_gone_with_the_supervisor(site: Site) -> None:
    await site.presence.beat("s1", BEAT)
    await site.inspector.order_drain("s1")
    await site.presence.forget("s1")
    assert not await site.client.call("EXISTS", site.keys.drain("s1"))
