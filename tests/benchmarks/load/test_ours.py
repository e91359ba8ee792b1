"""The load speaks this project's wire: its page, its socket's address, its messages, by their own code."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Any

import msgspec
import pytest
from htagweb_broker import Answered, Emission, UpdatedByApp
from starlette.datastructures import QueryParams

from benchmarks.apps.counter import App
from benchmarks.load import websocket
from benchmarks.load.errors import BadAnswer
from benchmarks.load.users.htag import HtagUser
from htagweb.host.engines import Actions
from htagweb.host.engines.htag1 import Htag1Engine
from htagweb.host.frames import decode_call
from htagweb.web import pages, wire
from tests.benchmarks.load.site import Site
from tests.support.waiting import until

GENERATION = "1-e2aead31"


class Ours(Site):
    """One app of this project without its processes: what they say is made by their code."""

    cookie = "htagweb_session=sFJaVkcXAKNy_.cuv"

    def __init__(self) -> None:
        super().__init__()
        self.emissions = 0
        self.engine = Htag1Engine(App, [], {}, {}, debug=False, on_update=self._publish, on_exit=lambda: None)
        self.greetings: tuple[str, ...] = (wire.own(ready=True),)

    @property
    def document(self) -> str:
        """The page as the web worker serves it."""
        config: dict[str, object] = {"url": "/_/counter.App", "generation": GENERATION}
        config |= {"last": self.emissions, "ping_s": 25, "max_message_bytes": 1048576}
        return bytes(pages.app_page(self.engine.render(), "", config).body).decode()

    @property
    def greeting(self) -> tuple[bytes, ...]:
        """What the web worker says to a page that is there."""
        return tuple(each.encode() for each in self.greetings)

    @property
    def hello(self) -> wire.Hello:
        """How the page introduced its WebSocket."""
        hello = wire.parse_hello(QueryParams(self.requests[-1].path.partition("?")[2]))
        assert hello is not None
        return hello

    def tell(self, action: Answered | UpdatedByApp) -> None:
        """Send an action to the page."""
        self.emissions += 1
        emission = Emission(self.emissions, GENERATION, action)
        self.peer.say(wire.render(emission, self.hello.page).encode())

    async def _publish(self, actions: Actions) -> bool:
        self.tell(UpdatedByApp(_raw(actions.dom), _raw(actions.scripts)))
        return True

    async def carry_out(self, number: int) -> None:
        """Have the app answer the page's interaction of this number, when it is there."""
        await until(lambda: len(self.heard) >= number, f"interaction {number} is there")
        message = wire.parse_message(self.heard[number - 1])
        assert message.htagweb == wire.Extra(n=number)
        actions = await self.engine.interact(decode_call(wire.call_of(message)))
        self.tell(Answered(self.hello.page, number, _raw(actions.dom), _raw(actions.scripts)))


def _raw(value: dict[str, Any]) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))


@pytest.fixture
async def ours(monkeypatch: pytest.MonkeyPatch) -> Ours:
    """Give an app."""
    made = Ours()
    made.install(monkeypatch)
    return made


@pytest.fixture
async def user(ours: Ours) -> HtagUser:
    """Give a user whose page is connected."""
    made = HtagUser(8000)
    await made.open()
    await made.connect()
    return made


async def click(user: HtagUser, ours: Ours, number: int) -> float:
    """Click, and have the app answer; return the wait."""
    async with asyncio.TaskGroup() as tasks:
        clicking = tasks.create_task(user.click())
        await ours.carry_out(number)
    return clicking.result()


async def test_a_click_is_an_interaction_that_the_app_answers_with_the_next_number(
    user: HtagUser, ours: Ours
) -> None:
    for number in (1, 2, 3):
        assert await click(user, ours, number) > 0
    assert 'class="number"' in ours.document
    assert ">3<" in ours.document


async def test_a_page_that_is_loaded_again_is_another_page_and_goes_on(user: HtagUser, ours: Ours) -> None:
    before = ours.hello
    await click(user, ours, 1)
    await user.open()
    await user.connect()
    assert (ours.hello.generation, ours.hello.last) == (GENERATION, 1)
    assert ours.hello.page != before.page
    assert [request.headers.get("Cookie") for request in ours.requests] == [None, *[ours.cookie] * 3]
    ours.heard.clear()
    await click(user, ours, 1)  # each page numbers its interactions from 1
    assert ">2<" in ours.document


async def test_every_update_is_measured_and_the_answer_to_the_push_is_none(
    user: HtagUser, ours: Ours
) -> None:
    began = monotonic()
    await user.push(3, 0.0)
    await ours.carry_out(1)
    waits = [await user.next_push() for _ in range(3)]
    assert all(wait is not None and 0 <= wait <= monotonic() - began for wait in waits)
    assert await user.next_push() is None


async def test_a_page_is_ready_when_it_is_told_so_and_not_before(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = Ours()
    ours.greetings = (wire.own(waiting=True, text="Waiting for it…"),)
    ours.install(monkeypatch)
    monkeypatch.setattr(websocket, "PATIENCE_S", 0.01)
    user = HtagUser(8000)
    await user.open()
    with pytest.raises(BadAnswer, match="none came"):
        await user.connect()


@pytest.mark.parametrize(
    "said", [wire.stale(), wire.own(reload=True), wire.ended("crashed"), wire.refusal("No.")]
)
async def test_a_page_that_cannot_become_ready_is_told_with_its_words(
    monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    ours = Ours()
    ours.greetings = (said, wire.own(ready=True))
    ours.install(monkeypatch)
    user = HtagUser(8000)
    await user.open()
    with pytest.raises(BadAnswer, match="expected a page that is ready"):
        await user.connect()


async def test_a_refused_interaction_is_told_with_its_words(user: HtagUser, ours: Ours) -> None:
    ours.instead.append([wire.refusal("The message was refused.", ours.hello.page, 1).encode()])
    with pytest.raises(BadAnswer, match="The message was refused"):
        await user.click()
