"""The app process: one engine, driven by the frames of its supervisor, on one asyncio loop.

The app's own code runs on that loop too: a handler that blocks, blocks its own app and nobody
else's. Tasks that the app starts by itself go on between interactions.
"""

from __future__ import annotations

import asyncio
import json
import socket
import traceback
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, NamedTuple, cast

import msgspec

from htagweb.host.app_session import AppSession, Taken
from htagweb.host.engines import Actions, AppImportError, AppInitError, Engine, EngineFactory
from htagweb.host.engines.htag1 import Htag1Engine, load
from htagweb.host.frames import (
    MAX_FRAME_BYTES,
    Answer,
    End,
    Exit,
    Failed,
    Frame,
    FrameError,
    FrameSplitter,
    Interact,
    Page,
    Render,
    Save,
    SessionData,
    Start,
    ToApp,
    Update,
    Updated,
    decode_call,
    decode_to_app,
    encode,
)
from htagweb.host.loops import new_event_loop
from htagweb.host.process import (
    EXIT_BAD_FRAME,
    EXIT_NOT_BUILT,
    EXIT_OK,
    EXIT_SUPERVISOR_GONE,
    EXIT_UNEXPECTED,
)
from htagweb.host.telling import describe, failure_page, one_line, printable, tell_operator

MAX_ACTION_BYTES = 16 * 1024 * 1024
MAX_CHANGES_BYTES = 1024 * 1024
"""At most what the broker takes at once (``SESSION_MAX_WRITE_BYTES``): a test compares them."""
MAX_PAGE_BYTES = 15 * 1024 * 1024
"""Below what the broker takes (``MAX_OUTBOX_BYTES``), with room for the message around it."""
MAX_WAITING_UPDATES = 1000
MAX_TRACEBACK_CHARS = 64 * 1024
UPDATE_TIMEOUT_S = 30.0
_ENVELOPE_BYTES = 64 * 1024
"""What a frame holds besides actions, page and changes: names and numbers."""
_WORST_ESCAPE = 6
"""A control character is six bytes in JSON."""

assert max(MAX_ACTION_BYTES, MAX_PAGE_BYTES) + MAX_CHANGES_BYTES + _ENVELOPE_BYTES < MAX_FRAME_BYTES


class _Packed(NamedTuple):
    """Actions as frames carry them, with the session's changes of that moment."""

    dom: msgspec.Raw
    scripts: msgspec.Raw
    saving: Taken


class _Turn:
    """One page or interaction: an ``exit()`` that the app calls in it is told after its answer."""

    __slots__ = ("answered", "exit_wanted")

    def __init__(self) -> None:
        self.answered = False
        self.exit_wanted = False


# A task that the app starts inherits it: it then knows whether that interaction is over.
_turn: ContextVar[_Turn | None] = ContextVar("htagweb_turn", default=None)


