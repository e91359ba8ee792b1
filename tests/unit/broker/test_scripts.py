"""The scripts: how they are sent, what each file says of itself, and their answers on a server in memory."""

from importlib.resources import files
from typing import Any

import pytest
from htagweb_broker.broker import SupervisorBroker, WebBroker
from htagweb_broker.clock import SystemClock
from htagweb_broker.connection import COMMAND_TIMEOUT_S, Argument
from htagweb_broker.errors import BrokerRefused, NotOwner, ScriptUnknown
from htagweb_broker.inbox import Inbox, Opened
from htagweb_broker.keys import InstanceId, Keys
from htagweb_broker.messages import Connect, Ended, Launch, Open, PageReply
from htagweb_broker.outbox import OutboxWriter
from htagweb_broker.ownership import Claim, Claimed, Ownership, Record
from htagweb_broker.presence import Beat, Presence
from htagweb_broker.replies import ReplyWriter
from htagweb_broker.scripts import Script
from htagweb_broker.sessions import AppWrite, SessionData, Sessions

from tests.unit.broker.fakes import CART, SESSION, FakeServerClient

FILES = [path for path in files("htagweb_broker").joinpath("lua").iterdir() if path.name[-4:] == ".lua"]
NOBODY = Claimed("", "")
OPEN = Open("r1", "w1", Launch([], {}, False, 60.0, 0.0))


class FakeCaller:
    """Answers EVALSHA with an error, EVAL with a word."""

    def __init__(self, error: BrokerRefused | None) -> None:
        self.error = error
        self.commands: list[tuple[Argument, ...]] = []

    async def call(self, *command: Argument, timeout_s: float = COMMAND_TIMEOUT_S) -> Any:
        """Keep the command."""
        self.commands.append(command)
        if command[0] == "EVALSHA" and self.error is not None:
            raise self.error
        return "done"


async def test_a_known_script_is_sent_by_its_digest_alone() -> None:
    caller = FakeCaller(None)
    assert await Script("beat")(caller, ("k1", "k2"), "a") == "done"
    ((name, digest, *rest),) = caller.commands
    assert (name, len(str(digest)), rest) == ("EVALSHA", 40, [2, "k1", "k2", "a"])


async def test_an_unknown_script_is_sent_as_text_once() -> None:
    caller = FakeCaller(ScriptUnknown("NOSCRIPT"))
    assert await Script("beat")(caller, ("k1",), "a") == "done"
    assert [command[0] for command in caller.commands] == ["EVALSHA", "EVAL"]
    assert caller.commands[1][2:] == (1, "k1", "a")


async def test_a_script_that_was_refused_is_not_sent_again() -> None:
    caller = FakeCaller(BrokerRefused("OOM"))
    with pytest.raises(BrokerRefused, match="OOM"):
        await Script("beat")(caller, ("k1",), "a")
    assert len(caller.commands) == 1


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_scripts_file_is_short_and_says_what_goes_in(path: Any) -> None:
    lines = path.read_text().splitlines()
    header = "\n".join(line for line in lines if line.startswith("--"))
    assert len(lines) <= 60
    assert "KEYS:" in header
    assert "ARGV:" in header


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_script_gets_time_and_keys_from_outside(path: Any) -> None:
    text = path.read_text().upper()
    assert "'TIME'" not in text
    assert "HTAGWEB" not in text


async def claim(client: FakeServerClient, generation: str, expected: Claimed = NOBODY) -> Claim | Claimed:
    return await Ownership(client, Keys()).claim(
        CART, expected=expected, generation=generation, owner="s1", facts={"host": "h"}
    )


async def test_a_claim_is_won_once(memory: FakeServerClient) -> None:
    assert await claim(memory, "1-aa") == Claim([])
    assert await claim(memory, "1-bb") == Claimed("1-aa", "s1")


