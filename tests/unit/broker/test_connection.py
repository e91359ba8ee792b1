"""One connection: answers find who asked, in order; it fails as a whole; nothing is sent twice."""

import asyncio
from typing import Any

import pytest
from htagweb_broker import connection as connections
from htagweb_broker.connection import Client, Connection, Endpoint
from htagweb_broker.errors import BrokerRefused, BrokerUnavailable, ScriptUnknown
from redis.asyncio.connection import AbstractConnection

from tests.support.waiting import until
from tests.unit.broker.fakes import FakeEndpoint, FakeTransport, fake_connection, fake_raw, turns


async def test_answers_go_to_who_asked_in_order() -> None:
    connection, _ = fake_connection()
    asked = [connection.send(("GET", str(number)), 5) for number in range(3)]
    connection.data_received(b"$1\r\na\r\n:2\r\n*1\r\n$-1\r\n")
    assert await asyncio.gather(*asked) == [b"a", 2, [None]]


async def test_an_answer_in_pieces_is_put_together() -> None:
    connection, _ = fake_connection()
    asked = connection.send(("GET", "k"), 5)
    for byte in b"$5\r\nhello\r\n":
        assert not asked.done()
        connection.data_received(bytes([byte]))
    assert await asked == b"hello"


async def test_commands_of_one_turn_are_one_write() -> None:
    connection, transport = fake_connection()
    for number in range(3):
        connection.send(("SET", "k", number, b"\xff\r\n"), 5)
    await turns(1)
    assert len(transport.writes) == 1
    assert transport.commands() == [[b"SET", b"k", str(n).encode(), b"\xff\r\n"] for n in range(3)]
    connection.abort("the test is over")


async def test_a_cancelled_call_does_not_shift_the_answers_of_others() -> None:
    connection, _ = fake_connection()
    first, second, third = (connection.send(("GET", "k"), 5) for _ in range(3))
    second.cancel()
    connection.data_received(b":1\r\n:2\r\n:3\r\n")
    assert (await first, await third) == (1, 3)
    assert connection.is_open


async def test_an_error_answer_is_told_in_the_servers_words_and_only_to_who_asked() -> None:
    connection, _ = fake_connection()
    bad, good = connection.send(("X",), 5), connection.send(("PING",), 5)
    connection.data_received(b"-OOM no memory\r\n+PONG\r\n")
    with pytest.raises(BrokerRefused, match=r"^OOM no memory"):
        await bad
    assert await good == b"PONG"
    assert connection.is_open


@pytest.mark.parametrize(
    "answer",
    [
        "READONLY You can't write against a read only replica.",
        "LOADING Valkey is loading the dataset in memory",
        "MASTERDOWN Link with MASTER is down",
        "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)",
        "NOREPLICAS Not enough good replicas to write.",
    ],
)
async def test_a_server_that_is_not_the_primary_is_left(answer: str) -> None:
    connection, transport = fake_connection()
    asked, waiting = connection.send(("SET", "k", "v"), 5), connection.send(("PING",), 5)
    connection.data_received(f"-{answer}\r\n".encode())
    for each in (asked, waiting):
        with pytest.raises(BrokerUnavailable, match=answer.partition(" ")[0]):
            await each
    assert transport.aborted


async def test_a_client_counts_its_connections() -> None:
    client = Client(FakeEndpoint())
    for number in (1, 2):
        await client._open()
        assert client.connections == number
        client.close()


async def test_an_unknown_script_is_an_error_of_its_own() -> None:
    connection, _ = fake_connection()
    asked = connection.send(("EVALSHA", "00", 0), 5)
    connection.data_received(b"-NOSCRIPT No matching script.\r\n")
    with pytest.raises(ScriptUnknown):
        await asked


async def test_a_late_answer_ends_the_connection_and_all_that_waits() -> None:
    connection, transport = fake_connection()
    first, second = connection.send(("GET", "a"), 0.01), connection.send(("GET", "b"), 5)
    for asked in (first, second):
        with pytest.raises(BrokerUnavailable, match="did not answer in time"):
            await asked
    assert transport.aborted
    assert not connection.is_open


