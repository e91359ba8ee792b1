"""Sealed pages on a real installation with two web workers, and pages without a WebSocket."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
import pytest_asyncio
import redis
import websockets

from tests.support.page import PageClient
from tests.support.parano_page import SealedPage
from tests.support.stack import Stack
from tests.support.waiting import until

WORD = "extraordinarily-confidential"
CLEAR = b'{"id":1,"method":"run","args":["x"],"kargs":{},"event":{}}'


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Give an installation with two web workers; its secret is its own."""
    stack = Stack(tmp_path_factory.mktemp("stack"))
    stack.env["HTAGWEB_SECRET"] = "the secret of the web workers"
    try:
        stack.add_supervisor()
        stack.add_worker()
        stack.add_worker()
        yield stack
    finally:
        stack.close()


@pytest_asyncio.fixture(params=["X25519", "P-256"])
async def page(site: Stack, request: pytest.FixtureRequest) -> AsyncIterator[SealedPage]:
    """Give the open page of a new user of a parano app."""
    made = SealedPage(site.workers[0].base, curve=request.param)
    await made.open("/parano")
    yield made
    await made.close()


def shown(message: dict[str, Any]) -> str:
    """Return the text of the last ``pre`` in a message's updates."""
    texts: list[str] = re.findall(r"<pre[^>]*>(.*?)</pre>", json.dumps(message.get("update", {})))
    return texts[-1]


# Sockets


async def test_a_sealed_page_is_clicked_and_hears_updates(page: SealedPage) -> None:
    assert page.config["parano"] is True
    await page.connect()
    assert shown(await page.ask("run", WORD)) == WORD
    await page.ask("tick", 20)
    await until(lambda: page.last >= 22, "20 updates")
    assert page.gaps == []
    assert WORD.encode() not in page.carried


async def test_a_sealed_page_goes_on_at_another_web_worker_with_new_keys(
    site: Stack, page: SealedPage
) -> None:
    await page.connect()
    before = page.seal
    await page.ask("run", "one")
    await page.ask("tick", 10)
    await page.disconnect()
    await page.connect(site.workers[1].base)
    assert page.seal is not before
    assert shown(await page.ask("run", "two")) == "one two"
    assert page.gaps == []


async def test_clear_text_is_refused_for_a_parano_app(page: SealedPage) -> None:
    url = f"ws{page.url[4:]}?page={page.page}&generation={page.config['generation']}&last=0"
    for each in (url, url.partition("?")[0]):
        with pytest.raises(websockets.InvalidStatus) as caught:
            await websockets.connect(each, additional_headers={"Cookie": page.cookie})
        assert caught.value.response.status_code == 403
    response = await page.http.post(page.url, content=CLEAR)
    assert response.status_code == 403
    assert "Load its page again" in response.text


@pytest.mark.parametrize("what", ["clear", "altered", "replayed", "skipped", "short"])
async def test_what_was_not_sealed_next_closes_the_socket(page: SealedPage, what: str) -> None:
    await page.connect()
    await page.ask("run", "one")
    assert page._socket is not None
    text = page.interaction("run", "two")
    first = page.seal.seal(text, page.seal.number)
    following = page.seal.number + 1
    sent: dict[str, str | bytes] = {
        "clear": text,
        "altered": page.seal.seal(text, following)[:-1] + b"\0",
        "replayed": first,
        "skipped": page.seal.seal(text, following + 1),
        "short": page.seal.seal(text, following)[:20],
    }
    await page._socket.send(sent[what])
    await until(lambda: page.close_code == 4422, "the server closes the socket")
    await page.connect()
    assert shown(await page.ask("run", "three")) == "one three"


async def test_a_recorded_connection_cannot_be_sent_again(site: Stack, page: SealedPage) -> None:
    await page.connect()
    recorded = page.seal.seal(page.interaction("run", "bought"), page.seal.number + 1)
    await page.send(page.interaction("run", "bought"))
    await until(lambda: page.actions, "it ran")
    await page.disconnect()
    query = f"page={page.page}&generation={page.config['generation']}&last={page.last}"
    url = f"ws{page.url[4:]}?{query}&curve={page.curve}&key={page.seal.key}"
    async with websockets.connect(url, additional_headers={"Cookie": page.cookie}) as socket:
        await socket.send(recorded)
        await until(lambda: socket.close_code == 4422, "the server closes the socket")


# POST


async def test_a_sealed_channel_goes_on_at_any_web_worker(site: Stack, page: SealedPage) -> None:
    await page.agree()
    said = []
    for turn in range(6):
        page.base = site.workers[turn % 2].base
        said.append(f"{WORD}{turn}")
        assert shown((await page.ask_by_post("run", said[-1]))[-1]) == " ".join(said)
    assert page.gaps == []
    assert WORD.encode() not in page.carried


