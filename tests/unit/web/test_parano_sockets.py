"""Sealed sockets: the handshake, frames both ways, and what closes them."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import pytest
from htagweb_broker import Emission, FeedBroken, UpdatedByApp

from htagweb.web.sockets import BAD_HELLO, BAD_SEAL, GONE, TOO_LARGE
from tests.support.seal import PageSeal, to_base64url
from tests.support.waiting import until
from tests.unit.web.harness import GENERATION, PAGE, Site, Socket

RAW = msgspec.Raw(b"{}")
HELLO = f"page={PAGE}&generation={GENERATION}&last=3"
OVERHEAD = 24


class SealedSocket(Socket):
    """A parano page's socket."""

    def __init__(self, site: Site, curve: str = "X25519", query: str = HELLO, **headers: str) -> None:
        self.seal = PageSeal(curve)
        super().__init__(site, f"{query}&curve={curve}&key={self.seal.key}", **headers)
        self._opened: list[str] = []

    @property
    def messages(self) -> list[Any]:
        """What the page was sent sealed; its numbers are 1, 2, 3."""
        for position, frame in enumerate(self.frames[len(self._opened) :], len(self._opened) + 1):
            number, text = self.seal.open(frame)
            assert number == position
            self._opened.append(text)
        return [json.loads(text) for text in self._opened]

    async def agreed(self) -> None:
        """Take the server's key, its first message."""
        await until(lambda: len(self.sent) > 1, "the server's key")
        assert list(self.sent[1]) == ["type", "text"]
        (extra,) = json.loads(self.sent[1]["text"]).values()
        self.seal.agree(extra["key"])

    async def ready(self) -> None:
        await self.agreed()
        await self.hears(lambda extra: extra.get("ready"))

    def say_sealed(self, message: Any, number: int | None = None) -> bytes:
        """Send as the page does; return the frame."""
        frame = self.seal.seal(json.dumps(message), number)
        self.say_bytes(frame)
        return frame

    def say_bytes(self, data: bytes) -> None:
        self.put({"type": "websocket.receive", "bytes": data})

    async def closed(self) -> int:
        await until(lambda: self.code, "a close")
        assert self.code is not None
        return self.code


Connected = Callable[..., SealedSocket]


@pytest.fixture
async def connect(site: Site) -> AsyncIterator[Connected]:
    """Give a function that connects a page; it leaves when the test ends."""
    made: list[Socket] = []
    async with asyncio.TaskGroup() as tasks:

        def start(curve: str = "X25519", **given: str) -> SealedSocket:
            socket = SealedSocket(site, curve, **given)
            made.append(socket)
            tasks.create_task(socket.serve())
            return socket

        yield start
        for socket in made:
            socket.leave()


@pytest.mark.parametrize("curve", ["X25519", "P-256"])
@pytest.mark.parametrize("parano", [True, False])
async def test_a_sealed_page_is_served_by_a_parano_app_and_by_any_other(
    site: Site, connect: Connected, curve: str, parano: bool
) -> None:
    site.own(parano=parano)
    socket = connect(curve)
    await socket.ready()
    socket.say_sealed({"htagweb": {"ping": 5}})
    assert await socket.hears(lambda extra: "pong" in extra) == {"pong": 5}


async def test_after_the_key_nothing_is_sent_in_clear_text(site: Site, connect: Connected) -> None:
    site.own(parano=True)
    site.broker.emissions = [Emission(4, GENERATION, UpdatedByApp(RAW, RAW))]
    socket = connect()
    await socket.ready()
    socket.say_sealed({"id": "x"})
    await until(lambda: "err" in socket.messages[-1], "the refusal")
    texts = [message for message in socket.sent[1:] if message.get("text") is not None]
    assert len(texts) == 1


async def test_what_many_send_at_once_is_numbered_in_the_order_in_which_it_goes_out(
    site: Site, connect: Connected
) -> None:
    site.own(parano=True)
    socket = connect()
    await socket.ready()
    for number in range(4, 30):
        site.broker.feed.put_nowait(Emission(number, GENERATION, UpdatedByApp(RAW, RAW)))
        socket.say_sealed({"htagweb": {"ping": number}})
    await until(lambda: len(socket.messages) == 53, "all messages")


@pytest.mark.parametrize("query", [HELLO, ""])
async def test_a_clear_socket_of_a_parano_app_is_refused_with_what_to_do(
    site: Site, connect: Connected, query: str
) -> None:
    site.own(parano=True)
    socket = Socket(site, query)
    await socket.serve()
    assert socket.status == 403
    assert any(b"Load its page again" in message.get("body", b"") for message in socket.sent)
    assert site.broker.of("follow") == []


