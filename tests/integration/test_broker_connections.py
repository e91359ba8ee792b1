"""Connections to real servers: lost, frozen, refused, and back again."""

import asyncio
import gc
import signal
import socket
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from htagweb_broker import connection as connections
from htagweb_broker.connection import Client, Connection, Endpoint
from htagweb_broker.errors import BrokerError, BrokerRefused, BrokerUnavailable
from htagweb_broker.messages import PageReply
from htagweb_broker.sentinel import endpoint_of

from tests.support.brokers import CART, KINDS, OPEN, SESSION, UPDATE, Bench, interact, running_server
from tests.support.processes import BrokerServer
from tests.support.waiting import until


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture
def server(kind: str, tmp_path: Path) -> Iterator[BrokerServer]:
    with running_server(kind, tmp_path / "broker") as running:
        yield running


@pytest_asyncio.fixture
async def bench(server: BrokerServer) -> AsyncIterator[Bench]:
    made = Bench(server.url)
    yield made
    made.close()


async def works(client: Client) -> bool:
    try:
        return bool(await client.call("PING") == b"PONG")
    except BrokerError:
        return False


async def test_a_client_comes_back_by_itself_after_its_server_was_killed(
    server: BrokerServer, bench: Bench
) -> None:
    await bench.call("PING")
    server.kill()
    with pytest.raises(BrokerUnavailable):
        await bench.call("PING")
    server.start()
    await until(lambda: works(bench.client), "the client works again", 5)


async def test_what_waits_for_an_answer_fails_when_the_server_is_killed(
    server: BrokerServer, bench: Bench
) -> None:
    blocked = asyncio.gather(
        bench.client.call("BLPOP", "k", 0, timeout_s=60), bench.client.call("PING"), return_exceptions=True
    )
    await until(lambda: server.command("CLIENT LIST").count(b"flags=b") == 1, "the client waits", 5)
    server.kill()
    for error in await asyncio.wait_for(blocked, 5):
        assert isinstance(error, BrokerUnavailable)


async def test_a_command_that_was_under_way_is_not_sent_again(server: BrokerServer, bench: Bench) -> None:
    await bench.call("SET", "k", 0)
    client_id = await bench.call("CLIENT", "ID")
    blocked = asyncio.gather(
        bench.client.call("BLPOP", "never", 0, timeout_s=60),
        bench.client.call("INCR", "k"),
        return_exceptions=True,
    )
    await until(lambda: b"flags=b" in server.command("CLIENT LIST"), "the client waits", 5)
    server.command(f"CLIENT KILL ID {client_id}")
    assert all(isinstance(error, BrokerUnavailable) for error in await asyncio.wait_for(blocked, 5))
    await until(lambda: works(bench.client), "the client works again", 5)
    assert await bench.call("GET", "k") == b"0"


async def test_a_frozen_server_is_noticed_in_time_and_used_again_when_it_thaws(
    server: BrokerServer, bench: Bench
) -> None:
    await bench.call("PING")
    assert server.process is not None
    server.process.popen.send_signal(signal.SIGSTOP)
    try:
        with pytest.raises(BrokerUnavailable, match="did not answer in time"):
            await asyncio.wait_for(bench.client.call("PING", timeout_s=0.2), 2)
    finally:
        server.process.popen.send_signal(signal.SIGCONT)
    await until(lambda: works(bench.client), "the client works again", 5)


async def test_the_handshake_with_a_frozen_server_ends_in_time(
    server: BrokerServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "CONNECT_TIMEOUT_S", 0.2)
    client = Client(Endpoint(server.url + "?db=1"))  # SELECT needs an answer
    assert server.process is not None
    server.process.popen.send_signal(signal.SIGSTOP)
    try:
        with pytest.raises(BrokerUnavailable):
            await asyncio.wait_for(client.call("PING"), 5)
    finally:
        server.process.popen.send_signal(signal.SIGCONT)
    await until(lambda: works(client), "the client works again", 5)
    client.close()


async def test_a_caller_that_is_cancelled_in_the_handshake_leaves_the_client_usable(
    server: BrokerServer,
) -> None:
    client = Client(Endpoint(server.url + "?db=1"))
    assert server.process is not None
    server.process.popen.send_signal(signal.SIGSTOP)
    try:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.call("PING"), 0.2)
    finally:
        server.process.popen.send_signal(signal.SIGCONT)
    await until(lambda: works(client), "the client works again", 5)
    client.close()


