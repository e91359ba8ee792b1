"""The commands of ``htagweb-supervisor``: what runs, and how an operator ends it."""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import sys
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from htagweb_broker import Beat, BrokerError, Clock, Inspector, RunningApp, SystemClock

from htagweb.settings import SettingError, Settings
from htagweb.supervisor.exit_codes import ExitCode
from htagweb.supervisor.tables import Cell, Listing, as_json, as_table, duration

PROGRAM = "htagweb-supervisor"
SHOWN = 8
"""Hex digits of a session's digest that tables and logs show, and the fewest that ``kill`` takes."""
LOOK_S = 0.5
DRAIN_TIMEOUT_S = 3600.0
"""Longest wait of ``drain --wait``; the supervisor's own limits are far below."""

_TARGET = re.compile(rf"([0-9a-f]{{{SHOWN},}})(?::(.+))?")


class Refusal(Exception):
    """Raised when a command cannot be carried out: a line for the operator, and the exit code."""

    def __init__(self, code: ExitCode, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Job:
    """What a command works with."""

    inspector: Inspector
    options: argparse.Namespace
    clock: Clock


# What there is


async def list_apps(job: Job) -> Listing:
    """``ps``"""
    now_ms = job.clock.epoch_ms()
    rows: list[dict[str, Cell]] = [
        {
            **_named(app),
            "host": app.host,
            "supervisor": app.supervisor,
            "started": _time(app.started_ms),
            "active": _time(app.active_ms),
            "age_s": max(now_ms - app.started_ms, 0) / 1000,
            "idle_s": max(now_ms - app.active_ms, 0) / 1000,
        }
        for app in await job.inspector.instances()
    ]
    heads = ("SESSION", "APP", "GENERATION", "PID", "HOST", "SUPERVISOR", "AGE", "IDLE")
    cells: list[tuple[Cell, ...]] = [
        (
            *(_short(row), row["app"], row["generation"], row["pid"], row["host"], row["supervisor"]),
            *(duration(float(row["age_s"])), duration(float(row["idle_s"]))),
        )
        for row in rows
    ]
    return Listing(rows, heads, cells)


async def list_sessions(job: Job) -> Listing:
    """``sessions``"""
    rows: list[dict[str, Cell]] = [
        {"session": found.session, "keys": found.keys, "apps": found.apps, "ttl_s": found.ttl_s}
        for found in await job.inspector.sessions()
    ]
    cells: list[tuple[Cell, ...]] = [
        (_short(row), row["keys"], row["apps"], duration(float(row["ttl_s"]))) for row in rows
    ]
    return Listing(rows, ("SESSION", "KEYS", "APPS", "EXPIRES IN"), cells)


async def list_supervisors(job: Job) -> Listing:
    """``supervisors``"""
    living = (await job.inspector.supervisors()).living
    rows: list[dict[str, Cell]] = [
        {
            "supervisor": supervisor,
            "name": beat.name,
            "host": beat.host,
            "pid": beat.pid,
            "load": beat.load,
            "capacity": beat.capacity,
            "cpu": beat.cpu,
            "version": beat.version,
            "draining": beat.draining,
        }
        for supervisor, beat in sorted(living.items())
    ]
    heads = ("SUPERVISOR", "NAME", "HOST", "PID", "APPS", "CPU", "VERSION", "DRAINING")
    cells: list[tuple[Cell, ...]] = [
        (
            *(row["supervisor"], row["name"], row["host"], row["pid"]),
            *(f"{row['load']}/{row['capacity']}", f"{float(row['cpu']):.0%}"),
            *(row["version"], "yes" if row["draining"] else "no"),
        )
        for row in rows
    ]
    return Listing(rows, heads, cells)


# What is ended


async def kill(job: Job) -> Listing:
    """``kill``"""
    found = _TARGET.fullmatch(job.options.target)
    if found is None:
        expected = f"expected a session ({SHOWN} hex digits or more) or session:app"
        raise Refusal(ExitCode.USAGE, f"{expected}, got {job.options.target!r}")
    prefix, app = found.groups()
    running = await job.inspector.instances()
    if app is None:
        known = {found.session for found in await job.inspector.sessions()}
    else:
        running = [each for each in running if each.instance.app == app]
        known = {each.instance.session for each in running}
    session = _only_one(prefix, known, f"session {prefix}…" + (f" with {app}" if app else ""))
    wanted = [each for each in running if each.instance.session == session]
    _say(f"ending {len(wanted)} apps of session {session[:SHOWN]}")
    left = await job.inspector.end_all(wanted)
    if left:
        names = ", ".join(str(each.instance) for each in left)
        kept = "" if app else "; the session's data was kept"
        raise Refusal(ExitCode.FAILED, f"not ended in time, look into the supervisor's log: {names}{kept}")
    if app is None:
        await job.inspector.forget(session)
        _say(f"the data of session {session[:SHOWN]} is forgotten")
    rows = [_named(each) for each in wanted]
    cells: list[tuple[Cell, ...]] = [(_short(row), row["app"], row["generation"], row["pid"]) for row in rows]
    return Listing(rows, ("SESSION", "APP", "GENERATION", "PID"), cells)


def _only_one(prefix: str, known: Iterable[str], what: str) -> str:
    candidates = sorted(each for each in known if each.startswith(prefix))
    if not candidates:
        raise Refusal(ExitCode.NOTHING_FOUND, f"there is no {what}")
    if len(candidates) > 1 and prefix not in candidates:
        names = ", ".join(candidates)
        raise Refusal(ExitCode.USAGE, f"expected one {what}, found {len(candidates)}: {names}")
    return prefix if prefix in candidates else candidates[0]


async def drain(job: Job) -> Listing:
    """``drain``"""
    chosen = _choose((await job.inspector.supervisors()).living, job.options.names, job.options.all)
    for supervisor in chosen:
        await job.inspector.order_drain(supervisor)
        _say(f"told {supervisor} to drain")
    if job.options.wait:
        await _wait_until_gone(job, chosen)
    state = "gone" if job.options.wait else "told"
    rows: list[dict[str, Cell]] = [
        {"supervisor": supervisor, "name": beat.name, "host": beat.host, "pid": beat.pid, "state": state}
        for supervisor, beat in chosen.items()
    ]
    heads = ("SUPERVISOR", "NAME", "HOST", "PID", "STATE")
    return Listing(rows, heads, [tuple(row.values()) for row in rows])


def _choose(living: dict[str, Beat], names: Sequence[str], every: bool) -> dict[str, Beat]:
    if not living:
        raise Refusal(ExitCode.NOTHING_FOUND, "no supervisor lives")
    if every:
        return living
    if not names and len(living) > 1:
        text = f"expected names, or --all: {len(living)} supervisors live: {', '.join(sorted(living))}"
        raise Refusal(ExitCode.USAGE, text)
    chosen = {}
    for name in names or living:
        found = [each for each, beat in sorted(living.items()) if name in (each, beat.name)]
        if not found:
            text = f"there is no supervisor {name!r}, only {', '.join(sorted(living))}"
            raise Refusal(ExitCode.NOTHING_FOUND, text)
        if len(found) > 1:
            text = f"expected one supervisor {name!r}, found {len(found)}: {', '.join(found)}"
            raise Refusal(ExitCode.USAGE, text)
        chosen[found[0]] = living[found[0]]
    return chosen


async def _wait_until_gone(job: Job, chosen: Iterable[str]) -> None:
    deadline = job.clock.now() + DRAIN_TIMEOUT_S
    waited_for = dict.fromkeys(chosen, -1)
    while job.clock.now() < deadline:
        living = (await job.inspector.supervisors()).living
        for supervisor, load in list(waited_for.items()):
            if supervisor not in living:
                _say(f"{supervisor} is gone")
                del waited_for[supervisor]
            elif living[supervisor].load != load:
                waited_for[supervisor] = living[supervisor].load
                _say(f"{supervisor} has {living[supervisor].load} apps")
        if not waited_for:
            return
        await job.clock.sleep(LOOK_S)
    text = f"still there after {DRAIN_TIMEOUT_S:g} s: {', '.join(waited_for)}"
    raise Refusal(ExitCode.FAILED, text)


# Text


def _named(app: RunningApp) -> dict[str, Cell]:
    return {
        "session": app.instance.session,
        "app": app.instance.app,
        "generation": app.generation,
        "pid": app.pid,
    }


def _short(row: dict[str, Cell]) -> str:
    return str(row["session"])[:SHOWN]


def _time(epoch_ms: int) -> str:
    return datetime.fromtimestamp(epoch_ms / 1000, UTC).isoformat(timespec="milliseconds")


def _say(text: str) -> None:
    """Tell people how far it is: not on standard output, which may be a program's input."""
    print(text, file=sys.stderr, flush=True)


# The command line


Command = Callable[[Job], Awaitable[Listing]]
COMMANDS: dict[str, tuple[Command, str]] = {
    "ps": (list_apps, "list the apps that run"),
    "sessions": (
        list_sessions,
        "list the sessions that have data or apps; walks over every key of the server (SCAN)",
    ),
    "kill": (kill, "end an app, or all apps of a session and forget its data; waits until it is done"),
    "supervisors": (list_supervisors, "list the supervisors that live"),
    "drain": (drain, "have supervisors drain, as TERM does, from any host"),
}


def add_commands(parser: argparse.ArgumentParser) -> None:
    """Give the parser the commands; ``command`` is None where none was given."""
    # Suppressed: what stands before the command counts as well.
    shared = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    shared.add_argument("--redis-url", metavar="STR", help="the broker [HTAGWEB_REDIS_URL]")
    shared.add_argument("--namespace", metavar="STR", help="first part of every key [HTAGWEB_NAMESPACE]")
    shared.add_argument("--json", action="store_true", default=False, help="one JSON array, for programs")
    group = parser.add_subparsers(
        dest="command", metavar="COMMAND", title="commands", description="Without one, the daemon runs."
    )
    made = {
        name: group.add_parser(name, parents=[shared], help=text, description=f"{text[0].upper()}{text[1:]}.")
        for name, (_, text) in COMMANDS.items()
    }
    made["kill"].add_argument(
        "target",
        metavar="SESSION[:APP]",
        help=f"the digest's first {SHOWN} hex digits or more; with :APP, that app alone",
    )
    made["drain"].add_argument("names", nargs="*", metavar="NAME", help="not needed where only one lives")
    made["drain"].add_argument("--all", action="store_true", help="every supervisor")
    made["drain"].add_argument("--wait", action="store_true", help="return when they are gone")


def run(options: argparse.Namespace) -> int:
    """Carry out one command; return its exit code."""
    try:
        settings = Settings.load(redis_url=options.redis_url, namespace=options.namespace)
        if not settings.redis_url:
            raise SettingError("no broker: give --redis-url or set HTAGWEB_REDIS_URL")
        listing = asyncio.run(_carry_out(options, settings.redis_url, settings.namespace))
    except Refusal as exc:
        return _fail(exc.code, str(exc))
    except ValueError as exc:  # SettingError, or a URL or namespace that is none
        return _fail(ExitCode.USAGE, str(exc))
    except BrokerError as exc:
        return _fail(ExitCode.NO_BROKER, f"the broker cannot be used: {exc}")
    except KeyboardInterrupt:
        return _fail(ExitCode.FAILED, "interrupted; what was asked for may go on")
    _show(as_json(listing) if options.json else as_table(listing))
    return ExitCode.OK


async def _carry_out(options: argparse.Namespace, url: str, namespace: str) -> Listing:
    inspector = Inspector.at(url, namespace)
    try:
        command, _ = COMMANDS[options.command]
        return await command(Job(inspector, options, SystemClock()))
    finally:
        inspector.close()


def _show(text: str) -> None:
    try:
        print(text, flush=True)
    except BrokenPipeError:  # whoever read it, ``head`` say, has enough; nor may the exit's flush complain
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(code: ExitCode, text: str) -> int:
    _say(f"{PROGRAM}: {text}")
    return code
