"""The app process on one end of a socket pair, the test as its supervisor on the other; no process."""

import asyncio
import json
import re
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any, ClassVar, TypeVar

import msgspec
import pytest
from htag import Tag

from htagweb.host import app as app_module
from htagweb.host import frames
from htagweb.host.app_session import AppSession
from htagweb.host.engines.htag1 import Htag1Engine
from htagweb.host.frames import Call, FromApp
from htagweb.host.process import EXIT_BAD_FRAME, EXIT_NOT_BUILT, EXIT_OK, EXIT_SUPERVISOR_GONE

DEADLINE_S = 10
F = TypeVar("F", bound=FromApp)


class App(Tag.div):  # type: ignore[misc]
    """Handlers that tell, wait and fail."""

    made: ClassVar[list["App"]] = []

    def init(self, kind: str = "") -> None:
        self.kind = kind
        self.gate = asyncio.Event()
        self.tasks: list[asyncio.Task[Any]] = []
        self.delivered: list[bool] = []
        self.log: list[Any] = []
        self.shown = Tag.span("zero")
        self.add(self.shown)
        App.made.append(self)
        if kind == "broken":
            raise ValueError("cannot\nbe built")
        if kind == "exits":
            raise SystemExit(3)

    def render(self) -> None:
        if self.kind == "unrenderable":
            raise LookupError("no <template>")

    def show(self, text: str) -> None:
        self.log.append(text)
        self.shown.clear(text)

    def show_odd(self) -> None:
        self.shown.clear("a\ud800b")

    async def wait(self) -> None:
        self.log.append("waiting")
        await self.gate.wait()
        self.shown.clear("waited")

    def open(self) -> None:
        self.gate.set()

    def read(self) -> None:
        self.log.append(dict(self.session))

    def write(self, key: str, value: Any) -> None:
        self.session[key] = value

    def spoil(self, key: str) -> None:
        self.session.setdefault(key, []).append({1})
        self.session["good"] = 1
        self.shown.clear("shown all the same")

    def drop(self, key: str) -> None:
        del self.session[key]

    async def refresh(self) -> None:
        self.delivered.append(await self.update())

    def clock(self, leave: bool = False) -> None:
        self.tasks.append(asyncio.get_running_loop().create_task(self._tick(leave)))

    async def _tick(self, leave: bool) -> None:
        await self.gate.wait()
        if leave:
            self.exit()
        self.shown.clear("ticked")
        self.delivered.append(await self.shown.update())

    async def leave(self) -> None:
        self.exit()
        self.exit()
        await self.gate.wait()

    def break_render(self) -> None:
        self.kind = "unrenderable"

    async def give_up(self) -> None:
        raise asyncio.CancelledError

    def fail(self) -> None:
        raise ValueError("no such thing")


class Supervisor:
    """The supervisor's end: sends frames, receives frames, and waits for the exit code."""

    def __init__(self, sock: socket.socket, running: asyncio.Task[int]) -> None:
        self.sock = sock
        self.running = running
        self._splitter = frames.FrameSplitter()
        self._received: list[FromApp] = []
        self._number = 0

    async def send(self, *sent: frames.Frame) -> None:
        """Send frames so that one read brings them all."""
        await asyncio.get_running_loop().sock_sendall(self.sock, b"".join(map(frames.encode, sent)))

    async def receive(self) -> FromApp:
        async with asyncio.timeout(DEADLINE_S):
            while not self._received:
                data = await asyncio.get_running_loop().sock_recv(self.sock, 1 << 20)
                if not data:
                    raise EOFError("the app process has closed the socket")
                self._received += map(frames.decode_from_app, self._splitter.feed(data))
        return self._received.pop(0)

    async def expect(self, kind: type[F]) -> F:
        frame = await self.receive()
        assert isinstance(frame, kind), frame
        return frame

    async def start(self, *args: str, debug: bool = False, **session: str) -> App:
        values = {key: msgspec.Raw(text.encode()) for key, text in session.items()}
        await self.send(frames.Start("any.App", list(args), {}, values, debug, "r0"))
        page = await self.expect(frames.Page)
        assert page.request == "r0"
        found = re.search(r'<body id="(\d+)"', page.html)
        assert found
        made = Tag.find_tag(int(found[1]))
        assert isinstance(made, App)
        return made

    def interaction(self, app: App, method: str, *args: Any) -> frames.Interact:
        self._number += 1
        call = msgspec.json.encode(Call(id(app), method, list(args), {}, None))
        return frames.Interact("page", self._number, msgspec.Raw(call))

    async def ask(self, app: App, method: str, *args: Any) -> frames.Answer:
        await self.send(self.interaction(app, method, *args))
        return await self.expect(frames.Answer)

    async def code(self) -> int:
        async with asyncio.timeout(DEADLINE_S):
            return await self.running


