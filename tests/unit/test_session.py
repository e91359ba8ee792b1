"""The session's dict knows what was changed, and holds only what JSON can."""

import copy
import math
from enum import IntEnum
from typing import Any

import pytest

from htagweb.session import MAX_DEPTH, SessionDict, to_json


def test_what_was_loaded_is_no_change() -> None:
    assert SessionDict({"a": b'{"b":[1]}'}).take_changes() == {}


def test_a_set_value_is_a_change_once() -> None:
    session = SessionDict()
    session["a"] = 1
    assert session.take_changes() == {"a": b"1"}
    assert session.take_changes() == {}


def test_a_nested_change_counts() -> None:
    session = SessionDict({"cart": b"[1]"})
    session["cart"].append(2)
    assert session.take_changes() == {"cart": b"[1,2]"}


@pytest.mark.parametrize("how", ["del", "pop", "popitem", "clear"])
def test_a_key_that_is_gone_is_a_change_to_none(how: str) -> None:
    session = SessionDict({"a": b"1"})
    match how:
        case "del":
            del session["a"]
        case "pop":
            session.pop("a")
        case "popitem":
            session.popitem()
        case _:
            session.clear()
    assert session.take_changes() == {"a": None}
    assert session.take_changes() == {}


def test_a_value_set_back_is_no_change() -> None:
    session = SessionDict({"a": b"1"})
    session["a"] = 2
    session["a"] = 1
    assert session.take_changes() == {}


def test_the_order_of_a_dicts_keys_is_no_change() -> None:
    session = SessionDict()
    session["a"] = {"x": 1, "y": 2}
    session.take_changes()
    session["a"] = {"y": 2, "x": 1}
    assert session.take_changes() == {}


def test_merging_takes_what_others_wrote_and_deleted() -> None:
    session = SessionDict({"a": b"1", "b": b"1"})
    session.merge({"a": b"2", "c": b"3"})
    assert session == {"a": 2, "c": 3}
    assert session.take_changes() == {}


def test_merging_keeps_what_was_changed_here_and_not_taken() -> None:
    session = SessionDict({"a": b"1", "b": b"1", "n": b"[1]"})
    session["a"] = 5
    del session["b"]
    session["n"].append(2)
    session["new"] = 1
    session.merge({"a": b"2", "b": b"2", "n": b"[9]"})
    assert session == {"a": 5, "n": [1, 2], "new": 1}
    assert session.take_changes() == {"a": b"5", "b": None, "n": b"[1,2]", "new": b"1"}


def test_merging_keeps_a_new_value_that_json_cannot_hold_so_that_it_can_be_named() -> None:
    session = SessionDict()
    session["new"] = []
    session["new"].append({1})
    session.merge({"other": b"1"})
    with pytest.raises(TypeError, match=r"session\['new'\] holds a set"):
        session.take_changes()


def test_merging_leaves_the_object_of_an_unchanged_value() -> None:
    session = SessionDict({"a": b"[1]"})
    held = session["a"]
    session.merge({"a": b"[1]", "b": b"2"})
    assert session["a"] is held


@pytest.mark.parametrize("value", [{1, 2}, object(), b"bytes", [{"deep": {3}}]])
def test_a_value_that_json_cannot_hold_is_refused_where_it_is_set_and_names_the_key(value: Any) -> None:
    session = SessionDict()
    with pytest.raises(TypeError, match=r"session\['bad'\]"):
        session["bad"] = value
    with pytest.raises(TypeError, match=r"session\['bad'\]"):
        session.setdefault("bad", value)
    with pytest.raises(TypeError, match=r"session\['bad'\]"):
        session.update(good=1, bad=value)
    with pytest.raises(TypeError, match=r"session\['bad'\]"):
        session |= {"bad": value}
    assert session == {}


class Text(str):
    """A type of its own, which JSON would turn into a plain str."""


class Level(IntEnum):
    """A type of its own, which JSON would turn into a plain int."""

    LOW = 1


def nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


def self_containing() -> list[Any]:
    value: list[Any] = []
    value.append({"again": value})
    return value


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (Text("x"), "holds a Text"),
        (Level.LOW, "holds a Level"),
        ([math.nan], "holds nan"),
        (-math.inf, "holds -inf"),
        ("a\ud800", "lone surrogate"),
        ({"\udc00": 1}, "lone surrogate"),
        (self_containing(), "holds itself"),
        (nested(MAX_DEPTH + 1), "more than 100 levels"),
    ],
    ids=["str subclass", "enum", "nan", "infinity", "surrogate", "surrogate key", "itself", "too deep"],
)
def test_a_value_that_would_come_back_as_another_is_refused_and_names_the_key(value: Any, said: str) -> None:
    with pytest.raises(TypeError, match=r"^session\['bad'\] .*" + said):
        SessionDict()["bad"] = value


@pytest.mark.parametrize("value", [(1, 2), nested(MAX_DEPTH), 2**70, 1e308, "é\x00", {"a": None}])
def test_what_json_can_hold_is_taken(value: Any) -> None:
    session = SessionDict()
    session["a"] = value
    loaded = SessionDict({key: text for key, text in session.take_changes().items() if text is not None})
    assert loaded["a"] == (list(value) if isinstance(value, tuple) else value)


def test_a_key_that_is_no_text_is_refused() -> None:
    with pytest.raises(TypeError, match="session keys are str, not int: 1"):
        SessionDict()[1] = 1  # type: ignore[index]
    with pytest.raises(TypeError, match="session keys are str, not Text: 'k'"):
        SessionDict()[Text("k")] = 1


def test_a_key_that_utf8_cannot_hold_is_refused() -> None:
    with pytest.raises(TypeError, match=r"session\['\\ud800'\] .*lone surrogate"):
        SessionDict()["\ud800"] = 1


def test_a_dict_with_other_than_text_keys_is_refused() -> None:
    with pytest.raises(TypeError, match=r"session\['a'\] holds a dict with the key 1"):
        to_json("a", {1: 2})


def test_a_nested_value_that_json_cannot_hold_is_named_when_the_changes_are_taken() -> None:
    session = SessionDict({"a": b"[]"})
    session["b"] = 1
    session["a"].append({1})
    with pytest.raises(TypeError, match=r"session\['a'\] holds a set"):
        session.take_changes()
    session["a"].clear()
    assert session.take_changes() == {"b": b"1"}


def test_a_copy_is_a_plain_dict() -> None:
    session = SessionDict({"a": b"[1]"})
    for duplicate in (session.copy(), copy.copy(session), copy.deepcopy(session)):
        assert type(duplicate) is dict
        assert duplicate == {"a": [1]}


def test_updating_in_place_keeps_the_session_a_session() -> None:
    session = SessionDict()
    session |= {"a": 1}
    assert isinstance(session, SessionDict)
    assert session.take_changes() == {"a": b"1"}
