"""The load's WebSocket client says and understands what the ``websockets`` library does."""

from __future__ import annotations

import asyncio
from itertools import count

import pytest
from websockets.datastructures import Headers
from websockets.frames import Opcode
from websockets.http11 import Response

from benchmarks.load import websocket
from benchmarks.load.errors import BadAnswer, Closed
from benchmarks.load.websocket import BINARY, PING, TEXT, WebSocket, connect, find_payload, frame
from tests.benchmarks.load.site import Peer, Site, frame_of, heard_in

LENGTHS = [0, 1, 125, 126, 127, 65535, 65536, 70000]


@pytest.fixture
async def site(monkeypatch: pytest.MonkeyPatch) -> Site:
    """Give a server that says nothing by itself."""
    made = Site()
    made.install(monkeypatch)
    return made


@pytest.fixture
async def socket(site: Site) -> WebSocket:
    """Give a connection to it."""
    return await connect("127.0.0.1", 8000, "/ws")


async def receive(socket: WebSocket, number: int) -> list[bytes]:
    """Return so many messages."""
    return [await socket.receive() for _ in range(number)]


def payload_of(length: int) -> bytes:
    """Return bytes that are not alike."""
    return (bytes(range(251)) * (length // 251 + 1))[:length]


# Frames


@pytest.mark.parametrize("length", LENGTHS)
def test_a_server_reads_from_a_frame_what_was_put_in(length: int) -> None:
    heard = heard_in(frame(BINARY, payload_of(length)))
    assert (heard.opcode, heard.fin, heard.data) == (Opcode.BINARY, True, payload_of(length))


@pytest.mark.parametrize(("length", "head_bytes"), [(0, 2), (125, 2), (126, 4), (65535, 4), (65536, 10)])
def test_a_frame_has_the_shortest_head_and_a_mask_that_leaves_the_payload(
    length: int, head_bytes: int
) -> None:
    made = frame(TEXT, payload_of(length))
    assert made[1] & 0x80
    assert made[head_bytes:] == bytes(4) + payload_of(length)


@pytest.mark.parametrize("length", LENGTHS)
def test_the_payload_of_a_servers_frame_is_found(length: int) -> None:
    before, made, after = b"before", frame_of(payload_of(length)), frame_of(b"after")
    place = find_payload(before + made + after, len(before))
    assert place == (len(before) + len(made) - length, len(before) + len(made))


@pytest.mark.parametrize("length", [0, 125, 126, 300])
def test_a_frame_of_which_anything_is_missing_is_not_found(length: int) -> None:
    before, made = b"before", frame_of(payload_of(length))
    found = [find_payload((before + made)[:end], len(before)) for end in range(len(before + made))]
    assert found == [None] * len(found)


def test_a_long_frame_is_not_found_before_its_last_byte() -> None:
    made = frame_of(payload_of(65536))
    assert [find_payload(made[:end], 0) for end in (*range(11), 65536, len(made) - 1)] == [None] * 13


# Messages


@pytest.mark.parametrize("length", LENGTHS)
async def test_a_message_of_any_length_arrives(site: Site, socket: WebSocket, length: int) -> None:
    site.peer.feed(frame_of(payload_of(length), Opcode.BINARY))
    assert await socket.receive() == payload_of(length)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64])
async def test_messages_arrive_however_the_reads_cut_them(site: Site, socket: WebSocket, size: int) -> None:
    messages = ["é".encode(), b"", payload_of(126), payload_of(400), b"last"]
    stream = b"".join(map(frame_of, messages))
    site.peer.feed(*(stream[at : at + size] for at in range(0, len(stream), size)))
    assert await receive(socket, len(messages)) == messages


async def test_messages_of_one_read_arrive_in_their_order(site: Site, socket: WebSocket) -> None:
    site.peer.feed(b"".join(map(frame_of, [b"one", b"two", b"three"])))
    assert await receive(socket, 3) == [b"one", b"two", b"three"]


async def test_a_message_in_several_frames_arrives_as_one(site: Site, socket: WebSocket) -> None:
    parts = [
        frame_of(b"", is_last=False),
        frame_of(b"first ", Opcode.CONT, is_last=False),
        frame_of(b"second", Opcode.CONT),
    ]
    site.peer.feed(b"".join(parts), frame_of(b"next"))
    assert await receive(socket, 2) == [b"first second", b"next"]


async def test_a_ping_between_the_frames_of_a_message_is_no_part_of_it(site: Site, socket: WebSocket) -> None:
    site.peer.feed(frame_of(b"a", is_last=False), frame_of(b"?", Opcode.PING), frame_of(b"b", Opcode.CONT))
    assert await socket.receive() == b"ab"


async def test_a_ping_is_answered_with_what_it_held_and_is_no_message(site: Site, socket: WebSocket) -> None:
    site.peer.feed(frame_of(b"are you there?", Opcode.PING), frame_of(b"message"))
    assert await socket.receive() == b"message"
    (pong,) = site.peer.frames
    assert (pong.opcode, pong.data) == (Opcode.PONG, b"are you there?")


async def test_a_pong_is_no_message(site: Site, socket: WebSocket) -> None:
    site.peer.feed(frame_of(b"", Opcode.PONG), frame_of(b"message"))
    assert await socket.receive() == b"message"


async def test_what_is_sent_arrives_with_its_kind(site: Site, socket: WebSocket) -> None:
    socket.send(b"text")
    socket.send(b"\x00\xff", BINARY)
    socket.send(b"", PING)
    sent = [(each.opcode, each.data) for each in site.peer.frames]
    assert sent == [(Opcode.TEXT, b"text"), (Opcode.BINARY, b"\x00\xff"), (Opcode.PING, b"")]