async def test_a_claim_from_the_owner_that_is_expected_is_won(memory: FakeServerClient) -> None:
    await claim(memory, "1-aa")
    assert await claim(memory, "2-bb", Claimed("1-aa", "s1")) == Claim([])


async def test_a_release_ends_and_a_second_one_changes_nothing(memory: FakeServerClient) -> None:
    ownership = Ownership(memory, Keys())
    await claim(memory, "1-aa")
    for _ in range(2):
        assert await ownership.release(CART, "1-aa", 1, "exit", "") == 0
    assert await ownership.read(CART) == Record("1-aa", "", 1, "exit")
    assert await memory.call("XLEN", Keys().outbox(CART)) == 1


async def test_a_stranger_releases_and_renews_nothing(memory: FakeServerClient) -> None:
    ownership = Ownership(memory, Keys())
    await claim(memory, "1-aa")
    with pytest.raises(NotOwner):
        await ownership.release(CART, "0-zz", 1, "exit", "")
    with pytest.raises(NotOwner):
        await ownership.renew(CART, "0-zz")
    assert await ownership.read(CART) == Record("1-aa", "s1", 0, None)


async def test_a_take_over_ends_what_the_dead_owned_once(memory: FakeServerClient) -> None:
    ownership = Ownership(memory, Keys())
    await claim(memory, "1-aa")
    assert [await ownership.take_over(CART, "s1") for _ in range(2)] == [True, False]
    assert await ownership.read(CART) == Record("1-aa", "", 1, "lost")


@pytest.mark.parametrize(
    ("known", "owner", "is_written"),
    [
        (None, "", True),
        ("4-aa", "", True),
        ("4-aa", "me", True),
        ("4-aa", "other", False),
        ("5-aa", "", False),
        ("6-aa", "", False),
        ("5-mine", "me", True),
        ("5-mine", "", False),
        ("5-mine", "other", False),
    ],
)
async def test_a_record_is_written_again_over_none_or_an_earlier_one_that_nobody_else_owns(
    memory: FakeServerClient, known: str | None, owner: str, is_written: bool
) -> None:
    keys, ownership = Keys(), Ownership(memory, Keys())
    if known is not None:
        await memory.call("HSET", keys.instance(CART), "generation", known, "out", 7, "reason", "exit")
        await memory.call("XADD", keys.outbox(CART), "7-0", "g", known, "m", "{}")
    if owner:
        await memory.call("HSET", keys.instance(CART), "owner", owner)
    before = await ownership.read(CART)
    mine = Claimed("5-mine", "me")
    assert await ownership.restore(CART, mine, 3, {"host": "h"}) is is_written
    if known == mine.generation or not is_written:
        assert await ownership.read(CART) == before
    else:
        assert await ownership.read(CART) == Record("5-mine", "me", 3, None)
        assert await memory.call("EXISTS", keys.outbox(CART)) == 0


async def test_a_write_of_an_app_that_comes_late_overwrites_nothing(memory: FakeServerClient) -> None:
    sessions = Sessions(memory, Keys())
    await claim(memory, "1-aa")
    await sessions.write(SESSION, {"a": b"1"}, AppWrite(CART, "1-aa", 1))
    _, version = await sessions.write(SESSION, {"a": b"2"}, AppWrite(CART, "1-aa", 2))
    for number in (1, 2):  # delivered by a connection that was given up
        assert await sessions.write(SESSION, {"a": b"1"}, AppWrite(CART, "1-aa", number)) == ("", "")
    assert await sessions.read(SESSION) == SessionData({"a": b"2"}, version)
    assert await memory.call("TTL", Keys().instance(CART)) > 0


async def test_a_message_is_appended_for_the_living_generation_alone(memory: FakeServerClient) -> None:
    inbox = Inbox(memory, Keys())
    assert await inbox.submit(CART, Connect("1-aa"), 1000) == "unknown"
    await claim(memory, "1-aa")
    assert await inbox.submit(CART, Connect("0-zz"), 1000) == "stale"
    assert await inbox.submit(CART, Connect("1-aa"), 1000) == "ok"
    await Ownership(memory, Keys()).release(CART, "1-aa", 1, "exit", "")
    assert await inbox.submit(CART, Connect("1-aa"), 1000) == "ended"
    assert await memory.call("XLEN", Keys().inbox(CART)) == 1


