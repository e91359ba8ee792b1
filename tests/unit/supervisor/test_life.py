"""The life of an app process: every phase and event, as tables; no process and no clock."""

import random

import pytest
from htagweb_broker import EndReason
from msgspec.structs import replace

from htagweb.supervisor import life as lives
from htagweb.supervisor.life import (
    ASK_GRACE_S,
    DUMP_GRACE_S,
    KILL_AGAIN_S,
    NEVER,
    TERM_GRACE_S,
    Command,
    Connected,
    Done,
    EndWanted,
    Event,
    Life,
    Phase,
    ProcessGone,
    Started,
    Taken,
    Tick,
    Times,
    step,
)

TIMES = Times(interaction_s=10, inactivity_s=100, never_connected_s=60)
ENDING = [Phase.ASKED, Phase.DUMPED, Phase.TERMINATED, Phase.KILLED]


def life_in(phase: Phase, **changes: object) -> Life:
    life = replace(lives.begin(TIMES, 0.0), phase=phase)
    if phase in ENDING:
        life = replace(life, reason="exit", grace_ends=1.0)
    return replace(life, **changes)


def tick_through(life: Life) -> list[tuple[float, Phase, Command]]:
    """Tick at each deadline; return when which command came, until the second KILL."""
    told: list[tuple[float, Phase, Command]] = []
    while [command for *_, command in told].count(Command.KILL) < 2:
        now = lives.next_deadline(life)
        assert now < NEVER
        life, commands = step(life, Tick(), now)
        told += [(now, life.phase, command) for command in commands]
    return told


def test_a_life_begins_starting() -> None:
    life = lives.begin(TIMES, 5.0)
    assert (life.phase, life.born, life.connected, life.is_ending) == (Phase.STARTING, 5.0, False, False)


@pytest.mark.parametrize("phase", list(Phase))
def test_the_first_page_makes_a_starting_life_run_and_changes_no_other(phase: Phase) -> None:
    life, commands = step(life_in(phase), Started(), 1.0)
    assert life.phase is (Phase.RUNNING if phase is Phase.STARTING else phase)
    assert commands == ()


@pytest.mark.parametrize(
    ("phase", "after", "command"),
    [
        (Phase.STARTING, Phase.ASKED, [Command.ASK]),
        (Phase.RUNNING, Phase.ASKED, [Command.ASK]),
        (Phase.ASKED, Phase.ASKED, []),
        (Phase.DUMPED, Phase.DUMPED, []),
        (Phase.TERMINATED, Phase.TERMINATED, []),
        (Phase.KILLED, Phase.KILLED, []),
        (Phase.GONE, Phase.GONE, []),
    ],
)
def test_an_end_is_asked_for_once(phase: Phase, after: Phase, command: list[Command]) -> None:
    life, commands = step(life_in(phase), EndWanted("drained"), 5.0)
    assert (life.phase, list(commands)) == (after, command)


@pytest.mark.parametrize("phase", ENDING)
def test_the_first_reason_to_end_stays(phase: Phase) -> None:
    life, _ = step(life_in(phase), EndWanted("drained"), 5.0)
    assert life.reason == "exit"


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase is not Phase.GONE])
def test_a_process_that_is_gone_is_released_once_from_every_phase(phase: Phase) -> None:
    life, commands = step(life_in(phase), ProcessGone(), 5.0)
    assert (life.phase, commands) == (Phase.GONE, (Command.RELEASE,))
    assert life.reason == ("exit" if phase in ENDING else "crashed")
    assert step(life, ProcessGone(), 6.0) == (life, ())
    assert lives.next_deadline(life) == NEVER


def test_work_in_flight_is_late_after_the_interactions_limit() -> None:
    life, _ = step(life_in(Phase.RUNNING), Taken("a"), 3.0)
    assert (life.deadlines, life.last_activity) == ({"a": 13.0}, 3.0)


def test_work_is_never_late_without_a_limit() -> None:
    life, _ = step(life_in(Phase.RUNNING, times=replace(TIMES, interaction_s=0)), Taken("a"), 3.0)
    assert life.deadlines == {"a": NEVER}
    assert lives.next_deadline(life) == NEVER


