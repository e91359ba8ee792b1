"""The htag 1 engine: what the host asks of an engine, done by htag's HRenderer."""

import asyncio
import logging
import re
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from htag import Tag
from htag.runners.commons import url2ak

from htagweb.host.engines import Actions, AppImportError, AppInitError, Engine, EngineFactory
from htagweb.host.engines.htag1 import NAMELESS, Htag1Engine, is_app, load, parameters, rehearsal_app
from htagweb.host.frames import Call
from htagweb.session import SessionDict

QUERIES = [
    "", "a", "a&b", "a=1", "a=1&b=2&c", "a=", "a=&b", "=", "=x", "a==", "&&", "a=1&a=2", "a%20b", "a+b=c+d",
    "%C3%A9=%C3%A9", "x=1%262", "a;b=c", "a=b=c", "%ff", "a=%00", "é=ü", "1&2&k=3",
]  # fmt: skip


class App(Tag.div):  # type: ignore[misc]
    """Every kind of handler."""

    def init(self, *args: str, **kargs: str | None) -> None:
        self.got = (args, kargs)
        self.shown = Tag.span("zero")
        self.add(self.shown)
        self.add(Tag.button("ev", _onclick=self.on_click))
        self.events: list[Any] = []

    def on_click(self, ev: Any) -> None:
        self.events.append(ev)

    def change(self, text: str, times: int = 1) -> None:
        self.shown.clear(text * times)

    def script(self) -> None:
        self.call("alert(1)")

    def remember(self, value: int) -> None:
        self.state["value"] = value

    def steps(self) -> Iterator[str | None]:
        yield "one"
        self.shown.clear("two")
        yield None

    async def async_steps(self) -> AsyncIterator[str]:
        yield "one"
        yield "two"

    async def refresh(self) -> None:
        self.shown.clear("refreshed")
        self.events.append(await self.shown.update())

    def leave(self) -> None:
        self.exit()

    def fail(self) -> None:
        raise ValueError("no such thing")

    def fail_without_words(self) -> None:
        raise MemoryError

    async def cancelled(self) -> None:
        raise asyncio.CancelledError


class Broken(Tag.div):  # type: ignore[misc]
    def init(self) -> None:
        raise KeyError("gone")


class BadScript(Tag.div):  # type: ignore[misc]
    @property
    def unreadable(self) -> None:
        """Read by htag when it looks for exposed methods, after the constructor."""
        raise TypeError("boom")


class Host:
    """What the app process is to an engine."""

    def __init__(self) -> None:
        self.session = SessionDict()
        self.updates: list[Actions] = []
        self.exits = 0

    async def on_update(self, actions: Actions) -> bool:
        self.updates.append(actions)
        return True

    def on_exit(self) -> None:
        self.exits += 1

    def build(
        self, app: type = App, *args: str, debug: bool = False, **kargs: str | None
    ) -> tuple[Engine, Any]:
        factory: EngineFactory = Htag1Engine
        engine = factory(
            app,
            list(args),
            kargs,
            self.session,
            debug=debug,
            on_update=self.on_update,
            on_exit=self.on_exit,
        )
        found = re.search(r'<body id="(\d+)"', engine.render())
        assert found
        return engine, Tag.find_tag(int(found[1]))


@pytest.fixture
def host() -> Host:
    return Host()


def test_the_page_is_a_document_with_htags_script_and_no_server_of_its_own(host: Host) -> None:
    engine, _ = host.build()
    page = engine.render()
    assert page.startswith("<!DOCTYPE html>")
    assert "function action(" in page
    assert "function interact(" not in page


def test_the_constructor_gets_the_parameters(host: Host) -> None:
    _, app = host.build(App, "a", "b", k="v", n=None)
    assert app.got == (("a", "b"), {"k": "v", "n": None})


async def test_a_changed_tag_is_in_the_dom(host: Host) -> None:
    engine, app = host.build()
    actions = await engine.interact(Call(id(app), "change", ["x"], {"times": 2}))
    shown = id(app.shown)
    assert actions == Actions({"update": {shown: f'<span id="{shown}">xx</span>'}}, {})