async def test_an_open_tells_the_owner(memory: FakeServerClient) -> None:
    await claim(memory, "1-aa")
    assert await Inbox(memory, Keys()).open(CART, OPEN) == Opened("1-aa", "s1")


async def test_a_session_write_tells_the_version_before(memory: FakeServerClient) -> None:
    sessions = Sessions(memory, Keys())
    before, first = await sessions.write(SESSION, {"a": b"1", "b": b"2"})
    assert (before, (await sessions.write(SESSION, {"a": None}))[0]) == ("", first)
    assert (await sessions.read(SESSION)).values == {"b": b"2"}


@pytest.mark.parametrize(
    ("load", "draining", "room"), [(0, False, True), (9, False, True), (10, False, False), (0, True, False)]
)
async def test_there_is_room_where_a_supervisor_below_its_capacity_does_not_drain(
    memory: FakeServerClient, load: int, draining: bool, room: bool
) -> None:
    presence = Presence(memory, Keys())
    await presence.beat("s1", Beat("s", "h", 1, "1.0", 10, load, draining))
    assert (await presence.supervisors()).has_room is room


@pytest.mark.parametrize(("url", "namespace"), [("nonsense", "ns"), ("redis://h", "a:b")])
def test_a_broker_with_a_bad_address_or_namespace_is_refused_at_once(url: str, namespace: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        WebBroker(url, namespace, "w1", SystemClock(), 60)
    with pytest.raises(ValueError, match=r"."):
        SupervisorBroker(url, namespace, "s1", SystemClock(), lambda instance, entries: None)


async def test_the_apps_of_a_session_are_those_that_somebody_owns(memory: FakeServerClient) -> None:
    sessions, ownership = Sessions(memory, Keys()), Ownership(memory, Keys())
    await claim(memory, "1-aa")
    assert await sessions.apps(SESSION) == [CART.app]
    await ownership.release(CART, "1-aa", 1, "exit", "")
    assert await sessions.apps(SESSION) == []
    await claim(memory, "2-bb", Claimed("1-aa", ""))
    await ownership.take_over(CART, "s1")
    assert await sessions.apps(SESSION) == []


async def test_a_session_that_runs_as_many_apps_as_it_may_opens_only_those(memory: FakeServerClient) -> None:
    inbox, other = Inbox(memory, Keys()), InstanceId(SESSION, "m.Other")
    await claim(memory, "1-aa")
    assert await inbox.open(other, OPEN, 1) == "full"
    assert await memory.call("XLEN", Keys().inbox(other)) == 0
    assert await inbox.open(CART, OPEN, 1) == Opened("1-aa", "s1")
    await Ownership(memory, Keys()).release(CART, "1-aa", 1, "exit", "")
    assert await inbox.open(other, OPEN, 1) == Opened("", "")


async def test_answers_and_pages_note_the_activity_and_updates_do_not(
    memory: FakeServerClient,
) -> None:
    await claim(memory, "1-aa")
    writer = OutboxWriter(memory, Keys(), CART, "1-aa")

    async def active() -> Any:
        return await memory.call("HGET", Keys().instance(CART), "active_ms")

    await writer.emit(writer.next_action(Ended("exit")), "")
    assert await active() is None
    await writer.emit(writer.next_action(Ended("exit")), "", None, 77)
    assert await active() == b"77"
    page = PageReply("1-aa", "<html>")
    replies = ReplyWriter(memory, Keys())
    await replies.reply(CART, "1-aa", request="r", worker="w", reply=page, taken="", now_ms=99)
    assert await active() == b"99"