async def test_a_request_is_taken_by_one_web_worker_and_once(site: Stack, page: SealedPage) -> None:
    await page.agree()
    frame = page.seal.seal(page.interaction("run", "bought"))
    urls = [f"{worker.base}{page.config['url']}" for worker in site.workers] * 4
    headers = {"X-Htagweb-Channel": page.channel}
    answers = await asyncio.gather(*(page.http.post(url, content=frame, headers=headers) for url in urls))
    assert sorted(answer.status_code for answer in answers) == [200] + [422] * 7
    assert shown((await page.ask_by_post("run", "and more"))[-1]) == "bought and more"


async def test_what_was_altered_or_is_of_no_channel_is_refused(page: SealedPage) -> None:
    await page.agree()
    frame = page.seal.seal(page.interaction("run", "x"))
    assert (await page.send_frame(frame[:-1] + bytes([frame[-1] ^ 1]))).status_code == 422
    known = page.channel
    page.channel = f"1-{'x' * 22}"
    assert (await page.send_frame(frame)).status_code == 409
    page.channel = known
    assert (await page.send_frame(frame)).status_code == 200


async def test_neither_logs_nor_the_broker_show_what_was_said_or_with_which_keys(
    site: Stack, page: SealedPage
) -> None:
    await page.agree()
    await page.ask_by_post("run", WORD)
    keys = [page.seal._to_server, page.seal._from_server]
    await page.send_frame(b"x" * 40)
    log = site.workers[0].process
    await until(lambda: "a POST was refused" in log.text(), "the refusal is in the log")
    text = "".join(each.text() for each in (*(worker.process for worker in site.workers), site.supervisor))
    assert WORD not in text
    for key in keys:
        assert key.hex() not in text
        assert repr(key)[2:-1] not in text
    with redis.Redis(unix_socket_path=str(site.server.path)) as client:
        seals = [client.hgetall(name) for name in client.scan_iter("*:seal:*")]
    assert {b"channel", b"keys", b"number", b"run"} == {field for seal in seals for field in seal}
    assert not any(key in value for key in keys for seal in seals for value in seal.values())


# Without a WebSocket, in clear text


@pytest_asyncio.fixture
async def posting(site: Stack) -> AsyncIterator[SealedPage]:
    """Give the open page of a new user of an app without WebSockets; it seals nothing."""
    made = SealedPage(site.workers[0].base)
    await made.open("/http-only")
    yield made
    await made.close()


async def test_a_page_may_send_its_next_click_when_the_one_before_has_its_headers(
    posting: SealedPage,
) -> None:
    page = posting
    slow = page.http.stream("POST", page.url, content=page.interaction("wait", "slow", 1.0))
    async with slow as first:
        assert first.status_code == 200, "the headers are there, the answer is not"
        quick = (await page.http.post(page.url, content=page.interaction("run", "quick"))).json()
        messages = json.loads(await first.aread())
    assert shown(quick[-1]) == "quick"
    assert shown(messages[-1]) == "quick slow"
    numbers = [message["htagweb"]["n"] for message in messages]
    assert numbers == [1, 2], "what happened meanwhile came too"


async def test_a_page_gets_what_other_tabs_did(posting: SealedPage) -> None:
    other = PageClient(posting.base, posting.http)
    await other.open("/http-only")
    response = await other.post("run", "theirs")
    assert response.status_code == 200
    messages = (await posting.http.post(posting.url, content=posting.interaction("run", "mine"))).json()
    assert [shown(message) for message in messages] == ["theirs", "theirs mine"]
    assert "answers" not in messages[0]["htagweb"]
    hello = {"page": other.page, "generation": other.config["generation"], "last": 1}
    missed = (await posting.http.post(posting.url, json={"htagweb": hello})).json()
    assert [message["htagweb"]["n"] for message in missed] == [2]


async def test_a_click_whose_web_worker_dies_is_sent_again_and_runs_once(site: Stack) -> None:
    worker = site.add_worker()
    page = SealedPage(worker.base)
    await page.open("/http-only")
    body = page.interaction("wait", "once", 0.5)
    with pytest.raises(httpx.HTTPError):
        async with page.http.stream("POST", page.url, content=body) as response:
            assert response.status_code == 200
            worker.process.kill()
            await response.aread()
    site.workers.remove(worker)  # other tests go to all of them
    worker.close()
    page.base = site.workers[0].base
    messages = (await page.http.post(page.url, content=body)).json()
    assert shown(messages[-1]) == "once"
    assert messages[-1]["htagweb"]["answers"] == 1
    assert shown((await page.http.post(page.url, content=page.interaction("run", "end"))).json()[-1]) == (
        "once end"
    )
    await page.close()
