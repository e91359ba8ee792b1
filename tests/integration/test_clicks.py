"""The life of a page on a real installation: open, click, update, end."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import websockets

from tests.support.page import PageClient
from tests.support.stack import Stack
from tests.support.waiting import until

NewPage = Callable[[str], PageClient]


def shown(answer: dict[str, object]) -> str:
    """Return the text of the last ``pre`` in an answer's updates."""
    texts: list[str] = re.findall(r"<pre[^>]*>(.*?)</pre>", json.dumps(answer.get("update", {})))
    return texts[-1]


async def test_a_click_runs_its_method_and_its_answer_changes_the_page(
    shared_stack: Stack, new_page: NewPage
) -> None:
    page = new_page(shared_stack.workers[0].base)
    await page.open()
    await page.connect()
    assert shown(await page.ask("run", "one")) == "one"
    assert shown(await page.ask("run", "two")) == "one two"
    assert page.gaps == []


async def test_a_reload_shows_the_same_living_instance(shared_stack: Stack, new_page: NewPage) -> None:
    page = new_page(shared_stack.workers[0].base)
    await page.open()
    await page.connect()
    await page.ask("run", "one")
    generation = page.config["generation"]
    await page.open()
    assert page.config["generation"] == generation
    assert ">one</pre>" in page.html
    assert page.config["last"] == 1


async def test_other_parameters_start_the_app_anew_and_the_same_ones_do_not(
    shared_stack: Stack, new_page: NewPage
) -> None:
    page = new_page(shared_stack.workers[0].base)
    await page.open("/?v=2")
    await page.connect()
    assert re.search(r'class="v"[^>]*>2<', page.html)
    generation = page.config["generation"]
    await page.open("/?v=2")
    assert page.config["generation"] == generation
    await page.open("/?v=3")
    assert page.config["generation"] != generation
    await until(lambda: page.ends, "the old page hears of its end")
    assert page.ends[0]["reason"] == "replaced"


async def test_two_users_have_processes_of_their_own(shared_stack: Stack, new_page: NewPage) -> None:
    one, two = new_page(shared_stack.workers[0].base), new_page(shared_stack.workers[0].base)
    await one.open()
    await two.open()
    pids = [re.search(r'class="pid"[^>]*>(\d+)<', page.html)[1] for page in (one, two)]  # type: ignore[index]
    assert pids[0] != pids[1]


async def test_updates_reach_the_page_in_order_without_being_asked_for(
    shared_stack: Stack, new_page: NewPage
) -> None:
    page = new_page(shared_stack.workers[0].base)
    await page.open()
    await page.connect()
    await page.ask("tick", 20)
    await until(lambda: len(page.actions) >= 20, "20 updates")
    seen = [int(re.search(r">(\d+)<", json.dumps(a))[1]) for a in page.actions if "update" in a]  # type: ignore[index]
    assert seen == list(range(1, 21))
    assert page.gaps == []


async def test_update_is_true_only_with_a_browser_connected(shared_stack: Stack, new_page: NewPage) -> None:
    page = new_page(shared_stack.workers[0].base)
    await page.open()
    assert "delivered=False" in (await page.post("tell_delivered")).text
    await page.connect()
    assert "delivered=True" in json.dumps(await page.ask("tell_delivered"))
    await page.disconnect()
    assert "delivered=False" in (await page.post("tell_delivered")).text


async def test_a_generator_streams_and_asks_for_its_next_step(shared_stack: Stack, new_page: NewPage) -> None:
    page = new_page(shared_stack.workers[0].base)
    await page.open()
    await page.connect()
    answer = await page.ask("count")
    streamed = list(answer["stream"].values())
    while "next" in answer:
        generator = int(re.search(r'"id": (\d+)', answer["next"])[1])  # type: ignore[index]
        message: dict[str, object] = {
            "id": generator,
            "method": None,
            "args": None,
            "kargs": None,
            "event": {},
        }
        page.sent += 1
        await page.send(json.dumps({**message, "htagweb": {"n": page.sent}}))
        answer = await page.answer(page.sent)
        streamed += answer.get("stream", {}).values()
    assert streamed == ["<b>0</b>", "<b>1</b>", "<b>2</b>"]


async def test_an_exception_in_a_handler_is_an_error_without_a_traceback(
    shared_stack: Stack, new_page: NewPage
) -> None:
    page = new_page(shared_stack.workers[0].base)
    await page.open()
    await page.connect()
    answer = await page.ask("fail")
    assert answer["err"] == "what went wrong"
    assert shown(await page.ask("run", "goes on")) == "goes on"
    await until(lambda: "Traceback" in shared_stack.supervisor.text(), "the log has the traceback")


async def test_a_waiting_handler_does_not_block_another_click(shared_stack: Stack, new_page: NewPage) -> None:
    page = new_page(shared_stack.workers[0].base)
    await page.open()
    await page.connect()
    slow = await page.click("wait", "slow", 0.5)
    quick = await page.click("run", "quick")
    await page.answer(slow)
    assert shown(page.answers[slow]) == "quick slow"
    assert quick in page.answers


async def test_what_the_app_prints_is_in_the_log_with_its_session_and_name(
    shared_stack: Stack, new_page: NewPage
) -> None:
    page = new_page(shared_stack.workers[0].base)
    await page.open()
    await page.post("say", "spoken by the app")
    await until(lambda: "| spoken by the app" in shared_stack.supervisor.text(), "the line is in the log")
    line = next(li for li in shared_stack.supervisor.text().splitlines() if "spoken by the app" in li)
    assert "site_for_tests.Audit" in line


async def test_scripts_go_to_the_tab_that_asked_and_changes_to_all(
    shared_stack: Stack, new_page: NewPage
) -> None:
    one = new_page(shared_stack.workers[0].base)
    await one.open()
    two = PageClient(one.base, one.http)
    await two.open()
    await one.connect()
    await two.connect()
    answer = await one.ask("script")
    await until(lambda: two.actions, "the other tab is told")
    assert "mine" in answer["post"]
    assert "post" not in two.actions[0]
    assert two.actions[0]["update"] == answer["update"]
    await two.disconnect()


async def test_a_client_of_htagweb_1_gets_action_objects_alone(
    shared_stack: Stack, new_page: NewPage
) -> None:
    page = new_page(shared_stack.workers[0].base)
    await page.open()
    url = f"ws{page.base[4:]}{page.config['url']}"
    call = {"id": page.body(), "method": "run", "args": ["old"], "kargs": {}, "event": {}}
    async with websockets.connect(url, additional_headers={"Cookie": page.cookie}) as socket:
        for _ in range(3):
            await socket.send(json.dumps(call))
            assert "update" in json.loads(await socket.recv())
    assert "update" in (await page.post("run", "posted")).json()


async def test_a_link_cannot_put_attributes_on_the_page(shared_stack: Stack, new_page: NewPage) -> None:
    page = new_page(shared_stack.workers[0].base)
    await page.open("/plain?_onload=alert(1)&_class=x")
    assert "alert" not in page.html
