"""An app process as its supervisor holds it: when its frames are read, and when it can be handed over."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import AsyncIterator

import pytest

from htagweb.host.frames import Exit, FromApp, encode
from htagweb.supervisor.process import AppProcess, Ends
from tests.support.fakes import turns
from tests.support.waiting import until


class App:
    """An app process whose other ends the test holds; its pid is the test's own."""

    def __init__(self) -> None:
        self.frames: list[FromApp] = []
        self.lines: list[str] = []
        ours, self.socket = socket.socketpair()
        ours.setblocking(False)
        output_read, self.output = os.pipe()
        self._ends = Ends(ours, output_read)
        self._pidfd = os.pidfd_open(os.getpid())
        log = logging.LoggerAdapter(logging.getLogger(__name__))
        self.held = AppProcess(os.getpid(), self._pidfd, self, log)

    async def attach(self) -> None:
        await self.held.attach(self._ends)

    def handle_frame(self, frame: FromApp) -> None:
        self.frames.append(frame)

    def handle_output(self, line: str) -> None:
        self.lines.append(line)

    def handle_gone(self, status: str) -> None:
        raise AssertionError(f"it lives: {status}")

    async def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._pidfd)
        os.close(self._pidfd)
        for transport in (self.held._frames, self.held._output):
            assert transport is not None
            transport.abort() if isinstance(transport, asyncio.Transport) else transport.close()
        self.socket.close()
        os.close(self.output)
        await turns()


@pytest.fixture
async def app() -> AsyncIterator[App]:
    """Give a process that is listened to."""
    made = App()
    await made.attach()
    yield made
    await made.close()


async def test_what_was_to_wait_before_a_restart_waits_after_one_that_failed(app: App) -> None:
    app.held.pause()  # many writes wait for the broker
    app.held.hold()
    app.held.let_go()
    app.socket.send(encode(Exit()))
    await turns()
    assert app.frames == []
    app.held.resume()
    await until(lambda: app.frames, "the frame is read")


async def test_what_need_not_wait_any_more_is_not_read_while_it_is_held(app: App) -> None:
    app.held.pause()
    app.held.hold()
    app.held.resume()
    app.socket.send(encode(Exit()))
    await turns()
    assert app.frames == []
    app.held.let_go()
    await until(lambda: app.frames, "the frame is read")


async def test_an_app_that_floods_its_output_is_handed_over_with_the_lines_that_are_not_logged_yet(
    app: App,
) -> None:
    os.write(app.output, b"\n" * 50_000 + b"x" * 8192 + b"half")
    await until(lambda: app.lines, "the first lines are logged")
    app.held.hold()
    assert app.held.is_quiet
    rest = app.held.dump().output_rest
    assert len(app.lines) + rest.count(b"\n") == 50_001
    assert rest.endswith(b"\n" + b"x" * 8192 + b"\nhalf")