def test_an_answer_settles_its_work_alone_and_counts_as_activity() -> None:
    life, _ = step(life_in(Phase.RUNNING, deadlines={"a": 5.0, "b": 6.0}), Done("a"), 4.0)
    assert (life.deadlines, life.last_activity) == ({"b": 6.0}, 4.0)


def test_an_answer_to_nothing_is_no_error() -> None:
    life, commands = step(life_in(Phase.RUNNING), Done("never asked"), 4.0)
    assert (life.deadlines, commands) == ({}, ())


def test_a_step_leaves_the_life_that_it_came_from() -> None:
    before = life_in(Phase.RUNNING, deadlines={"a": 5.0})
    step(before, Taken("b"), 1.0)
    step(before, Done("a"), 1.0)
    assert before.deadlines == {"a": 5.0}


@pytest.mark.parametrize("phase", [Phase.STARTING, Phase.RUNNING])
def test_late_work_gets_its_stack_dumped_then_the_process_is_ended(phase: Phase) -> None:
    life = life_in(phase, deadlines={"a": 10.0, "b": 12.0})
    assert step(life, Tick(), 9.9) == (life, ())
    late, commands = step(life, Tick(), 10.0)
    assert (late.phase, late.reason, commands) == (
        Phase.DUMPED,
        "interaction_timeout",
        (Command.DUMP,),
    )
    assert tick_through(late)[0] == (10.0 + DUMP_GRACE_S, Phase.TERMINATED, Command.TERMINATE)


def test_an_end_goes_on_step_by_step_and_kills_again_and_again() -> None:
    life, _ = step(life_in(Phase.RUNNING), EndWanted("exit"), 0.0)
    terminated, killed = ASK_GRACE_S, ASK_GRACE_S + TERM_GRACE_S
    assert tick_through(life) == [
        (terminated, Phase.TERMINATED, Command.TERMINATE),
        (killed, Phase.KILLED, Command.KILL),
        (killed + KILL_AGAIN_S, Phase.KILLED, Command.KILL),
    ]


@pytest.mark.parametrize(
    ("changes", "at", "reason"),
    [
        ({}, 60.0, "never_connected"),
        ({"connected": True}, 100.0, "inactivity"),
        ({"last_activity": 50.0}, 110.0, "never_connected"),
        ({"connected": True, "last_activity": 50.0}, 150.0, "inactivity"),
        ({"times": replace(TIMES, inactivity_s=20)}, 20.0, "inactivity"),
    ],
)
def test_an_app_that_nobody_uses_is_ended(changes: dict[str, object], at: float, reason: EndReason) -> None:
    life = life_in(Phase.RUNNING, **changes)
    assert lives.next_deadline(life) == at
    assert step(life, Tick(), at - 0.1) == (life, ())
    ended, commands = step(life, Tick(), at)
    assert (ended.phase, ended.reason, commands) == (Phase.ASKED, reason, (Command.ASK,))


@pytest.mark.parametrize(
    "changes",
    [
        {"connected": True, "times": replace(TIMES, inactivity_s=0)},
        {"times": Times(10, 0, 0)},
        {"times": Times(0, 1, 1), "deadlines": {"a": NEVER}},
    ],
    ids=["no inactivity limit", "no limits", "a long answer is awaited"],
)
def test_an_app_without_a_limit_that_counts_lives_on(changes: dict[str, object]) -> None:
    life = life_in(Phase.RUNNING, **changes)
    assert lives.next_deadline(life) == NEVER
    assert step(life, Tick(), 10.0**9) == (life, ())


def test_what_is_due_is_known_of_the_life_as_it_is_now() -> None:
    due, idle = lives.Due(), life_in(Phase.RUNNING, times=Times(10, 0, 0))
    assert not due.is_reached(idle, 10.0**9)
    busy, _ = step(idle, Taken("a"), 3.0)
    assert not due.is_reached(busy, 12.9)
    assert due.is_reached(busy, 13.0)
    assert due.is_reached(busy, 14.0), "until something happens"
    done, _ = step(busy, Done("a"), 14.0)
    assert not due.is_reached(done, 10.0**9)
    ending, _ = step(done, EndWanted("exit"), 15.0)
    assert due.is_reached(ending, ending.grace_ends)


