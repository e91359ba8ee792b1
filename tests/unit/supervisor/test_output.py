"""What an app prints: every line is logged, in order, a few at a time, whatever became of the app."""

import asyncio
import os
from collections.abc import AsyncIterator
from io import FileIO

import pytest

from htagweb.supervisor import output as module
from htagweb.supervisor.output import LINES_AT_ONCE, MAX_LINE_BYTES, Lines
from tests.support.fakes import turns
from tests.support.waiting import until

MANY = 5000


class Output:
    """A pipe that an app writes into, and what was logged of it."""

    def __init__(self) -> None:
        read, self.write_end = os.pipe()
        self.logged: list[str] = []
        self.finished = 0
        self._pipe = FileIO(read, "rb")
        self.lines = Lines(self._pipe, self.logged.append)
        self.transport: asyncio.ReadTransport | None = None

    async def listen(self) -> None:
        loop = asyncio.get_running_loop()
        self.transport, _ = await loop.connect_read_pipe(lambda: self.lines, self._pipe)

    def write(self, text: str) -> None:
        """Print, as the app does; only as much as the pipe holds."""
        os.write(self.write_end, text.encode())

    def close_write_end(self) -> None:
        os.close(self.write_end)
        self.write_end = -1

    def die(self) -> None:
        """Be told that the process is dead."""
        self.lines.finish(self._handle_finished)

    def _handle_finished(self) -> None:
        self.finished += 1

    async def close(self) -> None:
        if self.write_end >= 0:
            self.close_write_end()
        if self.transport is not None:
            self.transport.close()
        await turns()
        self._pipe.close()


@pytest.fixture
async def output() -> AsyncIterator[Output]:
    """Give an output that is listened to."""
    made = Output()
    await made.listen()
    yield made
    await made.close()


def numbered(count: int) -> list[str]:
    return [f"line {number}" for number in range(count)]


async def test_lines_are_logged_as_they_come(output: Output) -> None:
    output.write("one\ntw")
    await until(lambda: output.logged, "the first line is logged")
    output.write("o\n")
    await until(lambda: len(output.logged) == 2, "the second line is logged")
    assert output.logged == ["one", "two"]


async def test_a_long_line_is_logged_in_pieces(output: Output) -> None:
    output.write("x" * (MAX_LINE_BYTES + 1) + "\n")
    await until(lambda: len(output.logged) == 2, "both pieces are logged")
    assert [len(piece) for piece in output.logged] == [MAX_LINE_BYTES, 1]


async def test_of_many_lines_none_is_lost_when_the_pipe_is_closed(output: Output) -> None:
    assert output.transport is not None
    output.lines.data_received("\n".join(numbered(MANY)).encode())
    output.transport.close()
    await until(lambda: len(output.logged) == MANY, "all lines are logged")
    assert output.logged == numbered(MANY)


async def test_others_run_between_a_dead_apps_lines(output: Output) -> None:
    output.lines.data_received("".join(f"{line}\n" for line in numbered(MANY)).encode())
    output.die()
    before = len(output.logged)
    await turns(1)
    assert before < len(output.logged) <= before + 2 * LINES_AT_ONCE
    assert output.finished == 0


async def test_a_dead_apps_last_lines_are_logged_without_a_pause(
    output: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LINES_PAUSE_S", 3600.0)
    output.lines.data_received("".join(f"{line}\n" for line in numbered(MANY)).encode())
    output.die()
    await until(lambda: output.finished, "the output is finished")
    assert output.logged == numbered(MANY)


async def test_what_is_in_the_pipe_when_the_process_has_died_is_read_first(output: Output) -> None:
    output.write("never read\nlast words")
    output.die()  # the event loop had no turn to read it
    assert output.logged == ["never read", "last words"]
    assert output.finished == 1


async def test_who_lives_on_with_the_pipe_is_logged_but_not_waited_for(output: Output) -> None:
    output.write("mine\n")
    output.die()
    assert output.finished == 1
    output.write("my orphan's\n")
    await until(lambda: len(output.logged) == 2, "the orphan's line is logged")
    assert output.logged == ["mine", "my orphan's"]
    assert output.finished == 1


async def test_a_living_app_that_floods_is_not_read_until_its_lines_are_logged(
    output: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LINES_PAUSE_S", 3600.0)
    output.lines.data_received(b"x\n" * (LINES_AT_ONCE + 1))
    assert output.transport is not None
    assert not output.transport.is_reading()
    assert len(output.logged) == LINES_AT_ONCE


async def test_who_goes_on_logs_the_lines_that_were_read_before_at_once() -> None:
    logged: list[str] = []
    read, write = os.pipe()
    pipe = FileIO(read, "rb")
    loop = asyncio.get_running_loop()
    transport, lines = await loop.connect_read_pipe(lambda: Lines(pipe, logged.append, b"one\n\nhal"), pipe)
    await until(lambda: logged == ["one", ""], "what was left is logged")
    os.write(write, b"f\n")
    await until(lambda: logged[2:] == ["half"], "the line is whole")
    assert lines.rest == b""
    transport.close()
    os.close(write)
    await turns()