async def test_a_message_is_stamped_when_its_last_byte_is_there(
    site: Site, socket: WebSocket, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = count(1)
    monkeypatch.setattr(websocket, "monotonic", lambda: float(next(ticks)))
    early, late = frame_of(b"early"), frame_of(b"late")
    site.peer.feed(early + late[:3], late[3:])
    stamps = []
    for _ in range(2):
        await socket.receive()
        stamps.append(socket.arrived)
    assert stamps == [1.0, 2.0]


async def test_a_message_that_does_not_come_is_given_up(
    socket: WebSocket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket, "PATIENCE_S", 0.01)
    with pytest.raises(BadAnswer, match="none came"):
        await socket.receive()


# The end


async def test_the_servers_close_is_told_after_what_it_had_said(site: Site, socket: WebSocket) -> None:
    site.peer.say(b"last words")
    site.peer.protocol.send_close(1011, "no more")
    site.peer.flush()
    assert await socket.receive() == b"last words"
    with pytest.raises(Closed, match="1011 'no more'"):
        await socket.receive()
    assert site.peer.heard_code == 1011
    assert site.peer.was_closed
    with pytest.raises(Closed, match="1011"):
        socket.send(b"too late")
    await socket.close()
    assert len(site.peer.written) == 2  # the handshake, and one close


async def test_who_waits_for_a_message_hears_that_the_connection_was_lost(
    site: Site, socket: WebSocket
) -> None:
    asyncio.get_running_loop().call_soon(site.peer.abort)
    with pytest.raises(Closed, match="the connection was lost"):
        await socket.receive()


async def test_a_user_who_leaves_says_so_once(site: Site, socket: WebSocket) -> None:
    await socket.close()
    await socket.close()
    assert [each.opcode for each in site.peer.frames] == [Opcode.CLOSE]
    assert site.peer.heard_code == 1000
    assert site.peer.is_closing()
    with pytest.raises(Closed):
        await socket.receive()


async def test_a_user_leaves_even_if_the_server_does_not_take_note(
    site: Site, socket: WebSocket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket, "CLOSE_S", 0.01)
    monkeypatch.setattr(Peer, "flush", lambda self: None)
    await socket.close()
    assert site.peer.is_closing()


# The handshake


async def test_a_handshake_asks_as_a_page_of_the_same_origin_does(site: Site) -> None:
    await connect("127.0.0.1", 8000, "/ws?a=b", cookies="a=1; b=2", subprotocol="streamlit")
    (request,) = site.requests
    assert request.path == "/ws?a=b"
    names = ("Host", "Origin", "Cookie", "Sec-WebSocket-Protocol")
    expected = ["127.0.0.1:8000", "http://127.0.0.1:8000", "a=1; b=2", "streamlit"]
    assert [request.headers[name] for name in names] == expected


async def test_a_handshake_offers_neither_compression_nor_what_it_was_not_given(site: Site) -> None:
    await connect("127.0.0.1", 8000, "/ws")
    (request,) = site.requests
    left_out = {"Cookie", "Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions"}
    assert [name for name in left_out if name in request.headers] == []


class _SlowSite(Site):
    """Its handshake comes byte by byte, and a message with its last byte."""

    def handle_request(self, peer: Peer, request: object) -> None:
        accept = peer.protocol.accept(request)  # type: ignore[arg-type]
        head = accept.serialize()
        peer.feed(*(head[at : at + 1] for at in range(len(head) - 1)), head[-1:] + frame_of(b"at once"))


async def test_a_message_that_comes_with_the_handshake_is_not_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _SlowSite().install(monkeypatch)
    socket = await connect("127.0.0.1", 8000, "/ws")
    assert await socket.receive() == b"at once"


class _RefusingSite(Site):
    """It answers with something else than a WebSocket."""

    answered = Response(403, "Forbidden", Headers({"content-length": "0"}))

    def handle_request(self, peer: Peer, request: object) -> None:
        peer.feed(self.answered.serialize())


async def test_a_refused_handshake_is_told_with_its_status(monkeypatch: pytest.MonkeyPatch) -> None:
    site = _RefusingSite()
    site.install(monkeypatch)
    with pytest.raises(BadAnswer, match="403 Forbidden"):
        await connect("127.0.0.1", 8000, "/ws")
    assert site.peer.is_closing()


async def test_a_handshake_that_answers_somebody_else_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    site = _RefusingSite()
    headers = Headers({"upgrade": "websocket", "connection": "upgrade", "sec-websocket-accept": "b3RoZXI="})
    site.answered = Response(101, "Switching Protocols", headers)
    site.install(monkeypatch)
    with pytest.raises(BadAnswer, match="expected a WebSocket"):
        await connect("127.0.0.1", 8000, "/ws")


class _ClosingSite(Site):
    """It closes in place of an answer."""

    def handle_request(self, peer: Peer, request: object) -> None:
        peer.close()


async def test_a_server_that_closes_in_place_of_a_handshake_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    _ClosingSite().install(monkeypatch)
    with pytest.raises(BadAnswer, match="no handshake"):
        await connect("127.0.0.1", 8000, "/ws")


class _SilentSite(Site):
    """It takes a connection and says nothing."""

    def handle_request(self, peer: Peer, request: object) -> None:
        pass


async def test_a_handshake_that_does_not_come_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    site = _SilentSite()
    site.install(monkeypatch)
    monkeypatch.setattr(websocket, "OPEN_S", 0.01)
    monkeypatch.setattr(websocket, "CLOSE_S", 0.01)
    with pytest.raises(TimeoutError):
        await connect("127.0.0.1", 8000, "/ws")
    assert site.peer.was_closed
