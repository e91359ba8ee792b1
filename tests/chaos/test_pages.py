"""The pages of the fault suite see what they are for, without the browser and in it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import websockets
from playwright.async_api import Page

from tests.chaos.browsers import BrowserTab
from tests.chaos.ledger import Broken, Ledger, Outcome
from tests.chaos.pages import ChaosPage, Reload

SOCKET = cast(websockets.ClientConnection, None)
"""No test here sends anything."""


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """Give an empty account."""
    made = Ledger(tmp_path / "run.jsonl")
    yield made
    made.close()


def mark(seq: int, total: int = 0, life: str = "aa") -> str:
    """Return what the app shows."""
    return f"audit life={life} seq={seq} total={total} pid=1 label=;"


def broken(ledger: Ledger) -> set[Broken]:
    """Return which promises were found broken."""
    return {kind for kind, texts in ledger.broken.items() if texts}


def loaded(ledger: Ledger) -> ChaosPage:
    """Return a page that was loaded, with nothing applied yet."""
    page = ChaosPage(ledger, "http://127.0.0.1", "u", "ua", "seed")
    config = json.dumps({"generation": "1-a", "last": 0, "ping_s": 20, "url": "/"})
    script = f'<script id="htagweb-config" type="application/json">{config}</script>'
    page._take_page(f'{script}<body class="x" id="7">{mark(0)}')
    return page


async def hear(page: ChaosPage, number: int, seq: int, total: int = 0, life: str = "aa") -> None:
    """Have a page take an action."""
    text = json.dumps({"update": {"1": mark(seq, total, life)}, "htagweb": {"n": number}})
    await page._receive(text, SOCKET)


async def test_actions_in_order_break_nothing(ledger: Ledger) -> None:
    page = loaded(ledger)
    await hear(page, 1, 1, 1)
    await hear(page, 2, 2, 2)
    assert broken(ledger) == set()


@pytest.mark.parametrize("seq", [1, 3])
async def test_an_action_that_shows_another_count_than_the_next_is_found(ledger: Ledger, seq: int) -> None:
    page = loaded(ledger)
    await hear(page, 1, 1)
    await hear(page, 2, seq)
    assert broken(ledger) == {Broken.ORDER}


async def test_an_action_of_another_process_under_the_same_generation_is_found(ledger: Ledger) -> None:
    page = loaded(ledger)
    await hear(page, 1, 1, life="bb")
    assert broken(ledger) == {Broken.OWNERS}


async def test_a_session_that_counts_less_than_before_is_found(ledger: Ledger) -> None:
    page = loaded(ledger)
    await hear(page, 1, 1, total=5)
    await hear(page, 2, 2, total=4)
    assert broken(ledger) == {Broken.SESSION}


@pytest.mark.parametrize(("reason", "found"), [("memory", {Broken.PERSON}), ("crashed", set())])
async def test_an_end_after_which_a_person_has_to_reload_is_found(
    ledger: Ledger, reason: str, found: set[Broken]
) -> None:
    page = loaded(ledger)
    end = {"reason": reason, "text": "", "restart": "button"}
    with pytest.raises(Reload):
        await page._receive(json.dumps({"htagweb": {"n": 1, "end": end}}), SOCKET)
    assert broken(ledger) == found


# In the browser


def tab(ledger: Ledger, *asked: str) -> BrowserTab:
    """Return a tab that has asked something."""
    made = BrowserTab(ledger, cast(Page, None), "http://127.0.0.1", "u", "seed")
    for label in asked:
        made._unanswered.append(label)
        ledger.ask(label, "u", made.tab, "")
    return made


def look(**found: Any) -> dict[str, Any]:
    """Return what a look at a page finds."""
    nothing: dict[str, Any] = {"state": "ready", "unanswered": [], "told": "", "answers": [], "marks": []}
    return {"page": "p", "generation": "1-a", **nothing, **found}


def shown(*numbers: int) -> list[tuple[str, str]]:
    """Return the marks of actions that were applied, and shown."""
    return [(mark(number), mark(number)) for number in numbers]


def test_a_tab_that_applies_all_actions_breaks_nothing(ledger: Ledger) -> None:
    seen = tab(ledger)
    seen.see(look(marks=shown(4, 5)))
    seen.see(look(marks=shown(6)))
    seen.see(look(page="q", marks=shown(9)))
    assert broken(ledger) == set()


@pytest.mark.parametrize("seq", [4, 5, 7])
def test_a_tab_that_repeats_or_leaves_out_an_action_is_found(ledger: Ledger, seq: int) -> None:
    seen = tab(ledger)
    seen.see(look(marks=shown(4, 5)))
    seen.see(look(marks=shown(seq)))
    assert broken(ledger) == {Broken.ORDER}


def test_a_tab_that_does_not_show_what_it_applied_is_found(ledger: Ledger) -> None:
    tab(ledger).see(look(marks=[(mark(2), mark(1))]))
    assert broken(ledger) == {Broken.ORDER}


def test_what_has_ended_is_told_only_when_the_notice_is_there(ledger: Ledger) -> None:
    seen = tab(ledger)
    seen.see(look())
    seen._unanswered.append("p:1")
    click = ledger.ask("p:1", "u", seen.tab, "")
    seen.see(look(state="ended", told="The server was interrupted. This page comes back by itself."))
    assert (click.outcome, seen.waiting) == (Outcome.WAITING, 1)
    seen.see(look(page="q", told="Your last action may not have been carried out."))
    assert (click.outcome, seen.waiting) == (Outcome.TOLD_END, 0)
    assert [end.reason for end in ledger.ends] == ["lost"]


def test_an_answer_that_came_just_before_the_end_needs_no_notice(ledger: Ledger) -> None:
    seen = tab(ledger)
    seen.see(look())
    seen._unanswered.append("p:1")
    click = ledger.ask("p:1", "u", seen.tab, "")
    seen.see({"page": "", "title": "No app"})
    seen.see(look(page="q", answers=[["p:1", False]]))
    assert (click.outcome, seen.waiting) == (Outcome.ANSWERED, 0)
