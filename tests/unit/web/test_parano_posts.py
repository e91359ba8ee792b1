"""Sealed POSTs: the handshake, one answer under a request's number, and what is refused."""

import asyncio
import json
from typing import Any

import httpx
import msgspec
import pytest
from htagweb_broker import Answered, BrokerUnavailable, Connect, Emission

from htagweb.web.exchanges import SealedExchange
from htagweb.web.sealing import TrafficKeys
from tests.support.seal import PageSeal, to_base64url
from tests.support.waiting import until
from tests.unit.web.harness import APP, GENERATION, PAGE, Post, Site

RAW = msgspec.Raw(b"{}")
HELLO = {"htagweb": {"page": PAGE, "generation": GENERATION, "last": 3}}
INTERACTION = {"id": 1, "method": "m", "htagweb": {**HELLO["htagweb"], "n": 7}}
ANSWER = Emission(4, GENERATION, Answered(PAGE, 7, RAW, RAW))
OCTETS = "application/octet-stream"


class Channel:
    """A page's sealed channel."""

    def __init__(self, site: Site, seal: PageSeal, name: str) -> None:
        self._site = site
        self.seal = seal
        self.name = name

    @property
    def headers(self) -> dict[str, str]:
        return {"X-Htagweb-Channel": self.name, "content-type": OCTETS}

    async def send(self, frame: bytes, **more: Any) -> httpx.Response:
        return await self._site.post(frame, **more, **self.headers)

    async def ask(self, message: Any, number: int | None = None) -> Any:
        """Send a message sealed; return the answer."""
        response = await self.send(self.seal.seal(json.dumps(message), number))
        assert (response.status_code, response.headers["content-type"]) == (200, OCTETS), response.text
        answered, text = self.seal.open(response.content)
        assert answered == (number or self.seal.number)
        return json.loads(text)


async def agreed(site: Site, curve: str = "X25519", path: str = f"/_/{APP}") -> Channel:
    seal = PageSeal(curve)
    response = await site.post({"htagweb": {"curve": curve, "key": seal.key}}, path)
    assert response.status_code == 200, response.text
    (extra,) = response.json().values()
    seal.agree(extra["key"])
    return Channel(site, seal, extra["channel"])


@pytest.mark.parametrize("curve", ["X25519", "P-256"])
@pytest.mark.parametrize("parano", [True, False])
async def test_a_sealed_page_is_answered_by_a_parano_app_and_by_any_other(
    site: Site, curve: str, parano: bool
) -> None:
    site.own(parano=parano)
    channel = await agreed(site, curve)
    assert await channel.ask(HELLO) == []
    site.broker.emissions = [ANSWER]
    (message,) = await channel.ask(INTERACTION)
    assert message["htagweb"]["answers"] == 7


async def test_a_sealed_response_starts_before_its_answer_is_there(site: Site) -> None:
    site.own(parano=True)
    channel = await agreed(site)
    post = Post(site, channel.seal.seal(json.dumps(INTERACTION)), **channel.headers)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(post.serve())
        assert (await post.started())["status"] == 200
        assert post.body == b""
        site.broker.emissions = [ANSWER]
    assert channel.seal.open(post.body)[0] == 1


async def test_a_client_without_numbers_gets_one_sealed_action(site: Site) -> None:
    site.own(parano=True)
    channel = await agreed(site)
    async with asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(channel.ask({"id": 1}))
        await until(lambda: site.broker.of("submit"), "a submission")
        (interact,) = site.broker.of("submit")[-1]
        site.broker.emissions = [Emission(4, GENERATION, Answered(interact.page, 1, RAW, RAW))]
    assert asking.result()["htagweb"]["n"] == 4


# Clear text


@pytest.mark.parametrize("message", [{"id": 1}, INTERACTION, HELLO])
async def test_clear_text_for_a_parano_app_is_refused_with_what_to_do(site: Site, message: Any) -> None:
    site.own(parano=True)
    response = await site.post(message)
    assert response.status_code == 403
    assert "Load its page again" in response.text
    assert site.broker.of("submit") == []


async def test_clear_text_on_a_channel_is_refused(site: Site) -> None:
    site.own(parano=True)
    channel = await agreed(site)
    assert (await channel.send(json.dumps(INTERACTION).encode())).status_code == 422
    assert site.broker.of("submit") == []


# Numbers


async def test_a_number_may_be_left_out_but_none_comes_back(site: Site) -> None:
    site.own(parano=True)
    channel = await agreed(site)
    for number, status in ((3, 200), (2, 422), (3, 422), (10, 200), (10, 422)):
        response = await channel.send(channel.seal.seal(json.dumps(HELLO), number))
        assert response.status_code == status


async def test_a_replayed_request_is_refused_and_does_nothing(site: Site) -> None:
    site.own(parano=True)
    channel = await agreed(site)
    frame = channel.seal.seal(json.dumps(HELLO))
    await channel.send(frame)
    response = await channel.send(frame)
    assert (response.status_code, site.broker.of("submit")) == (422, [(Connect(GENERATION),)])


async def test_an_altered_request_is_refused_and_uses_no_number_up(site: Site) -> None:
    site.own(parano=True)
    channel = await agreed(site)
    frame = channel.seal.seal(json.dumps(HELLO))
    for altered in (frame[:-1], frame + b"x", frame[:7] + b"\x09" + frame[8:], b"", bytes(24)):
        assert (await channel.send(altered)).status_code == 422
    assert (await channel.send(frame)).status_code == 200


