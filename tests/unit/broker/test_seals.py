"""Sealed channels: their names, and what becomes of a number. The scripts run in the integration tests."""

import pytest
from htagweb_broker import limits
from htagweb_broker.connection import COMMAND_TIMEOUT_S, Argument
from htagweb_broker.errors import BrokerUnavailable
from htagweb_broker.keys import Keys
from htagweb_broker.seals import MOST_NUMBER, Seals
from hypothesis import given
from hypothesis import strategies as some

from tests.unit.broker.fakes import SESSION

CHANNEL = "7-" + "c" * 22


class FakeCaller:
    """Answers everything alike."""

    def __init__(self, answer: object) -> None:
        self.answer = answer
        self.commands: list[tuple[Argument, ...]] = []

    async def call(self, *command: Argument, timeout_s: float = COMMAND_TIMEOUT_S) -> object:
        """Keep the command."""
        self.commands.append(command)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def seals(answer: object) -> tuple[Seals, FakeCaller]:
    caller = FakeCaller(answer)
    return Seals(caller, Keys("n")), caller


def test_a_new_channel_has_a_place_and_is_no_other() -> None:
    names = {Seals.new_channel() for _ in range(200)}
    assert len(names) == 200
    assert all(0 <= int(name.partition("-")[0]) < limits.SEALS_PER_SESSION for name in names)


async def test_every_new_channel_can_be_kept_and_read() -> None:
    for _ in range(200):
        channel = Seals.new_channel()
        kept, _ = seals(1)
        await kept.keep(SESSION, channel, b"keys")
        given, _ = seals([channel.encode(), b"keys"])
        assert await given.read(SESSION, channel) == b"keys"


@given(
    some.text(max_size=40) | some.sampled_from([f"{CHANNEL}\n", f"1024-{'c' * 22}", f"-1-{'c' * 22}", "7-"])
)
async def test_what_is_no_channels_name_is_unknown_and_reaches_no_server(name: str) -> None:
    made, caller = seals(1)
    assert await made.read(SESSION, name) is None
    assert await made.take(SESSION, name, 1) == "unknown"
    with pytest.raises(ValueError, match="name of a new channel"):
        await made.keep(SESSION, name, b"")
    assert caller.commands == []


async def test_a_channel_that_gave_its_place_away_is_unknown() -> None:
    made, caller = seals([b"7-" + b"d" * 22, b"keys"])
    assert await made.read(SESSION, CHANNEL) is None
    assert caller.commands == [("HMGET", f"n:{{p103}}:seal:{SESSION}:7", "channel", "keys")]


@pytest.mark.parametrize(("answer", "became"), [(1, "taken"), (0, "used"), (-1, "unknown")])
async def test_what_became_of_a_number_is_told(answer: int, became: str) -> None:
    made, _ = seals(answer)
    assert await made.take(SESSION, CHANNEL, 1) == became


@pytest.mark.parametrize("number", [0, -1, MOST_NUMBER + 1])
async def test_a_number_that_scripts_do_not_count_exactly_is_not_taken(number: int) -> None:
    made, caller = seals(1)
    assert await made.take(SESSION, CHANNEL, number) == "used"
    assert caller.commands == []


async def test_a_channel_that_is_there_already_is_not_begun_anew() -> None:
    made, _ = seals(0)
    with pytest.raises(ValueError, match="new channel"):
        await made.keep(SESSION, CHANNEL, b"keys")


async def test_a_number_is_not_taken_a_second_time_when_its_answer_is_lost() -> None:
    made, caller = seals(BrokerUnavailable("lost"))
    with pytest.raises(BrokerUnavailable):
        await made.take(SESSION, CHANNEL, 1)
    assert len(caller.commands) == 1