@pytest.mark.parametrize("turns", range(16))
async def test_a_handshake_that_is_cancelled_ends_cancelled_at_whatever_point_it_is(
    server: BrokerServer, turns: int
) -> None:
    loop = asyncio.get_running_loop()
    endpoint = Endpoint(server.url)
    async with asyncio.TaskGroup() as tasks:
        opening = tasks.create_task(endpoint.handshake())
        for _ in range(turns):
            turned = loop.create_future()
            loop.call_soon(turned.set_result, None)
            await turned
        was_done = opening.done()
        opening.cancel()
    if was_done:
        Connection(opening.result()).abort("not needed")
    else:
        assert opening.cancelled()


class Refusing(asyncio.Protocol):
    """A server that answers every command with an error."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._transport.write(b"-ERR no\r\n" * data.count(b"*"))


async def is_cancelled_after(turns: int, work: Coroutine[Any, Any, object]) -> bool:
    """Cancel the work after so many turns of the loop; return whether it ended by that, or before."""
    loop = asyncio.get_running_loop()
    async with asyncio.TaskGroup() as tasks:
        working = tasks.create_task(heard(work))
        for _ in range(turns):
            turned = loop.create_future()
            loop.call_soon(turned.set_result, None)
            await turned
        was_done = working.done()
        working.cancel()
    return was_done or working.cancelled()


async def heard(work: Coroutine[Any, Any, object]) -> None:
    with suppress(BrokerError):
        await work


# redis-py closes its connection to a Sentinel a little later, when it is collected; it warns of that, or its
# stream does: whichever is collected first.
@pytest.mark.filterwarnings("ignore:unclosed Connection:ResourceWarning")
@pytest.mark.filterwarnings("ignore:unclosed <StreamWriter:ResourceWarning")
@pytest.mark.parametrize("turns", range(1, 24))
async def test_a_refusal_takes_no_cancellation_away(turns: int) -> None:
    async with await asyncio.get_running_loop().create_server(Refusing, "127.0.0.1", 0) as serving:
        port = serving.sockets[0].getsockname()[1]
        connecting = Endpoint(f"redis://127.0.0.1:{port}/1").handshake()
        assert await is_cancelled_after(turns, connecting)
        asking = endpoint_of(f"redis+sentinel://127.0.0.1:{port}/htagweb").confirm()
        assert await is_cancelled_after(turns, asking)
        gc.collect()


async def test_cancelled_callers_take_no_answer_from_others(bench: Bench) -> None:
    await bench.call("SET", "k", 0)
    callers = [asyncio.wait_for(bench.client.call("GET", "k"), 0) for _ in range(50)]
    numbers = [bench.client.call("ECHO", str(number)) for number in range(50)]
    answers = await asyncio.gather(*callers, *numbers, return_exceptions=True)
    assert answers[50:] == [str(number).encode() for number in range(50)]


async def test_a_server_that_does_not_exist_is_unavailable(tmp_path: Path) -> None:
    client = Client(Endpoint(f"unix://{tmp_path}/nobody.sock"))
    with pytest.raises(BrokerUnavailable, match=r"nobody\.sock"):
        await client.call("PING")


async def test_an_error_of_the_server_is_told_in_its_words(bench: Bench) -> None:
    await bench.call("SET", "k", "text")
    with pytest.raises(BrokerRefused, match=r"^WRONGTYPE"):
        await bench.call("XLEN", "k")


async def test_all_kinds_of_bytes_survive(bench: Bench) -> None:
    data = bytes(range(256)) * 5000
    await bench.call("SET", "k", data)
    assert await bench.call("GET", "k") == data


async def test_scripts_survive_that_the_server_forgot_them(bench: Bench) -> None:
    writer = await bench.owned()
    await bench.call("SCRIPT", "FLUSH")
    await bench.emit(writer)
    assert await bench.ids(bench.keys.outbox(CART)) == ["1-0"]
    await bench.call("SCRIPT", "FLUSH")
    assert await bench.inbox.open(CART, OPEN) is not None


async def test_an_emission_that_memory_refused_is_made_when_there_is_memory_again(bench: Bench) -> None:
    writer = await bench.owned()
    action = writer.next_action(UPDATE)
    await bench.call("CONFIG", "SET", "maxmemory", 1)
    with pytest.raises(BrokerRefused, match="OOM"):
        await writer.emit(action, "")
    await bench.call("CONFIG", "SET", "maxmemory", 0)
    await writer.emit(action, "")
    assert [e.number for e in await bench.reader.read_after(CART, "1-aa", 0)] == [1]


# Ways to reach a server


class GuardedServer(BrokerServer):
    """A server with a password: it answers, although with a refusal."""

    def command(self, text: str) -> bytes:
        """Send a command after the password."""
        answer = super().command(f"AUTH secret\r\n{text}")
        return answer.removeprefix(b"+OK\r\n")


@contextmanager
def guarded_server(kind: str, directory: Path) -> Iterator[BrokerServer]:
    server = GuardedServer(kind, directory, "--requirepass", "secret")
    server.start()
    try:
        yield server
    finally:
        server.stop()


async def test_a_password_in_the_url_opens_the_server(kind: str, tmp_path: Path) -> None:
    with guarded_server(kind, tmp_path) as server:
        client = Client(Endpoint(f"unix://:secret@{server.path}"))
        assert await client.call("PING") == b"PONG"
        client.close()


async def test_a_wrong_password_is_told_clearly(kind: str, tmp_path: Path) -> None:
    with guarded_server(kind, tmp_path) as server:
        client = Client(Endpoint(f"unix://:wrong@{server.path}"))
        with pytest.raises((BrokerRefused, BrokerUnavailable), match=r"(?i)password") as raised:
            await client.call("PING")
        assert "wrong@" not in str(raised.value)


async def test_a_missing_password_is_told_clearly(kind: str, tmp_path: Path) -> None:
    with guarded_server(kind, tmp_path) as server:
        client = Client(Endpoint(server.url))
        with pytest.raises((BrokerRefused, BrokerUnavailable), match=r"NOAUTH|Authentication required"):
            await client.call("PING")
        client.close()


async def test_a_server_is_reached_over_tcp(kind: str, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ("--port", str(port), "--bind", "127.0.0.1")
    with running_server(kind, tmp_path / "broker", *options):
        made = Bench(f"redis://127.0.0.1:{port}/0")
        await made.emit(await made.owned(), 3)
        assert await made.ids(made.keys.outbox(CART)) == ["1-0", "2-0", "3-0"]
        made.close()


# A cluster: one node that holds all slots refuses what would span two


@pytest_asyncio.fixture
async def node(kind: str, tmp_path: Path) -> AsyncIterator[Bench]:
    with running_server(kind, tmp_path / "broker", "--cluster-enabled", "yes") as server:
        made = Bench(server.url)
        await made.call("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        await until(lambda: b"cluster_state:ok" in server.command("CLUSTER INFO"), "the node serves", 10)
        yield made
        made.close()


async def test_on_a_cluster_an_instance_is_claimed_used_and_released(node: Bench) -> None:
    writer = await node.owned()
    await node.inbox.open(CART, OPEN)
    assert await node.inbox.submit(CART, interact("1-aa"), 1000) == "ok"
    await node.emit(writer, 2)
    assert len(await node.reader.read_after(CART, "1-aa", 0)) == 2
    await node.ownership.renew(CART, "1-aa")
    await node.sessions.write(SESSION, {"a": b"1"})
    assert await node.ownership.release(CART, "1-aa", 3, "exit", "") == 2


async def test_on_a_cluster_a_request_is_answered(node: Bench) -> None:
    await node.owned()
    page = PageReply("1-aa", "<p>")
    await node.replies.reply(CART, "1-aa", request="r1", worker="w1", reply=page, taken="", now_ms=1)
    assert await node.web().replies.read(SESSION, "r1") is not None


async def test_on_a_cluster_a_waiting_worker_is_told(node: Bench) -> None:
    writer = await node.owned()
    await writer.emit(writer.next_action(UPDATE), "", ("w1", "page:1"))
    assert await node.ids(node.keys.outbox(CART)) == ["1-0"]
