"""What pages say and hear: what is taken, what is refused, and JSON that is valid whatever is in it."""

import contextlib
import itertools
import json
import random
from typing import Any

import msgspec
import pytest
from htagweb_broker import Answered, Emission, Ended, UpdatedByApp
from hypothesis import given, settings
from hypothesis import strategies as some
from starlette.datastructures import QueryParams

from htagweb.host.frames import Call, decode_call
from htagweb.web import wire
from htagweb.web.pages import END_TEXTS
from htagweb.web.wire import Extra, WireError

PAGE = "page-0_A"
GENERATION = "12-0123abcd"


def raw(value: Any) -> msgspec.Raw:
    return msgspec.Raw(json.dumps(value).encode())


def call(text: str | bytes) -> Call:
    return decode_call(wire.call_of(wire.parse_message(text)))


# From the page


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"id":1,"method":"m"}', Call(1, "m")),
        ('{"id":1,"method":"m","args":[1,"a"],"kargs":{"k":2},"event":{"x":3}}',)
        + (Call(1, "m", [1, "a"], {"k": 2}, {"x": 3}),),
        ('{"id":1,"method":null,"args":null,"kargs":null,"event":{}}', Call(1, None, None, None, {})),
        ('{"id":140234123412341,"method":"m","more":"is not of ours"}', Call(140234123412341, "m")),
        ('  {"id" : 1 , "args" : [ ] }  ', Call(1, None, [])),
        ('{"id":1,"method":"é\\u0000","args":["\\ud83d\\ude00"]}', Call(1, "é\0", ["😀"])),
    ],
)
def test_a_call_is_taken_as_htag_sends_it(text: str, expected: Call) -> None:
    assert call(text) == expected
    assert call(text.encode()) == expected


@pytest.mark.parametrize(
    "text",
    ["", "null", "[]", '"x"', "{", "{}x", "1", '{"id":"1"}', '{"id":1.5}', '{"id":true}', '{"method":1}']
    + ['{"id":1,"args":{}}', '{"id":1,"args":"x"}', '{"id":1,"kargs":[]}', '{"id":1,"event":1}']
    + ['{"id":1,"args":[1,]}', '{"id":1,"kargs":{1:2}}', "{'id':1}", '{"id":1,"args":' + "[" * 5000]
    + [
        f'{{"htagweb":{extra}}}'
        for extra in ("1", '{"other":1}', '{"n":0}', '{"n":"1"}', '{"n":9007199254740993}')
        + ('{"last":-1}', '{"last":1.5}', '{"curve":"P-521"}', '{"key":1}', f'{{"key":"{"x" * 129}"}}')
    ]
    + [f'{{"htagweb":{{"page":"{page}"}}}}' for page in ("short", "x" * 65, "with space", "pagé-page")]
    + [
        f'{{"htagweb":{{"generation":"{text}"}}}}'
        for text in ("1", "x-0123abcd", "1-0123ABCD", "1-0123abcde")
    ],
)
def test_what_is_not_of_the_wire_is_refused_with_what_was_expected(text: str) -> None:
    with pytest.raises(WireError, match="expected "):
        wire.parse_message(text)


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(WireError):
        wire.parse_message(b'{"method":"\xff"}')


def test_our_own_data_is_read() -> None:
    text = f'{{"htagweb":{{"n":3,"page":"{PAGE}","generation":"{GENERATION}","ping":7,"last":0}}}}'
    assert wire.parse_message(text).htagweb == Extra(3, PAGE, GENERATION, 7, 0)


def test_a_handshake_is_read() -> None:
    extra = wire.parse_message('{"htagweb":{"curve":"P-256","key":"abc"}}').htagweb
    assert extra == Extra(curve="P-256", key="abc")


def test_a_message_without_an_id_holds_no_call() -> None:
    with pytest.raises(WireError, match=r"expected an id \(a number\)"):
        wire.call_of(wire.parse_message('{"htagweb":{"ping":1}}'))


@pytest.mark.parametrize(
    ("text", "number"),
    [('{"id":"x","htagweb":{"n":5}}', 5), ('{"id":1,"args":{}}', None), ('{"htagweb":{"n":"5"}}', None)]
    + [("nonsense", None), ("", None)],
)
def test_the_number_of_a_refused_message_is_read_where_it_can_be(text: str, number: int | None) -> None:
    assert wire.number_in(text) == number