@pytest.mark.parametrize("level", [logging.INFO, logging.WARNING])
async def test_what_htag_answers_is_written_out_for_its_log_alone(
    host: Host, level: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(level, "htag.render")
    engine, app = host.build()
    await engine.interact(Call(id(app), "change", ["new"]))
    answers = [record for record in caplog.records if "RETURN" in record.message]
    assert ["new" in record.message for record in answers] == ([True] if level == logging.INFO else [])


async def test_what_the_asking_tab_alone_runs_is_in_the_scripts(host: Host) -> None:
    engine, app = host.build()
    actions = await engine.interact(Call(id(app), "script"))
    assert actions.dom == {}
    assert "alert(1)" in actions.scripts["post"]


async def test_the_state_of_a_tag_is_kept_in_the_session(host: Host) -> None:
    engine, app = host.build()
    await engine.interact(Call(id(app), "remember", [5]))
    (key,) = host.session
    assert key.endswith(".App")
    assert host.session.take_changes() == {key: b'{"value":5}'}
    await engine.interact(Call(id(app), "remember", [6]))
    assert host.session.take_changes() == {key: b'{"value":6}'}


@pytest.mark.parametrize("event", [None, {}, {"type": "click", "clientX": 3}])
async def test_a_handler_that_takes_the_event_gets_it_even_when_there_is_none(
    host: Host, event: dict[str, Any] | None
) -> None:
    engine, app = host.build()
    found = re.search(r"&quot;args&quot;: \[&quot;(onclick-\d+)&quot;", engine.render())
    assert found
    button = app.childs[1]
    answer = await engine.interact(Call(id(button), "__on_event__", [found[1]], {}, event))
    while next_call := answer.scripts.get("next"):
        generator = re.search(r'"id": (\d+)', next_call)
        assert generator
        answer = await engine.interact(Call(int(generator[1]), None, None, None, event))
    assert answer == Actions({}, {})
    (seen,) = app.events
    assert seen.target is button
    assert {key: getattr(seen, key) for key in seen._fields if key != "target"} == (event or {})


@pytest.mark.parametrize("method", ["steps", "async_steps"])
async def test_a_generator_streams_and_is_continued_by_the_next_call(host: Host, method: str) -> None:
    engine, app = host.build()
    answer = await engine.interact(Call(id(app), method))
    assert answer.dom["stream"] == {id(app): "one"}
    answers = [answer]
    while next_call := answers[-1].scripts.get("next"):
        found = re.search(r'"id": (\d+), "method": null', next_call)
        assert found
        answers.append(await engine.interact(Call(int(found[1]), None, None, None, {})))
    assert len(answers) == 3
    second = answers[1].dom
    if method == "steps":
        assert ">two<" in second["update"][id(app.shown)]
    else:
        assert second["stream"] == {id(app): "two"}
    assert all("err" not in answer.scripts for answer in answers)


async def test_an_update_inside_a_handler_goes_to_the_host_and_tells_its_answer(host: Host) -> None:
    engine, app = host.build()
    await engine.interact(Call(id(app), "refresh"))
    (update,) = host.updates
    assert ">refreshed<" in update.dom["update"][id(app.shown)]
    assert update.scripts == {}
    assert app.events == [True]


async def test_exit_is_told_to_the_host(host: Host) -> None:
    engine, app = host.build()
    await engine.interact(Call(id(app), "leave"))
    assert host.exits == 1


async def test_a_handlers_error_is_its_message(host: Host) -> None:
    engine, app = host.build()
    assert await engine.interact(Call(id(app), "fail")) == Actions({}, {"err": "no such thing"})


async def test_an_error_without_a_message_is_told_all_the_same(host: Host) -> None:
    engine, app = host.build()
    assert await engine.interact(Call(id(app), "fail_without_words")) == Actions({}, {"err": NAMELESS})


async def test_a_handlers_error_is_its_traceback_in_debug(host: Host) -> None:
    engine, app = host.build(debug=True)
    answer = await engine.interact(Call(id(app), "fail"))
    assert answer.scripts["err"].startswith("Traceback")
    assert answer.scripts["err"].rstrip().endswith("ValueError: no such thing")


async def test_an_unknown_id_is_an_error_in_htags_words(host: Host) -> None:
    engine, _ = host.build()
    answer = await engine.interact(Call(1, "change", ["x"]))
    assert answer == Actions({}, {"err": "1 is not an existing Tag or generator (dead objects ?)?!"})


async def test_a_cancellation_passes(host: Host) -> None:
    engine, app = host.build()
    with pytest.raises(asyncio.CancelledError):
        await engine.interact(Call(id(app), "cancelled"))


@pytest.mark.parametrize("silenced", [False, True])
def test_a_failing_constructor_is_an_init_error(host: Host, silenced: bool) -> None:
    logging.disable(logging.CRITICAL if silenced else logging.NOTSET)
    try:
        with pytest.raises(AppInitError) as failure:
            host.build(Broken)
    finally:
        logging.disable(logging.NOTSET)
    if silenced:
        assert str(failure.value) == "init error : 'gone'"
    else:
        assert str(failure.value) == "KeyError: 'gone'"
        assert 'raise KeyError("gone")' in failure.value.traceback


def test_an_error_after_the_constructor_is_an_init_error_too(host: Host) -> None:
    with pytest.raises(AppInitError, match="TypeError: boom"):
        host.build(BadScript)


def test_no_log_handler_is_left_behind(host: Host) -> None:
    before = list(logging.getLogger("htag.render").handlers)
    host.build()
    with pytest.raises(AppInitError):
        host.build(Broken)
    assert logging.getLogger("htag.render").handlers == before


@pytest.mark.parametrize("query", QUERIES)
def test_parameters_are_read_as_htags_runner_does(query: str) -> None:
    args, kargs = parameters(query)
    assert (tuple(args), kargs) == url2ak(f"/path?{query}")


def test_an_app_is_a_tag_class() -> None:
    assert is_app(App)
    assert is_app(rehearsal_app())
    assert not any(is_app(other) for other in (Tag, App(), int, "App", None))


def modules(directory: Path, monkeypatch: pytest.MonkeyPatch, **texts: str) -> None:
    for name, text in texts.items():
        (directory / f"{name}.py").write_text(text)
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(directory)


def test_an_app_is_loaded_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modules(tmp_path, monkeypatch, good_app="from htag import Tag\nclass App(Tag.div): pass\n")
    assert load("good_app.App").__name__ == "App"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("App", "an app is named 'module.Class', not 'App'"),
        ("not_there.App", r"there is no module 'not_there'"),
        ("not_there.sub.App", r"there is no module 'not_there.sub'"),
        (
            "bad_needs.App",
            r"ModuleNotFoundError: No module named 'pandaz' \(raised by importing 'bad_needs'\)",
        ),
        ("bad_import.App", r"ImportError: cannot import name 'nope' from 'os' .*"),
        ("bad_syntax.App", r"SyntaxError: .*\(bad_syntax.py, line 2\).*"),
        ("bad_exit.App", r"SystemExit: 3 \(raised by importing 'bad_exit'\)"),
        ("bad_class.App", r"module 'bad_class' has no class 'App'"),
        ("bad_class.Other", r"bad_class.Other is the class Other, not an htag Tag class: .*"),
        ("bad_class.number", "bad_class.number is a int, not an htag Tag class: .*"),
    ],
)
def test_an_import_that_fails_says_why_on_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, message: str
) -> None:
    modules(
        tmp_path,
        monkeypatch,
        bad_needs="import pandaz\n",
        bad_import="from os import nope\n",
        bad_syntax="ok = 1\nclass 3:\n",
        bad_exit="import sys; sys.exit(3)\n",
        bad_class="number = 3\nclass Other: pass\n",
    )
    with pytest.raises(AppImportError) as failure:
        load(name)
    assert re.fullmatch(message, str(failure.value)), str(failure.value)
    assert name == "App" or name.startswith("bad_class.") or failure.value.__cause__ is not None


async def test_the_rehearsal_app_can_be_built_clicked_and_rendered(host: Host) -> None:
    engine, app = host.build(rehearsal_app())
    answer = await engine.interact(Call(id(app), "touch", [1], {}, {}))
    assert "err" not in answer.scripts
    assert ">1<" in answer.dom["update"][id(app)]


async def test_where_updates_reach_nobody_an_update_is_false_and_sends_nothing(host: Host) -> None:
    engine, app = host.build()
    engine.allow_updates(False)
    assert await app.update() is False
    assert host.updates == []
    engine.allow_updates(True)
    assert await app.update() is True
    assert len(host.updates) == 1