def test_a_browser_that_connected_counts_for_ever_and_is_no_activity() -> None:
    life, commands = step(life_in(Phase.RUNNING), Connected(), 30.0)
    assert (life.connected, life.last_activity, commands) == (True, 0.0, ())
    assert step(life, Connected(), 31.0) == (life, ())


def test_new_limits_leave_the_deadline_of_work_in_flight() -> None:
    life = life_in(Phase.RUNNING, deadlines={"a": 10.0}).with_times(Times(1, 1, 1))
    assert life.deadlines == {"a": 10.0}
    assert step(life, Taken("b"), 2.0)[0].deadlines == {"a": 10.0, "b": 3.0}


def random_event(rng: random.Random) -> Event:
    events: list[Event] = [Started(), Taken("a"), Taken("b"), Done("a"), Connected(), Tick(), Tick(), Tick()]
    return rng.choice([*events, EndWanted("exit")] if rng.random() < 0.1 else events)


@pytest.mark.parametrize("seed", range(50))
def test_no_sequence_of_events_leaves_gone_or_releases_twice(seed: int) -> None:
    rng = random.Random(seed)
    life, now, told = lives.begin(TIMES, 0.0), 0.0, list[Command]()
    gone_at = rng.randrange(150)
    for turn in range(200):
        now += rng.random() * 5
        event = ProcessGone() if turn == gone_at or rng.random() < 0.01 else random_event(rng)
        was_gone = life.phase is Phase.GONE
        life, commands = step(life, event, now)
        told += commands
        assert not was_gone or (life.phase is Phase.GONE and not commands)
    assert told.count(Command.RELEASE) == 1


@pytest.mark.parametrize("seed", range(50))
def test_whatever_happens_an_end_that_was_wanted_is_a_kill_within_the_graces(seed: int) -> None:
    rng = random.Random(seed)
    life, now = lives.begin(TIMES, 0.0), 0.0
    for _ in range(rng.randrange(30)):
        now += rng.random() * 5
        life, _ = step(life, random_event(rng), now)
    began = now
    life, _ = step(life, EndWanted("exit"), now)
    while life.phase is not Phase.KILLED:
        now += 0.1
        life, _ = step(life, random_event(rng), now)
        life, _ = step(life, Tick(), now)
    assert now - began <= max(ASK_GRACE_S, DUMP_GRACE_S) + TERM_GRACE_S + 0.3


# Too much


@pytest.mark.parametrize("reason", sorted(lives.TOO_MUCH))
@pytest.mark.parametrize("phase", [Phase.STARTING, Phase.RUNNING])
def test_an_app_that_takes_too_much_is_not_asked_but_shows_its_stack_and_is_ended(
    phase: Phase, reason: EndReason
) -> None:
    life, commands = step(life_in(phase), EndWanted(reason), 5.0)
    assert (life.phase, life.reason, commands) == (Phase.DUMPED, reason, (Command.DUMP,))
    times = [(now, command) for now, _, command in tick_through(life)]
    terminated = 5.0 + DUMP_GRACE_S
    assert times[:2] == [(terminated, Command.TERMINATE), (terminated + TERM_GRACE_S, Command.KILL)]


@pytest.mark.parametrize("phase", ENDING)
def test_an_app_that_ends_already_keeps_its_reason_whatever_it_takes(phase: Phase) -> None:
    life = life_in(phase)
    assert step(life, EndWanted("memory"), 0.5) == (life, ())


def test_a_process_that_the_kernel_ended_for_a_reason_has_that_one() -> None:
    assert step(life_in(Phase.RUNNING), ProcessGone("memory"), 1.0)[0].reason == "memory"
    assert step(life_in(Phase.RUNNING), ProcessGone(), 1.0)[0].reason == "crashed"
    assert step(life_in(Phase.ASKED), ProcessGone("memory"), 1.0)[0].reason == "exit"