def of(raw: msgspec.Raw) -> Any:
    return json.loads(bytes(raw))


def changes(frame: frames.Saving) -> dict[str, Any]:
    return {key: None if raw is None else of(raw) for key, raw in frame.changes.items()}


Launch = Callable[..., Supervisor]


@pytest.fixture
async def launch() -> AsyncIterator[Launch]:
    launched: list[Supervisor] = []

    def start(**options: Any) -> Supervisor:
        mine, theirs = socket.socketpair()
        mine.setblocking(False)
        given = {"load_app": lambda name: App, "make_engine": Htag1Engine, **options}
        running = asyncio.get_running_loop().create_task(app_module.run(theirs, **given))
        launched.append(Supervisor(mine, running))
        return launched[-1]

    yield start
    for supervisor in launched:
        supervisor.sock.close()
        await supervisor.code()
    me = asyncio.current_task()
    left = [task for task in asyncio.all_tasks() if task is not me]
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    App.made.clear()


@pytest.fixture
async def supervisor(launch: Launch) -> Supervisor:
    return launch()


async def test_the_first_page_answers_the_start(supervisor: Supervisor) -> None:
    app = await supervisor.start("a")
    assert app.kind == "a"


async def test_an_app_that_cannot_be_built_is_failed_and_the_process_exits(supervisor: Supervisor) -> None:
    await supervisor.send(frames.Start("any.App", ["broken"], {}, {}, False, "r0"))
    failed = await supervisor.expect(frames.Failed)
    assert (failed.request, failed.error) == ("r0", "ValueError: cannot be built")
    assert "in init" in failed.traceback
    assert await supervisor.code() == EXIT_NOT_BUILT


async def test_an_app_that_cannot_be_rendered_first_is_failed(supervisor: Supervisor) -> None:
    await supervisor.send(frames.Start("any.App", ["unrenderable"], {}, {}, False, "r0"))
    assert (await supervisor.expect(frames.Failed)).error == "LookupError: no <template>"
    assert await supervisor.code() == EXIT_NOT_BUILT


async def test_an_app_that_calls_sys_exit_while_it_is_built_is_failed(supervisor: Supervisor) -> None:
    await supervisor.send(frames.Start("any.App", ["exits"], {}, {}, False, "r0"))
    assert (await supervisor.expect(frames.Failed)).error == "SystemExit: 3"
    assert await supervisor.code() == EXIT_NOT_BUILT


async def test_an_app_that_fails_to_render_again_says_so_in_a_page_and_lives_on(
    supervisor: Supervisor,
) -> None:
    app = await supervisor.start()
    await supervisor.ask(app, "break_render")
    await supervisor.send(frames.Render("r1"))
    page = await supervisor.expect(frames.Page)
    assert "LookupError: no &lt;template&gt;" in page.html
    assert "Traceback" not in page.html
    app.kind = ""
    await supervisor.send(frames.Render("r2"))
    assert ">zero</span>" in (await supervisor.expect(frames.Page)).html


async def test_a_rendered_page_shows_what_has_changed(supervisor: Supervisor) -> None:
    app = await supervisor.start()
    await supervisor.ask(app, "show", "news")
    await supervisor.send(frames.Render("r1"))
    page = await supervisor.expect(frames.Page)
    assert page.request == "r1"
    assert ">news</span>" in page.html


async def test_an_app_whose_pages_have_no_socket_sends_no_update(supervisor: Supervisor) -> None:
    app = await supervisor.start()
    await supervisor.send(frames.Render("r1", http_only=True))
    await supervisor.expect(frames.Page)
    assert of((await supervisor.ask(app, "refresh")).scripts) == {}
    assert app.delivered == [False]


async def test_an_interaction_is_answered_with_its_page_and_number(supervisor: Supervisor) -> None:
    app = await supervisor.start()
    answer = await supervisor.ask(app, "show", "x")
    assert (answer.page, answer.number) == ("page", 1)
    assert of(answer.dom) == {"update": {str(id(app.shown)): f'<span id="{id(app.shown)}">x</span>'}}
    assert of(answer.scripts) == {}


async def test_interactions_start_in_the_order_of_the_stream(supervisor: Supervisor) -> None:
    app = await supervisor.start()
    await supervisor.send(*[supervisor.interaction(app, "show", str(i)) for i in range(20)])
    for _ in range(20):
        await supervisor.expect(frames.Answer)
    assert app.log == [str(i) for i in range(20)]


