"""Faults that were found once and must not come back."""

import asyncio

import pytest
from htagweb_broker import BrokerUnavailable
from starlette.datastructures import QueryParams
from starlette.requests import HTTPConnection, Request

from htagweb.web import wire
from htagweb.web.origin import is_same_origin
from htagweb.web.wire import WireError
from tests.unit.web.harness import GENERATION, PAGE, Site, Socket


async def test_a_binary_message_is_refused_and_the_socket_stays(site: Site) -> None:
    site.own()
    socket = Socket(site, f"page={PAGE}&generation={GENERATION}&last=3")
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(socket.serve())
        await socket.hears(lambda extra: extra.get("ready"))
        socket.put({"type": "websocket.receive", "bytes": b"\0"})
        socket.say({"htagweb": {"ping": 1}})
        await socket.hears(lambda extra: "pong" in extra)
        socket.leave()
    assert any("err" in message for message in socket.messages)


@pytest.mark.parametrize("origin", ["http://[bad", "http://[::1"])
def test_an_origin_that_is_no_address_is_another(origin: str) -> None:
    headers = [(b"host", b"site"), (b"origin", origin.encode())]
    assert not is_same_origin(HTTPConnection({"type": "http", "headers": headers}))


def test_an_opaque_origin_is_another_where_no_host_is_said() -> None:
    assert not is_same_origin(HTTPConnection({"type": "http", "headers": [(b"origin", b"null")]}))


@pytest.mark.parametrize("name", ["page", "generation"])
def test_a_line_end_is_no_part_of_an_introduction(name: str) -> None:
    given = {"page": PAGE, "generation": GENERATION, "last": "1"}
    with pytest.raises(WireError):
        wire.parse_hello(QueryParams({**given, name: f"{given[name]}\n"}))


async def test_a_broker_that_goes_away_before_the_session_is_saved_is_told_as_such(site: Site) -> None:
    def work(request: Request) -> None:
        request.session["a"] = 1

    site.endpoint("/set", work)
    site.broker.errors["write"] = BrokerUnavailable("away")
    response = await site.get("/set")
    assert response.status_code == 503
    assert response.headers["retry-after"] == "3"