def mutated(rng: random.Random) -> bytes:
    """Return a message with a few bytes changed, cut out or put in."""
    text = bytearray(b'{"id":12,"method":"m\\u00e9","args":[1,{"a":null}],"kargs":{},"event":{"x":[1e5]}}')
    for _ in range(rng.randrange(4)):
        at = rng.randrange(len(text))
        text[at : at + rng.randrange(3)] = bytes(rng.choices(b'{}[]",:\\0nue\xff\x00 ', k=rng.randrange(3)))
    return bytes(text)


@pytest.mark.parametrize("seed", range(20))
def test_random_bytes_are_refused_or_a_call_that_is_json_of_its_shape(seed: int) -> None:
    rng = random.Random(seed)
    for turn in range(500):
        text = rng.randbytes(rng.randrange(40)) if turn % 10 == 0 else mutated(rng)
        try:
            made = bytes(wire.call_of(wire.parse_message(text)))
        except WireError:
            continue
        members = json.loads(made.decode(errors="replace"))
        assert set(members) == {"id", "method", "args", "kargs", "event"}
        assert isinstance(members["args"], list | None)
        assert isinstance(members["kargs"], dict | None)


anything = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats() | some.text(),
    lambda inner: some.lists(inner, max_size=4) | some.dictionaries(some.text(), inner, max_size=4),
    max_leaves=12,
)
NAMES = ["id", "method", "args", "kargs", "event", "htagweb", "n", "page", "last", "curve", "key", "ping"]
shaped = some.dictionaries(some.sampled_from(NAMES), anything)


@given(
    some.binary()
    | some.text()
    | (anything | shaped | shaped.map(lambda extra: {"id": 1, "htagweb": extra})).map(json.dumps)
)
@settings(max_examples=500)
def test_whatever_comes_is_a_message_or_a_wire_error(data: str | bytes) -> None:
    try:
        message = wire.parse_message(data)
        made = json.loads(bytes(wire.call_of(message)))
    except WireError as exc:
        assert "expected" in str(exc)
        return
    assert set(made) == {"id", "method", "args", "kargs", "event"}


@given(some.text() | shaped.map(lambda extra: json.dumps({"id": "x", "htagweb": extra})))
def test_the_number_of_whatever_comes_is_a_number_or_none(text: str) -> None:
    number = wire.number_in(text)
    assert number is None or 1 <= number <= 2**53


@pytest.mark.parametrize("name", ["args", "kargs", "event"])
def test_no_value_can_add_a_member_to_the_call(name: str) -> None:
    value = '{"a":"\\",\\"id\\":2"}' if name != "args" else '["\\",\\"id\\":2"]'
    assert call(f'{{"id":1,"{name}":{value}}}').id == 1


# The introduction


def test_an_introduction_is_read() -> None:
    query = QueryParams(f"page={PAGE}&generation={GENERATION}&last=7")
    assert wire.parse_hello(query) == wire.Hello(PAGE, GENERATION, 7)


def test_an_introduction_may_ask_for_a_seal() -> None:
    query = QueryParams(f"page={PAGE}&generation={GENERATION}&last=7&curve=X25519&key=abc")
    assert wire.parse_hello(query) == wire.Hello(PAGE, GENERATION, 7, "X25519", "abc")


@pytest.mark.parametrize("more", ["curve=X25519", "key=abc", "curve=x&key=abc", "curve=&key="])
def test_half_a_wish_for_a_seal_is_refused(more: str) -> None:
    with pytest.raises(WireError, match="expected "):
        wire.parse_hello(QueryParams(f"page={PAGE}&generation={GENERATION}&last=7&{more}"))


@given(some.dictionaries(some.sampled_from(["page", "generation", "last", "curve", "key"]), some.text()))
def test_any_introduction_is_read_or_refused(query: dict[str, str]) -> None:
    with contextlib.suppress(WireError):
        wire.parse_hello(QueryParams(query))


def test_a_client_without_an_introduction_is_none() -> None:
    assert wire.parse_hello(QueryParams("")) is None


