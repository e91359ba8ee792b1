"""What the app is told of a DOM event: what htag alone would tell, but for what is over by then."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from htag import Tag
from htag.render import HRenderer

from htagweb.host.engines.events import whole

if TYPE_CHECKING:
    from tests.browser.client_page import ClientPage, OpenPage

pytestmark = pytest.mark.asyncio(loop_scope="module")

STEERING = {
    "isTrusted", "eventPhase", "bubbles", "cancelable", "composed", "defaultPrevented", "returnValue",
    "cancelBubble",
}  # fmt: skip
LISTEN = """() => {
  window.events = [];
  document.body.innerHTML = "<input style='position: relative; margin: 20px; padding: 20px'>";
  for (const type of ["click", "dblclick", "auxclick", "contextmenu", "mousedown", "mousemove", "pointerdown",
    "keydown", "keyup", "input", "change", "focus", "blur", "wheel"])
    document.querySelector("input").addEventListener(type, (event) =>
      events.push([htagsJevent(event), JSON.parse(JSON.stringify(jevent(event)))]));
}"""


def htags_function() -> str:
    """Return htag's own function, out of a page of htag's."""
    found = re.search(r"function (jevent\(.*?\n\})", str(HRenderer(Tag.div, js="")), re.DOTALL)
    assert found is not None
    return f"window.htagsJevent = function {found[1]}; 0"


async def listening(open_page: OpenPage) -> ClientPage:
    """Return a page with a field that records what both functions tell of its events."""
    client = await open_page()
    await client.ready()
    await client.page.evaluate(htags_function())
    await client.page.evaluate(LISTEN)
    return client


async def told(client: ClientPage) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Return what htag's function told of each event, and what ours did."""
    return [(htags, ours) for htags, ours in await client.page.evaluate("events")]


async def use(client: ClientPage) -> None:
    """Make events of many kinds, as a person does."""
    field, page = client.page.locator("input"), client.page
    await field.click(position={"x": 7, "y": 9}, modifiers=["Shift"])
    await field.dblclick()
    await field.click(button="right")
    await field.click(button="middle")
    await field.press("a")
    await page.mouse.wheel(0, 10)
    await field.press("Tab")
    await page.wait_for_function("events.some(([, ours]) => ours.type === 'blur')")


async def test_a_handler_reads_of_every_event_what_htag_alone_would_have_told(open_page: OpenPage) -> None:
    client = await listening(open_page)
    await use(client)
    events = await told(client)
    assert {"click", "dblclick", "auxclick", "contextmenu", "keyup", "input"} <= {
        e["type"] for e, _ in events
    }
    for htags, ours in events:
        assert whole(ours) == {name: value for name, value in htags.items() if name not in STEERING}


async def test_a_click_says_less_than_half_of_it(open_page: OpenPage) -> None:
    client = await listening(open_page)
    await client.page.locator("input").click()
    sizes = await client.page.evaluate(
        "events.filter(([, ours]) => ours.type === 'click')[0].map((each) => JSON.stringify(each).length)"
    )
    assert sizes[1] < 0.55 * sizes[0]


async def test_what_a_script_of_the_page_adds_to_an_event_is_told(open_page: OpenPage) -> None:
    client = await listening(open_page)
    told = await client.page.evaluate(
        "() => jevent(Object.assign(new CustomEvent('x', {detail: 'text'}), {mine: 5}))"
    )
    assert (told["mine"], told["detail"], told["type"]) == (5, "text", "x")


async def test_events_of_one_name_and_two_kinds_are_told_apart(open_page: OpenPage) -> None:
    client = await listening(open_page)
    told = await client.page.evaluate(
        "[new CustomEvent('click'), new PointerEvent('click', {clientX: 3}), new Event('click')].map(jevent)"
    )
    assert ["clientX" in each for each in told] == [False, True, False]


async def test_what_is_no_event_is_left_to_htag(open_page: OpenPage) -> None:
    client = await open_page()
    await client.page.evaluate(
        "() => { window.jevent = (it) => [it ?? null];"
        " document.dispatchEvent(new Event('DOMContentLoaded')); }"
    )
    assert await client.page.evaluate("[jevent(undefined), jevent({a: 1})]") == [[None], [{"a": 1}]]


async def test_an_interaction_that_an_answer_begins_does_not_send_the_answer_back(
    open_page: OpenPage,
) -> None:
    client = await open_page()
    line = await client.ready()
    await client.page.evaluate(
        "() => { window.action = () => { interact({id: 1, event: window.event ? jevent(event) : null}) }; }"
    )
    line.send(post="text")
    await client.received(line, 2)
    assert line.messages[-1]["event"] == {}
