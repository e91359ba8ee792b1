"""A page is there when all of its body is, with the cookies that a browser would send back."""

from __future__ import annotations

import asyncio

import pytest

from benchmarks.load import http
from benchmarks.load.errors import BadAnswer, NotReady
from benchmarks.load.http import get
from tests.benchmarks.load.site import Site


class Answer(Site):
    """A server that sends exactly these reads."""

    def __init__(self, *reads: bytes) -> None:
        super().__init__()
        self._reads = reads

    def serve(self) -> list[bytes]:
        """Return what the client reads."""
        return [*self._reads]


def body_of(text: str, *headers: str) -> bytes:
    """Return an answer with status 200."""
    body = text.encode()
    lines = ["HTTP/1.1 200 OK", "Content-Type: text/html", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def test_a_page_has_its_body_in_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    Answer(body_of("<b>é€</b>")).install(monkeypatch)
    assert (await get(8000, "/")).body == "<b>é€</b>"


async def test_a_page_that_comes_in_pieces_is_waited_for_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = body_of("x" * 1000)
    Answer(*(whole[at : at + 11] for at in range(0, len(whole), 11))).install(monkeypatch)
    assert (await get(8000, "/")).body == "x" * 1000


async def test_the_wait_ends_when_all_of_the_page_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 10.0

    class LateAnswer(Answer):
        def serve(self) -> list[bytes]:
            nonlocal now
            now += 0.25
            return super().serve()

    monkeypatch.setattr(http, "monotonic", lambda: now)
    LateAnswer(body_of("page")).install(monkeypatch)
    assert (await get(8000, "/")).wait == 0.25


async def test_cookies_come_back_without_their_attributes(monkeypatch: pytest.MonkeyPatch) -> None:
    set_one = "set-cookie: session=a-1; Path=/; HttpOnly; SameSite=lax"
    Answer(body_of("", set_one, "Set-Cookie: other=b")).install(monkeypatch)
    assert (await get(8000, "/")).cookies == "session=a-1; other=b"


async def test_a_page_that_sets_no_cookie_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    Answer(body_of("set-cookie: no=header")).install(monkeypatch)
    assert (await get(8000, "/")).cookies == ""


async def test_a_request_names_path_host_and_cookies(monkeypatch: pytest.MonkeyPatch) -> None:
    site = Answer(body_of(""))
    site.install(monkeypatch)
    await get(8000, "/a?b", "session=a; other=b")
    (request,) = site.requests
    assert (request.path, request.headers["Host"]) == ("/a?b", "127.0.0.1:8000")
    assert request.headers["Cookie"] == "session=a; other=b"


async def test_a_new_user_sends_no_cookie(monkeypatch: pytest.MonkeyPatch) -> None:
    site = Answer(body_of(""))
    site.install(monkeypatch)
    await get(8000, "/")
    assert "Cookie" not in site.requests[0].headers


async def test_the_connection_is_closed_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    site = Answer(body_of(""))
    site.install(monkeypatch)
    await get(8000, "/")
    assert site.peer.is_closing()


async def test_a_server_that_is_not_ready_is_told_from_one_that_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Answer(b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 3\r\n\r\n").install(monkeypatch)
    with pytest.raises(NotReady, match="503"):
        await get(8000, "/")


@pytest.mark.parametrize(
    "head",
    [b"HTTP/1.1 500 Oh\r\ncontent-length: 0", b"HTTP/1.1 302 Found\r\ncontent-length: 0", b"HTTP/1.1 200 OK"],
)
async def test_another_status_or_no_length_is_no_page(monkeypatch: pytest.MonkeyPatch, head: bytes) -> None:
    Answer(head + b"\r\n\r\n").install(monkeypatch)
    with pytest.raises(BadAnswer, match="expected 200") as caught:
        await get(8000, "/")
    assert not isinstance(caught.value, NotReady)


async def test_a_page_that_does_not_come_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "PATIENCE_S", 0.01)
    Answer(body_of("half")[:-2]).install(monkeypatch)
    with pytest.raises(BadAnswer, match="none came"):
        await get(8000, "/")


async def test_who_is_not_there_is_told_as_such() -> None:
    refused = asyncio.get_running_loop().create_server(asyncio.Protocol, http.HOST, 0)
    server = await refused
    port: int = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    with pytest.raises(ConnectionRefusedError):
        await get(port, "/")