async def test_a_waiting_interaction_does_not_hold_up_the_next(supervisor: Supervisor) -> None:
    app = await supervisor.start()
    await supervisor.send(supervisor.interaction(app, "wait"), supervisor.interaction(app, "open"))
    answers = [await supervisor.expect(frames.Answer) for _ in range(2)]
    assert [answer.number for answer in answers] == [2, 1]


async def test_session_data_is_seen_by_the_interaction_after_it(supervisor: Supervisor) -> None:
    app = await supervisor.start(a="1")
    data = frames.SessionData({"a": msgspec.Raw(b"2"), "b": msgspec.Raw(b"3")}, 0)
    await supervisor.send(data, supervisor.interaction(app, "read"))
    await supervisor.expect(frames.Answer)
    assert app.log == [{"a": 2, "b": 3}]


async def test_an_answer_carries_the_session_changes_once(supervisor: Supervisor) -> None:
    app = await supervisor.start(gone="1")
    assert changes(await supervisor.ask(app, "write", "k", [1])) == {"k": [1]}
    assert changes(await supervisor.ask(app, "show", "x")) == {}
    assert changes(await supervisor.ask(app, "drop", "gone")) == {"gone": None}


async def test_data_read_before_a_change_was_saved_does_not_undo_it(supervisor: Supervisor) -> None:
    app = await supervisor.start(n="0")
    await supervisor.ask(app, "write", "n", 1)
    old = {"n": msgspec.Raw(b"0"), "other": msgspec.Raw(b"7")}
    await supervisor.send(frames.SessionData(old, 0), supervisor.interaction(app, "read"))
    await supervisor.expect(frames.Answer)
    await supervisor.send(
        frames.SessionData({"n": msgspec.Raw(b"5")}, 1), supervisor.interaction(app, "read")
    )
    await supervisor.expect(frames.Answer)
    assert app.log == [{"n": 1, "other": 7}, {"n": 5}]


async def test_an_unsavable_value_is_an_error_that_names_its_key_and_the_rest_is_kept(
    supervisor: Supervisor,
) -> None:
    app = await supervisor.start(bad="[0]")
    answer = await supervisor.ask(app, "spoil", "bad")
    assert of(answer.scripts)["err"].startswith("session['bad'] holds a set")
    assert "shown all the same" in str(of(answer.dom))
    assert changes(answer) == {"good": 1}
    assert app.session["bad"] == [0]
    assert of((await supervisor.ask(app, "show", "x")).scripts) == {}


async def test_a_session_value_over_the_limit_is_an_error_and_put_back(launch: Launch) -> None:
    supervisor = launch(max_changes_bytes=100)
    app = await supervisor.start()
    answer = await supervisor.ask(app, "write", "big", "x" * 200)
    assert of(answer.scripts) == {"err": "session['big'] of 207 bytes is over the limit of 100"}
    assert changes(answer) == {}
    assert "big" not in app.session


async def test_an_answer_over_the_limit_is_an_error(launch: Launch) -> None:
    supervisor = launch(max_action_bytes=1000)
    app = await supervisor.start()
    answer = await supervisor.ask(app, "show", "x" * 2000)
    assert of(answer.dom) == {}
    assert re.fullmatch(r"the answer of \d+ bytes is over the limit of 1000", of(answer.scripts)["err"])


async def test_text_that_utf8_cannot_hold_is_carried(supervisor: Supervisor) -> None:
    app = await supervisor.start()
    answer = await supervisor.ask(app, "show_odd")
    assert ">a?b<" in of(answer.dom)["update"][str(id(app.shown))]
    await supervisor.send(frames.Render("r1"))
    assert "\\ud800" in (await supervisor.expect(frames.Page)).html


async def test_a_handlers_error_is_its_message_and_a_traceback_in_debug(launch: Launch) -> None:
    plain, debug = launch(), launch()
    assert of((await plain.ask(await plain.start(), "fail")).scripts) == {"err": "no such thing"}
    app = await debug.start(debug=True)
    assert of((await debug.ask(app, "fail")).scripts)["err"].startswith("Traceback")


async def test_a_handler_that_is_cancelled_from_within_is_answered(supervisor: Supervisor) -> None:
    app = await supervisor.start()
    answer = await supervisor.ask(app, "give_up")
    assert of(answer.scripts) == {"err": "the interaction was cancelled"}


async def test_a_call_that_is_none_is_answered_with_an_error(supervisor: Supervisor) -> None:
    await supervisor.start()
    await supervisor.send(frames.Interact("page", 1, msgspec.Raw(b'{"id":"x"}')))
    answer = await supervisor.expect(frames.Answer)
    assert of(answer.scripts)["err"].startswith("FrameError: ")