@pytest.mark.parametrize(
    "query",
    [f"{HELLO}&curve=X25519&key={to_base64url(bytes(32))}", f"{HELLO}&curve=X25519&key=x", f"{HELLO}&key=x"]
    + [f"{HELLO}&curve=X25519&key=", f"{HELLO}&curve=P-521&key=x"],
    ids=["low order", "no key", "no curve", "empty key", "another curve"],
)
async def test_a_wrong_key_is_closed_with_the_code_of_a_wrong_introduction(site: Site, query: str) -> None:
    site.own(parano=True)
    socket = Socket(site, query)
    await socket.serve()
    assert (socket.code, socket.messages) == (BAD_HELLO, [])


async def test_clear_text_on_a_sealed_socket_closes_it(
    site: Site, connect: Connected, caplog: pytest.LogCaptureFixture
) -> None:
    site.own(parano=True)
    socket = connect()
    await socket.ready()
    socket.say({"id": 1, "method": "m"})
    assert await socket.closed() == BAD_SEAL
    assert len(site.broker.of("submit")) <= 1
    assert "a sealed socket was closed: expected a sealed frame, got clear text" in caplog.text


async def test_a_replayed_frame_closes_the_socket(site: Site, connect: Connected) -> None:
    site.own(parano=True)
    socket = connect()
    await socket.ready()
    frame = socket.say_sealed({"htagweb": {"ping": 1}})
    await socket.hears(lambda extra: "pong" in extra)
    socket.say_bytes(frame)
    assert await socket.closed() == BAD_SEAL


@pytest.mark.parametrize("number", [2, 3, 0])
async def test_a_frame_out_of_turn_closes_the_socket(site: Site, connect: Connected, number: int) -> None:
    site.own(parano=True)
    socket = connect()
    await socket.ready()
    socket.say_sealed({"htagweb": {"ping": 1}}, number)
    assert await socket.closed() == BAD_SEAL
    assert not any("pong" in extra for extra in socket.extras)


async def test_an_altered_frame_closes_the_socket_and_nothing_of_it_is_logged(
    site: Site, connect: Connected, caplog: pytest.LogCaptureFixture
) -> None:
    site.own(parano=True)
    socket = connect()
    await socket.ready()
    frame = bytearray(socket.seal.seal('{"secret":"words"}'))
    frame[-1] ^= 1
    socket.say_bytes(bytes(frame))
    assert await socket.closed() == BAD_SEAL
    assert "words" not in caplog.text
    assert "got an altered or a foreign one" in caplog.text


async def test_a_sealed_message_that_is_refused_is_told_sealed_and_not_logged(
    site: Site, connect: Connected, caplog: pytest.LogCaptureFixture
) -> None:
    site.own(parano=True)
    socket = connect()
    await socket.ready()
    socket.say_sealed({"htagweb": {"words": 1}})
    await until(lambda: "unknown field" in socket.messages[-1].get("err", ""), "the refusal")
    assert "a message was refused" in caplog.text
    assert "unknown field" not in caplog.text


async def test_another_pages_frame_closes_the_socket(site: Site, connect: Connected) -> None:
    site.own(parano=True)
    one, two = connect(), connect()
    await one.ready()
    await two.ready()
    two.say_bytes(one.seal.seal('{"htagweb":{"ping":1}}'))
    assert await two.closed() == BAD_SEAL


async def test_a_sealed_message_may_be_as_long_as_one_in_clear_text(site: Site, connect: Connected) -> None:
    site.own(parano=True)
    limit = site.service.settings.max_message_bytes
    socket = connect()
    await socket.ready()
    text = json.dumps({"id": 1, "method": "m", "args": [""]})
    longest = text.replace('""', f'"{"x" * (limit - len(text))}"')
    socket.say_bytes(socket.seal.seal(longest))
    await until(lambda: len(site.broker.of("submit")) == 2, "it was taken")
    frame = socket.seal.seal(f"{longest} ")
    assert len(frame) == limit + OVERHEAD + 1
    socket.say_bytes(frame)
    assert await socket.closed() == TOO_LARGE


async def test_a_page_of_an_earlier_run_is_told_so_sealed(site: Site, connect: Connected) -> None:
    site.own(parano=True)
    socket = connect(query=f"page={PAGE}&generation=9-0123abcd&last=3")
    await socket.agreed()
    assert await socket.closed() == GONE
    assert socket.extras == [{"reload": True}]


async def test_the_last_words_are_sealed(site: Site, connect: Connected) -> None:
    site.own(parano=True)
    socket = connect()
    await socket.ready()
    site.broker.feed.put_nowait(FeedBroken("trimmed"))
    assert await socket.closed() == GONE
    assert socket.extras[-1] == {"reload": True}