@pytest.mark.parametrize(
    "query",
    ["page=", "page=short", f"page={PAGE}", f"page={PAGE}&generation={GENERATION}"]
    + [f"page={PAGE}&generation=x&last=1", f"page={PAGE}&generation={GENERATION}&last=x"]
    + [f"page={PAGE}&generation={GENERATION}&last=-1", f"page={PAGE}&generation={GENERATION}&last=1e30"],
)
def test_a_wrong_introduction_is_refused(query: str) -> None:
    with pytest.raises(WireError, match="expected page, generation and last"):
        wire.parse_hello(QueryParams(query))


# To the page


def test_our_own_data_travels_under_our_key() -> None:
    assert json.loads(wire.own(pong=1, text="é")) == {"htagweb": {"pong": 1, "text": "é"}}


@pytest.mark.parametrize("messages", [[], ['{"a":1}'], ['{"a":"],["}', "{}"]])
def test_messages_make_one_array(messages: list[str]) -> None:
    assert json.loads(wire.as_array(messages)) == [json.loads(text) for text in messages]


def test_a_refusal_settles_the_interaction_that_it_names() -> None:
    assert json.loads(wire.refusal("no")) == {"err": "no"}
    assert json.loads(wire.refusal("no", PAGE, 3)) == {"err": "no", "htagweb": {"page": PAGE, "answers": 3}}


@pytest.mark.parametrize("reason", sorted(END_TEXTS))
def test_every_reason_has_a_text_and_a_way_back(reason: str) -> None:
    end = json.loads(wire.ended(reason, 9))["htagweb"]
    assert (end["n"], end["end"]["reason"], end["end"]["text"]) == (9, reason, END_TEXTS[reason])
    assert end["end"]["restart"] in ("auto", "button", "click")
    assert "n" not in json.loads(wire.ended(reason))["htagweb"]


def test_a_reason_of_a_later_version_is_told_as_a_crash() -> None:
    end = json.loads(wire.ended("bored"))["htagweb"]["end"]
    assert end == {"reason": "bored", "text": END_TEXTS["crashed"], "restart": "button"}


PARTS = [{}, {"update": {"1": '<b>"é"</b>'}}, {"update": {}, "stream": {"2": "}{"}}]
SCRIPTS = [{}, {"post": 'say("}")'}, {"err": "no", "next": 'x,"y"'}]


def test_a_refusal_by_the_supervisor_is_marked_for_its_page_alone() -> None:
    nothing = msgspec.Raw(b"{}")
    emission = Emission(5, GENERATION, Answered(PAGE, 3, nothing, msgspec.Raw(b'{"err":"no"}'), refused=True))
    marked = {"n": 5, "page": PAGE, "answers": 3, "refused": True}
    assert json.loads(wire.render(emission, PAGE)) == {"err": "no", "htagweb": marked}
    assert json.loads(wire.render(emission, "other")) == {"htagweb": {"n": 5}}


SPACES = [b"%s", b"  %s", b"%s\n ", b"\t%s "]


@pytest.mark.parametrize(("dom", "scripts", "space"), list(itertools.product(PARTS, SCRIPTS, SPACES)))
def test_what_is_joined_is_valid_json_for_asker_other_tab_and_update(
    dom: dict[str, Any], scripts: dict[str, Any], space: bytes
) -> None:
    pair = msgspec.Raw(space % bytes(raw(dom))), msgspec.Raw(space % bytes(raw(scripts)))
    answer = Emission(5, GENERATION, Answered(PAGE, 3, *pair))
    asked = {"n": 5, "page": PAGE, "answers": 3}
    assert json.loads(wire.render(answer, PAGE)) == {**dom, **scripts, "htagweb": asked}
    assert json.loads(wire.render(answer, "other")) == {**dom, "htagweb": {"n": 5}}
    update = Emission(6, GENERATION, UpdatedByApp(*pair))
    assert json.loads(wire.render(update, PAGE)) == {**dom, **scripts, "htagweb": {"n": 6}}


@pytest.mark.parametrize("empty", [b"{}", b"{ }", b" {\n} "])
def test_an_empty_object_with_spaces_joins_too(empty: bytes) -> None:
    emission = Emission(1, GENERATION, UpdatedByApp(msgspec.Raw(empty), msgspec.Raw(empty)))
    assert json.loads(wire.render(emission, PAGE)) == {"htagweb": {"n": 1}}


def test_an_end_is_the_same_for_every_tab() -> None:
    emission = Emission(7, GENERATION, Ended("crashed"))
    assert wire.render(emission, PAGE) == wire.render(emission, "other") == wire.ended("crashed", 7)