async def test_the_missing_answer_to_a_cancelled_call_ends_the_connection_too() -> None:
    connection, transport = fake_connection()
    connection.send(("GET", "a"), 0.01).cancel()
    assert await asyncio.wait_for(connection.closed, 5) == "the server did not answer in time"
    assert transport.aborted


async def test_an_answer_in_time_keeps_the_connection() -> None:
    connection, _ = fake_connection()
    early = connection.send(("GET", "a"), 0.02)
    late = connection.send(("GET", "b"), 5)
    connection.data_received(b":1\r\n")
    await until(lambda: connection._watch and connection._watch.when() > connection._loop.time() + 1, "later")
    assert await early == 1
    assert connection.is_open
    connection.data_received(b":2\r\n")
    assert await late == 2


async def test_a_short_deadline_counts_after_a_long_one_was_kept() -> None:
    connection, _ = fake_connection()
    blocked = connection.send(("XREAD",), 60)
    connection.data_received(b"*-1\r\n")
    assert await blocked is None
    short = connection.send(("PING",), 0.01)
    with pytest.raises(BrokerUnavailable, match="did not answer in time"):
        await asyncio.wait_for(short, 1)


async def test_a_short_deadline_counts_behind_a_long_one() -> None:
    connection, _ = fake_connection()
    blocked, short = connection.send(("XREAD",), 60), connection.send(("PING",), 0.01)
    with pytest.raises(BrokerUnavailable, match="did not answer in time"):
        await asyncio.wait_for(short, 1)
    assert isinstance(blocked.exception(), BrokerUnavailable)


async def test_a_lost_connection_fails_all_that_waits() -> None:
    connection, _ = fake_connection()
    asked = [connection.send(("GET", "k"), 5) for _ in range(3)]
    connection.connection_lost(ConnectionResetError("reset by peer"))
    for future in asked:
        with pytest.raises(BrokerUnavailable, match="reset by peer"):
            await future


async def test_nothing_is_sent_on_a_closed_connection() -> None:
    connection, transport = fake_connection()
    connection.connection_lost(None)
    with pytest.raises(BrokerUnavailable, match="the connection is closed"):
        connection.send(("PING",), 5)
    await turns()
    assert transport.writes == []


async def test_a_command_that_was_not_written_before_the_end_is_not_written_after_it() -> None:
    connection, transport = fake_connection()
    asked = connection.send(("INCR", "k"), 5)
    connection.abort("closed by its owner")
    with pytest.raises(BrokerUnavailable, match="closed by its owner"):
        await asked
    assert transport.writes == []


async def test_past_the_most_waiting_commands_a_call_fails_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "MAX_WAITING", 2)
    connection, _ = fake_connection()
    kept = [connection.send(("GET", "k"), 5) for _ in range(2)]
    with pytest.raises(BrokerUnavailable, match="2 commands wait for an answer already"):
        connection.send(("GET", "k"), 5)
    connection.data_received(b":1\r\n:2\r\n")
    assert await asyncio.gather(*kept) == [1, 2]


@pytest.mark.parametrize("data", [b":1\r\n", b"+OK\r\n"])
async def test_an_answer_that_nobody_asked_for_ends_the_connection(data: bytes) -> None:
    connection, transport = fake_connection()
    connection.data_received(data)
    assert transport.aborted
    assert await connection.closed == "the server sent an answer that nobody asked for"


async def test_what_is_not_resp_ends_the_connection() -> None:
    connection, _ = fake_connection()
    asked = connection.send(("PING",), 5)
    connection.data_received(b"HTTP/1.1 400 Bad Request\r\n")
    with pytest.raises(BrokerUnavailable, match="not RESP"):
        await asked


async def test_a_subscriber_gets_every_message() -> None:
    pushed: list[Any] = []
    connection, _ = fake_connection(pushed.append)
    connection.data_received(b"+PONG\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n")
    assert pushed == [b"PONG", [b"a", b"b"]]


async def test_a_connection_that_closed_in_its_handshake_is_unavailable() -> None:
    with pytest.raises(BrokerUnavailable, match="during its handshake"):
        Connection(fake_raw(None))


