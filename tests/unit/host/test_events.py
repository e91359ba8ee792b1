"""What a page leaves out of an event, and the app reads all the same."""

import re
from importlib.resources import files
from math import pi
from typing import Any

import pytest

from htagweb.host.engines import events


def in_client(pattern: str) -> str:
    text = files("htagweb.web").joinpath("client", "events.js").read_text()
    found = re.search(pattern, text, re.DOTALL | re.MULTILINE)
    assert found is not None
    return found[1]


def names_in_client(constant: str) -> set[str]:
    return set(re.findall(r'"(\w+)"', in_client(rf"^const {constant} = \[(.*?)\];")))


def test_the_page_leaves_out_exactly_what_is_added_here() -> None:
    click = events.whole({"type": "click", "pointerType": "mouse", "clientX": 3, "clientY": 4})
    added = {name: click[name] for name in click if name not in ("type", "pointerType", "clientX", "clientY")}
    values = {"Math.PI / 2": pi / 2, "false": False}
    usual = dict(re.findall(r"(\w+): ([^,}]+?) *[,}]", in_client(r"^const USUAL_CLICK = \{(.*?)^\};")))
    usual = {name: values[text] if text in values else int(text) for name, text in usual.items()}
    assert usual | {"x": 3, "y": 4} == added
    assert names_in_client("OF_ANY_MOUSE") == {"x", "y"}


def test_a_click_is_where_its_client_coordinates_are_and_has_a_pointer_at_rest() -> None:
    click = events.whole({"type": "click", "pointerType": "mouse", "clientX": 3, "clientY": 4})
    assert (click["x"], click["y"]) == (3, 4)
    assert (click["width"], click["pressure"], click["altitudeAngle"]) == (1, 0, pi / 2)


@pytest.mark.parametrize("kind", sorted(names_in_client("CLICKS")))
def test_every_kind_of_click_that_the_page_shortens_is_made_whole(kind: str) -> None:
    assert events.whole({"type": kind, "pointerType": "pen"})["pressure"] == 0


def test_what_the_page_says_stands() -> None:
    said: dict[str, Any] = {
        "type": "click", "pointerType": "pen", "clientX": 3, "clientY": 4, "x": 5, "y": 6,
        **dict.fromkeys(["width", "pressure", "isPrimary", "movementX"], 7),
    }  # fmt: skip
    assert events.whole(said) | said == events.whole(said)


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"type": "keyup", "key": "a", "keyCode": 65},
        {"type": "click", "button": 0},  # a browser whose clicks have no pointer
        {"type": "pointermove", "pointerType": "pen"},
    ],
)
def test_an_event_of_which_nothing_was_left_out_stays_as_it_is(event: dict[str, Any]) -> None:
    assert events.whole(event) == event