class AppProcess(asyncio.Protocol):
    """The app's end of the socket; owns the engine and the tasks of its interactions."""

    def __init__(
        self,
        *,
        load_app: Callable[[str], type],
        make_engine: EngineFactory,
        max_action_bytes: int,
        max_changes_bytes: int,
        update_timeout_s: float,
    ) -> None:
        self._load_app = load_app
        self._make_engine = make_engine
        self._max_action_bytes = max_action_bytes
        self._max_changes_bytes = max_changes_bytes
        self._update_timeout_s = update_timeout_s
        self._loop = asyncio.get_running_loop()
        self.exit_code: asyncio.Future[int] = self._loop.create_future()
        """Set once the socket is closed: what the process should exit with."""
        self._code = EXIT_SUPERVISOR_GONE
        self._leaving = False
        self._exit_told = False
        self._debug = False
        self._splitter = FrameSplitter()
        self._transport: asyncio.Transport
        self._engine: Engine
        self._session: AppSession | None = None
        self._interactions: set[asyncio.Task[None]] = set()
        self._updates: dict[int, asyncio.Future[bool]] = {}
        self._last_update = 0

    # The socket

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport; the supervisor speaks first."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Handle each frame in the order of the stream; what is no frame ends the process."""
        try:
            for body in self._splitter.feed(data):
                if self._leaving:
                    return
                self._handle(decode_to_app(body))
        except FrameError as exc:
            tell_operator(f"bad frame from the supervisor: {exc}")
            self.abort(EXIT_BAD_FRAME)

    def eof_received(self) -> None:
        """Leave at once: nobody reads any more."""
        if not self._leaving:
            self.abort(EXIT_SUPERVISOR_GONE)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell every waiting ``tag.update()`` that it was not delivered, and the process to exit."""
        self._leaving = True
        for number in list(self._updates):
            self._settle(number, False)
        if exc is not None and not isinstance(exc, OSError):
            self._code = EXIT_UNEXPECTED  # asyncio has logged its traceback
        if not self.exit_code.done():
            self.exit_code.set_result(self._code)

    def abort(self, code: int) -> None:
        """Leave without sending what is still buffered."""
        self._leaving = True
        self._code = code
        self._transport.abort()

    def _leave(self, code: int, last: Frame) -> None:
        """Send one last frame, and leave when all is sent."""
        self._send(last)
        self._leaving = True
        self._code = code
        self._transport.close()

    def _send(self, frame: Frame) -> None:
        if not self._leaving:
            self._transport.write(encode(frame))

    # Frames of the supervisor

    def _handle(self, frame: ToApp) -> None:
        if isinstance(frame, Start):
            self.handle_start(frame)
        elif isinstance(frame, End):
            self.handle_end()
        elif self._session is None:
            raise FrameError(f"expected a start first, got {type(frame).__name__}")
        elif isinstance(frame, Interact):
            self.handle_interact(frame)
        elif isinstance(frame, SessionData):
            self._session.merge_read(frame.values, frame.saves)
        elif isinstance(frame, Updated):
            self._settle(frame.id, frame.delivered)
        else:
            self.handle_render(frame)

    def handle_start(self, frame: Start) -> None:
        """Build the app and answer its page, or say why not and leave."""
        if self._session is not None:
            raise FrameError("expected one start, got another")
        self._session = AppSession(frame.session)
        self._debug = frame.debug
        turn = _Turn()
        token = _turn.set(turn)
        try:
            self._engine = self._make_engine(
                self._load_app(frame.app),
                frame.args,
                frame.kargs,
                self._session,
                debug=frame.debug,
                on_update=self._update,
                on_exit=self._exit,
            )
            self._engine.allow_updates(not frame.http_only)
            page = self._page(frame.request, self._engine.render())
        except AppInitError as exc:
            self._fail(frame.request, one_line(str(exc)), exc.traceback)
        except AppImportError as exc:
            self._fail(frame.request, one_line(str(exc)), traceback.format_exc())
        except (Exception, SystemExit) as exc:  # noqa: BLE001 - the app's code may raise anything: it is told
            self._fail(frame.request, describe(exc), traceback.format_exc())
        else:
            self._send(page)
            self._end_turn(turn)
        finally:
            _turn.reset(token)

    def _fail(self, request: str, error: str, trace: str) -> None:
        self._leave(EXIT_NOT_BUILT, Failed(request, error, printable(trace)[-MAX_TRACEBACK_CHARS:]))

    def handle_render(self, frame: Render) -> None:
        """Answer the whole page; when the app fails to render, a page that says so, and the app lives on."""
        turn = _Turn()
        token = _turn.set(turn)
        self._engine.allow_updates(not frame.http_only)
        try:
            page = self._page(frame.request, self._engine.render())
        except Exception as exc:  # noqa: BLE001 - the app's render may raise anything; its state survives
            trace = traceback.format_exc()
            tell_operator(f"the app failed to render: {trace}")
            page = self._page(frame.request, failure_page(describe(exc), trace if self._debug else ""))
        finally:
            _turn.reset(token)
        self._send(page)
        self._end_turn(turn)

    def handle_interact(self, frame: Interact) -> None:
        """Start the interaction; it runs beside the others."""
        task = self._loop.create_task(self._interact(frame))
        self._interactions.add(task)
        task.add_done_callback(self._interaction_ended)

    def handle_end(self) -> None:
        """Save the session's changes and leave; what still runs is not waited for."""
        saving = self._take()
        tell_operator(*saving.problems)
        self._leave(EXIT_OK, Save(changed=saving.changed, deleted=saving.deleted))

    # Interactions

    async def _interact(self, frame: Interact) -> None:
        turn = _Turn()
        _turn.set(turn)  # in this task's own context
        try:
            packed = self._pack(await self._engine.interact(decode_call(frame.call)))
        except asyncio.CancelledError:
            # The handler awaited something that was cancelled. Unanswered, the interaction would
            # run into its time limit and take the app with it. When it is this task that was
            # cancelled, nobody reads the answer, and the task is at its end all the same.
            packed = self._pack(_error("the interaction was cancelled"))
        except Exception as exc:  # noqa: BLE001 - a bad call or a failing engine; this interaction alone is lost
            traceback.print_exc()
            packed = self._pack(_error(describe(exc)))
        dom, scripts, saving = packed
        answer = Answer(
            frame.page, frame.number, dom, scripts, changed=saving.changed, deleted=saving.deleted
        )
        self._send(answer)
        self._end_turn(turn)

    def _interaction_ended(self, task: asyncio.Task[None]) -> None:
        self._interactions.discard(task)
        if not task.cancelled() and (exc := task.exception()) is not None:
            traceback.print_exception(exc)
            self.abort(EXIT_UNEXPECTED)

    def _take(self) -> Taken:
        if self._session is None:
            return Taken({}, [], [])
        return self._session.take(self._max_changes_bytes)

    def _pack(self, actions: Actions) -> _Packed:
        """Return ``dom``, ``scripts`` and session changes as JSON; too much, or unsavable, is an error."""
        dom, scripts = _json(actions.dom), _json(actions.scripts)
        saving = self._take()
        if saving.problems:
            tell_operator(*saving.problems)
            scripts = _json(_with_errors(actions.scripts, saving.problems))
        size = len(dom) + len(scripts)
        if size > self._max_action_bytes:
            problem = f"the answer of {size} bytes is over the limit of {self._max_action_bytes}"
            tell_operator(problem)
            dom, scripts = b"{}", _json(_with_errors({}, [problem, *saving.problems]))
        return _Packed(msgspec.Raw(dom), msgspec.Raw(scripts), saving)

    def _page(self, request: str, document: str) -> Page:
        if len(document) * _WORST_ESCAPE > MAX_PAGE_BYTES:
            size = len(_json(document))
            if size > MAX_PAGE_BYTES:
                raise ValueError(f"the page of {size} bytes is over the limit of {MAX_PAGE_BYTES}")
        saving = self._take()
        tell_operator(*saving.problems)
        return Page(request, printable(document), changed=saving.changed, deleted=saving.deleted)

    # What the app asks for by itself

    async def _update(self, actions: Actions) -> bool:
        """Send an update; return whether a browser has got it. False, too, when nobody says so in time."""
        if self._leaving or len(self._updates) >= MAX_WAITING_UPDATES:
            return False
        dom, scripts, saving = self._pack(actions)
        self._last_update += 1
        number = self._last_update
        settled: asyncio.Future[bool] = self._loop.create_future()
        self._updates[number] = settled
        timer = self._loop.call_later(self._update_timeout_s, self._settle, number, False)
        try:
            self._send(Update(number, dom, scripts, changed=saving.changed, deleted=saving.deleted))
            return await settled
        finally:
            timer.cancel()
            self._updates.pop(number, None)

    def _settle(self, number: int, delivered: bool) -> None:
        update = self._updates.pop(number, None)
        if update is not None and not update.done():
            update.set_result(delivered)

    def _exit(self) -> None:
        turn = _turn.get()
        if turn is None or turn.answered:
            self._tell_exit()
        else:
            turn.exit_wanted = True

    def _end_turn(self, turn: _Turn) -> None:
        turn.answered = True
        if turn.exit_wanted:
            self._tell_exit()

    def _tell_exit(self) -> None:
        if not self._exit_told:
            self._exit_told = True
            self._send(Exit())