async def test_a_connection_that_was_reset_in_its_handshake_is_unavailable() -> None:
    transport = FakeTransport()
    transport.abort()
    with pytest.raises(BrokerUnavailable, match="during its handshake"):
        Connection(fake_raw(transport))


async def test_a_handshake_on_a_connection_that_uvloop_has_closed_is_unavailable() -> None:
    class Reset(Endpoint):
        async def _connect(self, raw: AbstractConnection) -> None:
            raise RuntimeError("unable to perform operation on <TCPTransport>; the handler is closed")

    with pytest.raises(BrokerUnavailable, match="handler is closed"):
        await Reset("redis://localhost").handshake()


async def test_nothing_is_written_to_a_connection_that_is_closing() -> None:
    connection, transport = fake_connection()
    asked = connection.send(("PING",), 5)
    transport.abort()
    await turns(1)
    connection.connection_lost(None)
    with pytest.raises(BrokerUnavailable):
        await asked
    assert transport.writes == []


# The client


async def test_a_client_connects_when_first_used_and_once_for_all_callers() -> None:
    endpoint = FakeEndpoint()
    client = Client(endpoint)
    assert endpoint.handshakes == 0
    async with asyncio.TaskGroup() as tasks:
        calls = [tasks.create_task(client.call("GET", str(number))) for number in range(3)]
        await turns()
        connection = client._connection
        assert connection is not None
        connection.data_received(b":0\r\n:1\r\n:2\r\n")
    assert [call.result() for call in calls] == [0, 1, 2]
    assert endpoint.handshakes == 1
    client.close()


async def test_a_client_repeats_no_command_whose_answer_got_lost() -> None:
    endpoint = FakeEndpoint()
    client = Client(endpoint)
    lost = asyncio.gather(client.call("INCR", "k"), return_exceptions=True)
    await turns()
    assert client._connection is not None
    client._connection.connection_lost(None)
    assert isinstance((await lost)[0], BrokerUnavailable)
    following = asyncio.gather(client.call("PING"))
    await turns()
    client._connection.data_received(b"+PONG\r\n")
    assert [*await following] == [b"PONG"]
    assert [transport.commands() for transport in endpoint.transports] == [[[b"INCR", b"k"]], [[b"PING"]]]
    client.close()


async def test_after_a_failed_connect_calls_fail_at_once_for_a_while() -> None:
    endpoint = FakeEndpoint()
    endpoint.refusal = BrokerUnavailable("nobody there")
    client = Client(endpoint)
    for _ in range(5):
        with pytest.raises(BrokerUnavailable, match="nobody there"):
            await client.call("PING")
    assert endpoint.handshakes == 1
    client._failed_until = 0
    with pytest.raises(BrokerUnavailable):
        await client.call("PING")
    assert endpoint.handshakes == 2


async def test_several_commands_give_their_answers_in_order_and_the_first_error() -> None:
    client = Client(FakeEndpoint())
    asked = asyncio.gather(
        client.call_all(("A",), ("B",)), client.call_all(("C",), ("D",), ("E",)), return_exceptions=True
    )
    await turns()
    assert client._connection is not None
    client._connection.data_received(b":1\r\n:2\r\n:3\r\n-ERR four\r\n-ERR five\r\n")
    good, bad = await asked
    assert good == [1, 2]
    assert isinstance(bad, BrokerRefused)
    assert str(bad) == "ERR four"
    client.close()


async def test_a_write_of_several_commands_that_do_not_fit_sends_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections, "MAX_WAITING", 2)
    endpoint = FakeEndpoint()
    client = Client(endpoint)
    with pytest.raises(BrokerUnavailable, match="wait for an answer already"):
        await client.call_all(("A",), ("B",), ("C",))
    await turns()
    assert endpoint.transports[0].commands() == []
    client.close()


async def test_a_closed_client_opens_anew_when_it_is_used() -> None:
    endpoint = FakeEndpoint()
    client = Client(endpoint)
    await client._open()
    client.close()
    assert endpoint.transports[0].aborted
    await client._open()
    assert endpoint.handshakes == 2
    client.close()


@pytest.mark.parametrize("url", ["", "localhost", "http://localhost", "redis://h:port"])
def test_what_is_no_url_of_a_broker_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Endpoint(url)
