"""What travels to the program that takes a supervisor's place, and how that is started."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import msgspec
import pytest

from htagweb.host import frames
from htagweb.supervisor import handover
from htagweb.supervisor.handover import FORMAT, Handover, HandoverError, InstanceState
from htagweb.supervisor.instance import OwnedInstance
from tests.support.fakes import turns
from tests.unit.supervisor.harness import Rig, interaction

POSITION = "7-0"


async def dumped(rig: Rig) -> InstanceState:
    """Return the state of an instance that answered one click and has a second under way."""
    await rig.start()
    await rig.connect()
    await rig.bring(interaction(1), interaction(2, worker="w"))
    await rig.answer(1)
    rig.owned.hold()
    assert rig.owned.is_portable
    return rig.owned.dump(POSITION)


def through_memory(state: InstanceState) -> InstanceState:
    """Return the state as the other program reads it."""
    descriptor = handover.write(Handover(FORMAT, "s-1-aa", 1.5, [state]))
    read = handover.read(descriptor)
    assert (read.supervisor, read.began) == ("s-1-aa", 1.5)
    return read.instances[0]


async def test_a_state_is_the_same_after_its_way_through_memory(rig: Rig) -> None:
    state = await dumped(rig)
    assert through_memory(state) == state


async def test_a_resumed_instance_goes_on_with_what_was_under_way(rig: Rig) -> None:
    state = through_memory(await dumped(rig))
    emitted = len(rig.broker.of("emit"))
    owned = rig.owned = OwnedInstance.resumed(rig.services, state)
    assert owned.life == state.life
    owned.handle_frame(frames.Answer("page", 2, msgspec.Raw(b"{}"), msgspec.Raw(b"{}")))
    await turns()
    rig.take_over_running()
    await turns()
    number, _, _, waiting = rig.broker.of("emit")[emitted]
    assert number == 2
    assert waiting == ("w", "page:2")


async def test_a_resumed_instance_takes_no_click_twice(rig: Rig) -> None:
    state = through_memory(await dumped(rig))
    rig.owned = OwnedInstance.resumed(rig.services, state)
    rig.take_over_running()
    await rig.bring(interaction(2))
    assert [frame for frame in rig.process.sent if isinstance(frame, frames.Interact)] == []


async def test_an_instance_with_something_to_write_is_not_handed_over_yet(rig: Rig) -> None:
    await rig.start()
    rig.broker.away = True
    await rig.bring(interaction(1))
    await rig.answer(1)
    rig.owned.hold()
    assert not rig.owned.is_portable
    rig.broker.away = False
    await rig.advance(1)
    assert rig.owned.is_portable


async def test_an_instance_that_waits_for_its_session_is_not_handed_over_yet(rig: Rig) -> None:
    await rig.start()
    rig.broker.away = True
    await rig.bring(interaction(1), version="other")
    rig.owned.hold()
    assert not rig.owned.is_portable


def test_another_format_is_refused() -> None:
    descriptor = handover.write(Handover(FORMAT + 1, "s", 0.0, []))
    with pytest.raises(HandoverError, match=f"expected a handover of format {FORMAT}, got {FORMAT + 1}"):
        handover.read(descriptor)


def test_what_is_no_handover_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"no handover")
    with pytest.raises(HandoverError, match="expected a handover"):
        handover.read(os.open(tmp_path / "file", os.O_RDONLY))


def test_the_command_is_the_same_without_what_only_its_start_needed() -> None:
    first = ["python", "-m", "htagweb.supervisor.cli", "--ready-fd", "5", "--name", "s1"]
    again = [*first, "--handover-fd", "9", "--ready-fd=7"]
    assert handover.command(first) == [sys.executable, "-m", "htagweb.supervisor.cli", "--name", "s1"]
    assert handover.command(again) == handover.command(first)


async def test_a_version_that_does_not_start_is_told_in_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    failing = "import sys; print('no such module'); sys.exit(1)"
    monkeypatch.setattr(sys, "orig_argv", ["python", "-c", failing])
    with pytest.raises(HandoverError, match="does not start: no such module"):
        await handover.check(Handover(FORMAT, "s", 0.0, []))


async def test_a_version_that_starts_is_fine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "orig_argv", ["python", "-c", "pass"])
    await handover.check(Handover(FORMAT, "s", 0.0, []))


@pytest.mark.parametrize("has_thread", [False, True])
async def test_an_order_to_end_that_comes_late_is_not_lost(
    monkeypatch: pytest.MonkeyPatch, has_thread: bool
) -> None:
    heard: list[str] = []
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, heard.append, "TERM")
    places: list[tuple[object, ...]] = []
    monkeypatch.setattr(os, "execv", lambda *command: places.append((*command, signal.sigpending())))
    if has_thread:  # it blocks no signals, and lives on
        await asyncio.to_thread(lambda: None)
    with handover.waiting_signals() as taken:
        os.kill(os.getpid(), signal.SIGTERM)
        try:
            handover.become_successor(Handover(FORMAT, "s", 0.0, []), taken)
        except HandoverError as exc:
            assert "told to end" in str(exc)
    await turns()
    asyncio.get_running_loop().remove_signal_handler(signal.SIGTERM)
    assert heard == ["TERM"], "it goes on, and ends"
    # Or the other program has it.
    assert [pending for *_, pending in places] in ([], [{signal.SIGTERM}])
