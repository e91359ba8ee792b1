"""Sealed channels on real servers: each number is taken once, whoever asks and whatever happens."""

import asyncio
import contextlib
from pathlib import Path

import pytest
from htagweb_broker import limits
from htagweb_broker.errors import BrokerUnavailable
from htagweb_broker.seals import MOST_NUMBER, Seals

from tests.support.brokers import KINDS, SESSION, Bench, running_server
from tests.support.waiting import until

OTHER = "fedcba9876543210" * 4


@pytest.fixture
def seals(bench: Bench) -> Seals:
    return Seals(bench.client, bench.keys)


async def kept(seals: Seals) -> str:
    channel = seals.new_channel()
    await seals.keep(SESSION, channel, b"the keys \0\xff")
    return channel


async def test_kept_keys_are_read_by_their_session_alone(seals: Seals) -> None:
    channel = await kept(seals)
    assert await seals.read(SESSION, channel) == b"the keys \0\xff"
    assert await seals.read(OTHER, channel) is None
    assert await seals.take(OTHER, channel, 1) == "unknown"


async def test_numbers_are_taken_once_and_upwards(seals: Seals) -> None:
    channel = await kept(seals)
    numbers = [1, 1, 2, 5, 4, 5, 6, 2**53 - 1, MOST_NUMBER, MOST_NUMBER, 7]
    became = [await seals.take(SESSION, channel, number) for number in numbers]
    assert [number for number, each in zip(numbers, became, strict=True) if each == "taken"] == [
        *(1, 2, 5, 6, 2**53 - 1, MOST_NUMBER)
    ]
    assert set(became) == {"taken", "used"}


async def test_of_many_that_ask_for_one_number_one_gets_it(bench: Bench, seals: Seals) -> None:
    channel = await kept(seals)
    workers = [Seals(bench.new_client(), bench.keys) for _ in range(8)]
    for number in range(1, 20):
        asked = [worker.take(SESSION, channel, number) for worker in workers]
        assert sorted(await asyncio.gather(*asked)) == ["taken"] + ["used"] * 7


async def test_a_channel_lives_an_hour_after_its_last_use(bench: Bench, seals: Seals) -> None:
    channel = await kept(seals)
    key = bench.keys.seal(SESSION, int(channel.partition("-")[0]))
    await bench.call("PEXPIRE", key, 5000)
    assert await seals.take(SESSION, channel, 1) == "taken"
    assert limits.SEAL_TTL_MS - 5000 < await bench.ttl_ms(key) <= limits.SEAL_TTL_MS
    await bench.call("DEL", key)
    assert await seals.read(SESSION, channel) is None
    assert await seals.take(SESSION, channel, 2) == "unknown"


async def test_a_new_channel_takes_a_place_over_and_begins_anew(bench: Bench, seals: Seals) -> None:
    channel = await kept(seals)
    await seals.take(SESSION, channel, 9)
    place = channel.partition("-")[0]
    successor = f"{place}-{'s' * 22}"
    await seals.keep(SESSION, successor, b"other keys")
    assert await seals.take(SESSION, channel, 10) == "unknown"
    assert await seals.read(SESSION, channel) is None
    assert await seals.take(SESSION, successor, 1) == "taken"


async def test_a_channel_that_is_kept_twice_keeps_its_numbers(seals: Seals) -> None:
    channel = await kept(seals)
    await seals.take(SESSION, channel, 3)
    with pytest.raises(ValueError, match="new channel"):
        await seals.keep(SESSION, channel, b"the keys")
    assert await seals.take(SESSION, channel, 3) == "used"


async def test_handshakes_without_end_fill_no_server(bench: Bench, seals: Seals) -> None:
    for _ in range(0, 3 * limits.SEALS_PER_SESSION, 64):
        await asyncio.gather(*(kept(seals) for _ in range(64)))
    assert await bench.call("DBSIZE") <= limits.SEALS_PER_SESSION


@pytest.mark.parametrize("kind", KINDS)
async def test_a_server_that_comes_back_with_older_numbers_knows_no_channel(
    kind: str, tmp_path: Path
) -> None:
    with running_server(kind, tmp_path / "broker") as server:
        bench = Bench(server.url)
        seals = Seals(bench.client, bench.keys)
        channel = await kept(seals)
        await bench.call("SAVE")
        assert await seals.take(SESSION, channel, 1) == "taken"
        server.kill()
        server.start()

        async def is_back() -> bool:
            with contextlib.suppress(BrokerUnavailable):
                await bench.call("PING")
                return True
            return False

        await until(is_back, "the server answers")
        assert await seals.read(SESSION, channel) is not None, "it has what it saved"
        assert await seals.take(SESSION, channel, 1) == "unknown"
        bench.close()