@pytest.mark.parametrize("delivered", [True, False])
async def test_an_update_returns_what_became_of_it(supervisor: Supervisor, delivered: bool) -> None:
    app = await supervisor.start()
    await supervisor.send(supervisor.interaction(app, "refresh"))
    update = await supervisor.expect(frames.Update)
    assert str(id(app)) in of(update.dom)["update"]
    await supervisor.send(frames.Updated(update.id + 1, not delivered), frames.Updated(update.id, delivered))
    await supervisor.expect(frames.Answer)
    assert app.delivered == [delivered]


async def test_an_update_that_nobody_answers_is_not_delivered(launch: Launch) -> None:
    supervisor = launch(update_timeout_s=0.01)
    app = await supervisor.start()
    await supervisor.send(supervisor.interaction(app, "refresh"))
    await supervisor.expect(frames.Update)
    await supervisor.expect(frames.Answer)
    assert app.delivered == [False]


async def test_an_update_is_not_delivered_when_the_supervisor_is_lost(supervisor: Supervisor) -> None:
    app = await supervisor.start()
    await supervisor.ask(app, "clock")
    await supervisor.ask(app, "open")
    await supervisor.expect(frames.Update)
    supervisor.sock.close()
    assert await supervisor.code() == EXIT_SUPERVISOR_GONE
    await asyncio.gather(*app.tasks)
    assert app.delivered == [False]


async def test_a_task_of_the_app_goes_on_between_interactions(supervisor: Supervisor) -> None:
    app = await supervisor.start()
    await supervisor.ask(app, "clock")
    app.gate.set()
    assert "ticked" in str(of((await supervisor.expect(frames.Update)).dom))


async def test_exit_is_told_once_and_after_the_answer_of_its_interaction(supervisor: Supervisor) -> None:
    app = await supervisor.start()
    await supervisor.send(supervisor.interaction(app, "leave"), supervisor.interaction(app, "open"))
    assert (await supervisor.expect(frames.Answer)).number == 2
    assert (await supervisor.expect(frames.Answer)).number == 1
    await supervisor.expect(frames.Exit)
    assert isinstance((await supervisor.ask(app, "leave")), frames.Answer)


async def test_exit_outside_an_interaction_is_told_at_once(supervisor: Supervisor) -> None:
    app = await supervisor.start()
    await supervisor.ask(app, "clock", True)
    app.gate.set()
    await supervisor.expect(frames.Exit)
    await supervisor.expect(frames.Update)


async def test_the_end_saves_what_no_frame_carried_and_is_the_last_word(supervisor: Supervisor) -> None:
    app = await supervisor.start()
    await supervisor.send(supervisor.interaction(app, "wait"))
    await supervisor.send(frames.Render("r1"))
    await supervisor.expect(frames.Page)
    app.session["late"] = 1
    await supervisor.send(frames.End(), frames.Render("r2"))
    assert changes(await supervisor.expect(frames.Save)) == {"late": 1}
    with pytest.raises(EOFError):
        await supervisor.receive()
    assert await supervisor.code() == EXIT_OK


async def test_the_end_before_the_start_is_an_end(supervisor: Supervisor) -> None:
    await supervisor.send(frames.End())
    await supervisor.expect(frames.Save)
    assert await supervisor.code() == EXIT_OK


async def test_the_process_exits_when_the_supervisor_is_gone(supervisor: Supervisor) -> None:
    await supervisor.start()
    supervisor.sock.close()
    assert await supervisor.code() == EXIT_SUPERVISOR_GONE


@pytest.mark.parametrize(
    "body",
    [b"\x00\x00\x00\x02{}", b"\xff\xff\xff\xff", frames.encode(frames.Render("r"))],
    ids=["no type", "too long", "too early"],
)
async def test_a_bad_frame_ends_the_process_and_is_told_on_stderr(
    supervisor: Supervisor, capsys: pytest.CaptureFixture[str], body: bytes
) -> None:
    await asyncio.get_running_loop().sock_sendall(supervisor.sock, body)
    assert await supervisor.code() == EXIT_BAD_FRAME
    assert "htagweb: bad frame from the supervisor: " in capsys.readouterr().err


def test_every_kind_of_unsavable_value_is_named_and_dropped() -> None:
    session = AppSession({"kept": b"[1]"})
    loop: list[Any] = []
    loop.append(loop)
    session["a"], session["b"], session["c"] = [], [], []
    session["a"].append(loop)
    session["b"].append("\ud800")
    session["c"].append(type("Text", (str,), {})("x"))
    session["kept"].append(b"bytes")
    taken = session.take(1000)
    named = [re.search(r"session\['(\w+)'\]", problem) for problem in taken.problems]
    assert sorted(name[1] for name in named if name) == ["a", "b", "c", "kept"]
    assert session == {"kept": [1]}
    assert session.take(1000) == ({}, [], [])
