"""The overlay that shows an app's error in debug mode."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from playwright.async_api import Locator, expect

if TYPE_CHECKING:
    from tests.browser.client_page import ClientPage, OpenPage

pytestmark = pytest.mark.asyncio(loop_scope="module")
SHOTS = os.environ.get("HTAGWEB_SHOTS")
"""A directory for screenshots, for people who want to look."""

TRACEBACK = (
    "Traceback (most recent call last):\n"
    + "".join(
        f'  File "/srv/app/main.py", line {line}, in handler_{line}\n    return await self.call({line})\n'
        for line in range(10, 40)
    )
    + "ZeroDivisionError: division by zero <b>&amp; " + "very " * 40 + "long"
)  # fmt: skip


def dialog_of(client: ClientPage) -> Locator:
    """Return the overlay."""
    return client.page.get_by_role("dialog", name="The app raised an error")


async def shoot(client: ClientPage, name: str) -> None:
    """Take a screenshot where one is wanted."""
    if SHOTS:
        await client.page.screenshot(path=f"{SHOTS}/{name}.png")


async def fail(client: ClientPage, number: int = 13, text: str = TRACEBACK) -> None:
    """Let a handler of the app raise an error."""
    client.lines[-1].send({"n": number}, err=text)
    await client.until_js(f"htagweb.inspect().last === {number}")


async def test_in_debug_mode_an_error_is_shown_whole_and_told_to_htag_as_ever(open_page: OpenPage) -> None:
    client = await open_page(debug=True)
    await client.ready()
    await fail(client)
    await expect(dialog_of(client)).to_be_visible()
    assert await dialog_of(client).locator("pre").text_content() == TRACEBACK
    assert [call["err"] for call in await client.calls()] == [TRACEBACK]


async def test_without_debug_mode_no_error_is_shown(open_page: OpenPage) -> None:
    client = await open_page()
    await client.ready()
    await fail(client)
    await expect(dialog_of(client)).to_have_count(0)


@pytest.mark.parametrize("how", ["button", "Escape", "keyboard"])
async def test_it_is_dismissed_and_the_focus_goes_back(open_page: OpenPage, how: str) -> None:
    client = await open_page(debug=True)
    await client.ready()
    await client.page.evaluate("document.body.insertAdjacentHTML('beforeend', '<input id=name>')")
    await client.page.focus("#name")
    await fail(client)
    await expect(dialog_of(client).locator("pre")).to_be_focused()
    if how == "button":
        await client.click("Dismiss")
    elif how == "Escape":
        await client.page.keyboard.press("Escape")
    else:
        await client.page.keyboard.press("Shift+Tab")
        await client.page.keyboard.press("Enter")
    await expect(dialog_of(client)).to_be_hidden()
    await expect(client.page.locator("#name")).to_be_focused()


async def test_the_newest_error_is_the_one_shown_and_comes_back_after_dismissal(open_page: OpenPage) -> None:
    client = await open_page(debug=True)
    await client.ready()
    await fail(client, 13, "first")
    await fail(client, 14, "second")
    await expect(dialog_of(client).locator("pre")).to_have_text("second")
    await client.click("Dismiss")
    await fail(client, 15, "third")
    await expect(dialog_of(client).locator("pre")).to_have_text("third")


SCROLLED_PX = "document.querySelector('htagweb-error').shadowRoot.querySelector('pre').scrollTop"


async def test_a_long_traceback_shows_its_end_and_is_scrolled_by_keyboard(open_page: OpenPage) -> None:
    client = await open_page(debug=True)
    await client.ready()
    await fail(client)
    box = await dialog_of(client).bounding_box()
    assert box is not None and box["y"] >= 0 and box["y"] + box["height"] <= 500
    await client.until_js(f"{SCROLLED_PX} > 100")
    await client.page.keyboard.press("Home")
    await client.until_js(f"{SCROLLED_PX} === 0")


async def test_it_survives_the_replacement_of_the_body_and_of_the_document(open_page: OpenPage) -> None:
    client = await open_page(debug=True)
    line = await client.ready()
    await fail(client, 13)
    line.send({"n": 14}, update={"0": "<body>anew</body>"})
    await client.until_js("document.body.innerText === 'anew'")
    await expect(dialog_of(client)).to_be_visible()
    await client.page.evaluate("document.documentElement.innerHTML = '<body>cleared</body>'")
    await fail(client, 15, "later")
    await expect(dialog_of(client)).to_be_visible()


async def test_the_news_of_a_reload_is_not_the_apps_error(open_page: OpenPage) -> None:
    client = await open_page(debug=True)
    line = await client.ready()
    line.send({"reload": True}, err="This page is of an earlier run of the app.")
    await client.until_state("ended")
    await expect(dialog_of(client)).to_have_count(0)


async def test_styles_of_the_app_do_not_reach_it(open_page: OpenPage) -> None:
    style = (
        "* { display: none !important; } html, body, h1 { display: block !important; } pre { color: red; }"
    )
    client = await open_page(style=style, debug=True)
    await client.ready()
    await fail(client)
    await expect(dialog_of(client)).to_be_visible()
    await expect(dialog_of(client).locator("pre")).to_have_css("color", "rgb(31, 35, 40)")


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_it_follows_the_colours_of_the_person(open_page: OpenPage, scheme: str) -> None:
    client = await open_page(debug=True)
    await client.page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    await client.ready()
    await fail(client)
    paper = "rgb(34, 39, 46)" if scheme == "dark" else "rgb(255, 255, 255)"
    await expect(dialog_of(client)).to_have_css("background-color", paper)
    await shoot(client, f"overlay-{scheme}")
    await client.page.set_viewport_size({"width": 360, "height": 640})
    await expect(dialog_of(client)).to_be_in_viewport(ratio=1)
    await shoot(client, f"overlay-{scheme}-small")
    await fail(client, 14, "ValueError: short")
    await shoot(client, f"overlay-{scheme}-short")