def _json(value: Any) -> bytes:
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:  # a lone surrogate in the app's text: neither UTF-8 nor msgspec's JSON has it
        return json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")


def _error(message: str) -> Actions:
    return Actions({}, {"err": message})


def _with_errors(scripts: dict[str, Any], problems: list[str]) -> dict[str, Any]:
    mine = [scripts["err"]] if scripts.get("err") else []
    return {**scripts, "err": "\n".join([*mine, *problems])}


async def run(
    sock: socket.socket,
    *,
    load_app: Callable[[str], type] = load,
    make_engine: EngineFactory = Htag1Engine,
    max_action_bytes: int = MAX_ACTION_BYTES,
    max_changes_bytes: int = MAX_CHANGES_BYTES,
    update_timeout_s: float = UPDATE_TIMEOUT_S,
) -> int:
    """Serve one app on the socket until its end; return what the process should exit with.

    Interactions and tasks of the app that still run are left running: the process is to exit.
    """
    app = AppProcess(
        load_app=load_app,
        make_engine=make_engine,
        max_action_bytes=max_action_bytes,
        max_changes_bytes=max_changes_bytes,
        update_timeout_s=update_timeout_s,
    )
    await asyncio.get_running_loop().connect_accepted_socket(lambda: app, sock)
    return await app.exit_code


def serve(sock: socket.socket, load_app: Callable[[str], type]) -> int:
    """Run the app process on a loop of its own; return its exit code, for ``os._exit``.

    The loop is left as it is, with what still runs on it: unwinding the app's tasks could take
    for ever. What escapes the loop (a handler's ``sys.exit()``) is raised.
    """
    loop = new_event_loop()
    asyncio.set_event_loop(loop)
    return loop.run_until_complete(run(sock, load_app=load_app))