async def test_a_number_that_may_be_taken_or_not_is_answered_in_clear_text_alone(site: Site) -> None:
    site.own(parano=True)
    channel = await agreed(site)
    site.broker.errors["take_number"] = BrokerUnavailable("its answer got lost")
    response = await channel.send(channel.seal.seal(json.dumps(HELLO)))
    assert (response.status_code, response.text) == (503, "The server is not ready.")
    assert site.broker.of("submit") == []


def test_an_exchange_seals_one_answer_and_no_second() -> None:
    exchange = SealedExchange("asked", TrafficKeys(b"a" * 32, b"b" * 32), 3)
    exchange.answer("one")
    with pytest.raises(RuntimeError, match="expected one answer"):
        exchange.answer("one")


@pytest.mark.parametrize(
    "message", [{"id": "secret"}, {}, {"htagweb": {"secret": 1}}, HELLO | {"id": "secret"}]
)
async def test_what_is_no_interaction_is_refused_without_telling_what_was_in_it(
    site: Site, message: Any, caplog: pytest.LogCaptureFixture
) -> None:
    site.own(parano=True)
    channel = await agreed(site)
    response = await channel.send(channel.seal.seal(json.dumps(message)))
    assert response.status_code == 400
    assert "secret" not in response.text + caplog.text


# Channels


@pytest.mark.parametrize("name", ["", "unknown", "1-" + "x" * 22])
async def test_an_unknown_channel_is_told_so(site: Site, name: str) -> None:
    site.own(parano=True)
    channel = await agreed(site)
    channel.name = name
    response = await channel.send(channel.seal.seal(json.dumps(HELLO)))
    assert response.status_code == 409


async def test_a_channel_that_is_forgotten_between_two_looks_is_told_so(site: Site) -> None:
    site.own(parano=True)
    channel = await agreed(site)
    site.monkeypatch.setattr(site.broker.seals, "take", _forgotten)
    assert (await channel.send(channel.seal.seal(json.dumps(HELLO)))).status_code == 409


async def _forgotten(session: str, channel: str, number: int) -> str:
    return "unknown"


async def test_a_channel_is_of_one_app_alone(site: Site) -> None:
    site.own(parano=True)
    channel = await agreed(site)
    response = await channel.send(channel.seal.seal(json.dumps(HELLO)), path="/_/m.Other")
    assert response.status_code == 409


async def test_a_channel_is_of_one_session_alone(site: Site) -> None:
    site.own(parano=True)
    channel = await agreed(site)
    wrapped = site.broker.seals.wrapped
    stolen = {("other", name): keys for (_, name), keys in wrapped.items()}
    wrapped.clear()
    wrapped.update(stolen)
    assert (await channel.send(channel.seal.seal(json.dumps(HELLO)))).status_code == 409


async def test_the_broker_gets_no_key_in_clear(site: Site) -> None:
    site.own(parano=True)
    channel = await agreed(site)
    (wrapped,) = site.broker.seals.wrapped.values()
    assert channel.seal._to_server not in wrapped
    assert channel.seal._from_server not in wrapped


async def test_a_channel_goes_on_when_the_secret_is_changed_and_the_old_one_stays_known(site: Site) -> None:
    site.own(parano=True)
    channel = await agreed(site)
    site.service._secret = "new,secret"
    assert await channel.ask(HELLO) == []
    site.service._secret = "new"
    assert (await channel.send(channel.seal.seal(json.dumps(HELLO)))).status_code == 409


# The handshake


@pytest.mark.parametrize(
    "extra",
    [{"curve": "X25519", "key": to_base64url(bytes(32))}, {"curve": "X25519", "key": "x"}, {"key": "x"}]
    + [{"curve": "P-521", "key": "x"}, {"curve": "P-256", "key": to_base64url(b"\4" + bytes(64))}],
)
async def test_a_wrong_key_is_refused_with_what_was_expected(site: Site, extra: dict[str, str]) -> None:
    site.own(parano=True)
    response = await site.post({"htagweb": extra})
    assert response.status_code == 400
    assert "expected" in response.text
    assert site.broker.of("keep_seal") == []


async def test_nobody_agrees_with_a_stranger_or_with_another_site(site: Site) -> None:
    body = {"htagweb": {"curve": "X25519", "key": PageSeal().key}}
    assert (await site.post(body)).status_code == 404
    site.own(parano=True)
    assert (await site.post(body, origin="https://evil.org")).status_code == 403
    assert site.broker.of("keep_seal") == []


@pytest.mark.parametrize("verb", ["keep_seal", "read_seal"])
async def test_a_broker_that_is_away_is_told_in_plain_text(site: Site, verb: str) -> None:
    site.own(parano=True)
    channel = await agreed(site)
    site.broker.errors[verb] = BrokerUnavailable("away")
    frame = channel.seal.seal(json.dumps(HELLO))
    body = {"htagweb": {"curve": "X25519", "key": PageSeal().key}}
    response = await (site.post(body) if verb == "keep_seal" else channel.send(frame))
    assert response.status_code == 503


async def test_a_sealed_message_may_be_as_long_as_one_in_clear_text(site: Site) -> None:
    site.own(parano=True)
    channel = await agreed(site)
    limit = site.service.settings.max_message_bytes
    longest = json.dumps(HELLO).ljust(limit)
    assert (await channel.send(channel.seal.seal(longest))).status_code == 200
    assert (await channel.send(channel.seal.seal(f"{longest} "))).status_code == 413
