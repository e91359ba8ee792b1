"""A user of each wire sees its number and nothing else, and measures until its frame was there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest
from websockets.frames import Opcode

from benchmarks.load import http, websocket
from benchmarks.load.errors import BadAnswer
from benchmarks.load.users import WIRES, User, counter, streamlit
from benchmarks.load.users.counter import Counter as CounterUser
from tests.benchmarks.load.wires import TIMES, Counter, Floor, Htag2, NiceGui, Release, Streamlit

KINDS: list[type[Counter]] = [Release, Htag2, NiceGui, Streamlit, Floor]
HELLO = {Htag2: 0, Release: 0, Floor: 0, NiceGui: 1, Streamlit: 1}
"""How many messages a user sends before its first click."""


@pytest.fixture
def site(kind: type[Counter]) -> Iterator[Counter]:
    """Give a contestant."""
    made = kind()
    yield made
    if isinstance(made, Floor):
        made.close()


@pytest.fixture
async def user(site: Counter, monkeypatch: pytest.MonkeyPatch) -> User:
    """Give a user whose page is connected."""
    site.install(monkeypatch)
    made = site.kind(8000)
    await made.open()
    await made.connect()
    return made


of_each = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
of_web_pages = pytest.mark.parametrize("kind", [Release, Htag2, Floor], ids=lambda kind: kind.__name__)
with_updates = pytest.mark.parametrize("kind", [Htag2, NiceGui], ids=lambda kind: kind.__name__)


def test_there_is_a_contestant_for_each_wire() -> None:
    assert {kind.kind for kind in KINDS} == {*WIRES.values()}


# Clicks


@of_each
async def test_a_click_is_what_the_contestant_takes_for_one(user: User, site: Counter) -> None:
    for _ in range(12):  # two digits too: ">1<" is not in ">11<"
        await user.click()
    assert site.number == 12
    assert len(site.heard) == HELLO[type(site)] + 12


@of_each
async def test_a_click_is_measured_until_its_frame_was_there(
    user: User, site: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counter, "monotonic", lambda: 10.0)
    monkeypatch.setattr(websocket, "monotonic", lambda: 10.25)
    assert await user.click() == 0.25


@of_each
async def test_what_shows_no_number_is_passed_over(user: User, site: Counter) -> None:
    site.instead.append([site.other, *site.shows(1)])
    await user.click()


@of_each
@pytest.mark.parametrize("number", [0, 2, 11, 10])
async def test_another_number_than_the_next_is_wrong(user: User, site: Counter, number: int) -> None:
    site.instead.append(site.shows(number))
    with pytest.raises(BadAnswer, match="expected the number 1, got"):
        await user.click()


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.failure], ids=lambda kind: kind.__name__)
async def test_a_failure_of_the_app_is_told_with_its_words(user: User, site: Counter) -> None:
    site.instead.append([site.failure])
    with pytest.raises(BadAnswer, match=re.escape(repr(site.failure))):
        await user.click()


@of_each
async def test_an_answer_that_does_not_come_is_given_up(
    user: User, site: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket, "PATIENCE_S", 0.01)
    site.instead.append([site.other])
    with pytest.raises(BadAnswer, match="none came"):
        await user.click()


@of_each
async def test_a_click_before_the_page_is_connected_is_refused(kind: type[Counter]) -> None:
    with pytest.raises(BadAnswer, match="before it is connected"):
        await kind.kind(8000).click()


@of_each
async def test_a_user_who_left_has_closed_and_cannot_click(user: User, site: Counter) -> None:
    await user.close()
    await user.close()
    assert site.peer.heard_code == 1000
    with pytest.raises(BadAnswer, match="before it is connected"):
        await user.click()


# Pages


@of_web_pages
async def test_a_page_that_is_loaded_again_goes_on_from_its_number(user: User, site: Counter) -> None:
    for _ in range(3):
        await user.click()
    await user.open()
    await user.connect()
    await user.click()
    assert site.number == 4


@pytest.mark.parametrize("kind", [NiceGui, Streamlit], ids=lambda kind: kind.__name__)
async def test_a_page_that_is_new_with_each_load_counts_from_the_start(user: User, site: Counter) -> None:
    await user.click()
    await user.open()
    await user.connect()
    site.number = 0
    await user.click()
    assert site.number == 1


@of_each
async def test_a_page_that_is_loaded_again_leaves_the_old_one(user: User, site: Counter) -> None:
    before = site.peer
    await user.open()
    assert before.heard_code == 1000


@of_web_pages
async def test_the_cookie_of_the_first_page_is_sent_from_then_on(user: User, site: Counter) -> None:
    await user.open()
    await user.connect()
    sent = [request.headers.get("Cookie") for request in site.requests]
    assert sent == [None, *[site.cookie] * 3]  # the page, its WebSocket, and both again


@pytest.mark.parametrize(
    ("kind", "path"),
    [(Release, "/_/counter.App"), (Htag2, "/ws"), (Floor, "/_ws"), (Streamlit, "/_stcore/stream")],
    ids=lambda value: getattr(value, "__name__", ""),
)
async def test_a_page_connects_where_its_script_would(user: User, site: Counter, path: str) -> None:
    assert [request.path for request in site.requests] == ["/", path]


@of_each
async def test_another_page_than_the_counter_is_refused(
    site: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    if isinstance(site, Streamlit):
        monkeypatch.setattr(Streamlit, "drawn", Streamlit.drawn[:1])  # its page is the same for each script
    else:
        monkeypatch.setattr(type(site), "document", "<body>It works!</body>")
    site.install(monkeypatch)
    user = site.kind(8000)
    with pytest.raises(BadAnswer, match=r"expected .*(number|query|button)"):
        await user.open()


@of_each
async def test_a_page_is_measured_until_all_of_it_was_there(
    site: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.install(monkeypatch)
    monkeypatch.setattr(http, "monotonic", iter([5.0, 5.25]).__next__)
    monkeypatch.setattr(streamlit, "monotonic", lambda: 10.0)
    monkeypatch.setattr(websocket, "monotonic", lambda: 10.5)
    run_s = 0.5 if isinstance(site, Streamlit) else 0.0  # its document is empty before its first run
    assert await site.kind(8000).open() == 0.25 + run_s


# Updates


@pytest.mark.parametrize("kind", [Release, Htag2, NiceGui, Floor], ids=lambda kind: kind.__name__)
def test_the_time_is_found_in_what_is_pushed_and_in_nothing_else(site: Counter) -> None:
    pattern = site.kind.pushed  # type: ignore[attr-defined]
    assert not [each for each in [site.other, *site.shows(7), *site.greeting] if pattern.search(each)]


@with_updates
async def test_each_update_is_measured_from_the_apps_clock(
    user: User, site: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket, "monotonic", lambda: 45560.0)
    for _ in range(2):  # and nothing of the first is left that could end the second
        site.instead.append(site.pushes())
        await user.push(3, 0.01)
        waits = [await user.next_push() for _ in TIMES]
        assert waits == [45560.0 - float(text) for text in TIMES]
        assert await user.next_push() is None


@with_updates
async def test_updates_that_became_one_end_with_the_last_of_them(
    user: User, site: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket, "PATIENCE_S", 0.5)
    one_time, end = site.pushes()[-2:]
    site.instead.append([one_time, end])
    await user.push(200, 0.0)
    assert await user.next_push() is not None
    assert await user.next_push() is None
    assert await user.next_push() is None
    await user.click()
    assert site.number == 1  # nothing of it was left to be taken for an answer


@with_updates
async def test_a_failure_in_place_of_an_update_is_told(user: User, site: Counter) -> None:
    site.instead.append([site.failure])
    await user.push(3, 0.0)
    with pytest.raises(BadAnswer, match="expected a pushed update"):
        await user.next_push()


@of_each
async def test_where_nothing_is_pushed_there_is_no_update(user: User, site: Counter) -> None:
    assert isinstance(user, CounterUser)
    assert await user.next_push() is None


@pytest.mark.parametrize("kind", [Htag2], ids=["Htag2"])
async def test_a_push_of_htag2_is_an_event_of_its_element(user: User, site: Counter) -> None:
    site.instead.append(())
    await user.push(3, 0.25)
    event = json.loads(site.heard[-1])
    assert (event["id"], event["event"]) == (Htag2.pusher, "push")
    assert (event["data"]["count"], event["data"]["pause_s"]) == (3, 0.25)


@pytest.mark.parametrize("kind", [NiceGui], ids=["NiceGui"])
async def test_a_push_of_nicegui_has_its_arguments_as_json_texts(user: User, site: Counter) -> None:
    site.instead.append(())
    await user.push(3, 0.25)
    (name, event) = json.loads(site.heard[-1].removeprefix(b"42"))
    assert (name, event["id"], event["listener_id"]) == ("event", 7, NiceGui.push)
    assert [json.loads(argument) for argument in event["args"]] == [3, 0.25]


# What only one of them does


@pytest.mark.parametrize("kind", [Floor], ids=["Floor"])
async def test_each_update_of_the_floor_is_counted(user: User, site: Counter) -> None:
    await user.push(3, 0.0)
    waits = [await user.next_push() for _ in range(3)]
    assert all(wait is not None and 0 <= wait < 10 for wait in waits)
    assert await user.next_push() is None


@pytest.mark.parametrize("kind", [NiceGui], ids=["NiceGui"])
async def test_nicegui_is_told_who_comes_and_from_which_page(user: User, site: Counter) -> None:
    path, _, query = site.requests[-1].path.partition("?")
    assert (site.requests[0].path, path) == ("/", "/_nicegui_ws/socket.io/")
    parts = query.split("&")
    expected = {f"client_id={NiceGui.client}", "next_message_id=0", "implicit_handshake=true"}
    assert expected | {"EIO=4", "transport=websocket"} <= {*parts}


@pytest.mark.parametrize("kind", [NiceGui], ids=["NiceGui"])
async def test_a_ping_of_engine_io_is_answered_and_is_no_message(user: User, site: Counter) -> None:
    site.instead += [[b"2", *site.shows(1)], []]
    await user.click()
    assert site.heard[-1] == b"3"


@pytest.mark.parametrize("kind", [NiceGui], ids=["NiceGui"])
async def test_a_page_that_nicegui_does_not_connect_is_told(
    site: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.install(monkeypatch)
    user = site.kind(8000)
    await user.open()
    site.instead.append([site.failure])
    with pytest.raises(BadAnswer, match="rejected by server"):
        await user.connect()


@pytest.mark.parametrize("kind", [Streamlit], ids=["Streamlit"])
async def test_a_streamlit_user_waits_for_the_end_of_the_run_before_the_next_click(
    user: User, site: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket, "PATIENCE_S", 0.01)
    assert isinstance(site, Streamlit)
    run = site.run(1)
    site.instead.append(run[: run.index(site.finished)])
    with pytest.raises(BadAnswer, match="none came"):
        await user.click()


@pytest.mark.parametrize("kind", [Streamlit], ids=["Streamlit"])
async def test_streamlit_hears_binary_messages_over_its_subprotocol(user: User, site: Counter) -> None:
    await user.click()
    assert {frame.opcode for frame in site.peer.frames} == {Opcode.BINARY}
    assert site.requests[-1].headers["Sec-WebSocket-Protocol"] == "streamlit"
    assert site.heard == [Streamlit.rerun, Streamlit.click]


@pytest.mark.parametrize("kind", [Streamlit], ids=["Streamlit"])
async def test_a_streamlit_page_is_there_when_its_first_run_has_ended(
    site: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket, "PATIENCE_S", 0.01)
    assert isinstance(site, Streamlit)
    site.install(monkeypatch)
    site.instead.append(site.run(0)[:-2])
    with pytest.raises(BadAnswer, match="none came"):
        await site.kind(8000).open()
