"""Operators on a real installation: ``htagweb.manage``, the commands, and the log of a whole life."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
from collections import Counter
from collections.abc import Callable
from typing import Any

import psutil
import pytest

from htagweb import manage
from htagweb.supervisor.exit_codes import ExitCode
from tests.support.page import PageClient
from tests.support.processes import ROOT, Process, clean_environment, python
from tests.support.stack import Stack
from tests.support.waiting import until

NewPage = Callable[[str], PageClient]
MANY = 5000


def pid_of(page: PageClient) -> int:
    """Return the app's process id, as its page shows it."""
    found = re.search(r'class="pid"[^>]*>(\d+)<', page.html)
    assert found
    return int(found[1])


async def opened(new_page: NewPage, stack: Stack, path: str = "/") -> PageClient:
    """Return a page that is open and connected."""
    page = new_page(stack.workers[0].base)
    await page.open(path)
    await page.connect()
    return page


async def command(stack: Stack, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command of ``htagweb-supervisor`` on the stack's broker."""
    return await asyncio.to_thread(
        subprocess.run,
        python("-m", "htagweb.supervisor.cli", *arguments),
        cwd=ROOT,
        env={**clean_environment(), **stack.env},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


async def listed(stack: Stack, *arguments: str) -> list[dict[str, Any]]:
    """Run a command and return its JSON array."""
    done = await command(stack, *arguments, "--json")
    assert done.returncode == ExitCode.OK, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


# The Python API


async def test_users_are_listed_and_killed_one_app_at_a_time(stack: Stack, new_page: NewPage) -> None:
    one, two = await opened(new_page, stack), await opened(new_page, stack)
    await one.ask("remember", "fruit", "pear")
    users = manage.users(stack.server.url)
    assert {app.pid for user in users for app in user.apps} == {pid_of(one), pid_of(two)}
    (user,) = [user for user in users if user.apps[0].pid == pid_of(one)]
    (app,) = user.apps
    assert user.session == {"fruit": "pear"}
    assert app.cdate <= app.mdate
    assert app.generation == one.config["generation"]
    app.kill()
    assert not psutil.pid_exists(app.pid)
    assert [left.apps[0].pid for left in manage.users(stack.server.url)] == [pid_of(two)]
    assert user.session == {"fruit": "pear"}
    await until(lambda: one.ends, "the page is told")
    assert one.ends[0]["reason"] == "killed"
    assert two.ends == []


async def test_an_interaction_is_activity(stack: Stack, new_page: NewPage) -> None:
    page = await opened(new_page, stack)
    (before,) = manage.users(stack.server.url)[0].apps
    await page.ask("run", "one")
    (after,) = manage.users(stack.server.url)[0].apps
    assert (before.cdate, before.mdate) < (after.cdate, after.mdate)


async def test_a_killed_user_has_no_app_and_no_data_and_may_begin_anew(
    stack: Stack, new_page: NewPage
) -> None:
    page = await opened(new_page, stack)
    await page.ask("remember", "fruit", "pear")
    (user,) = manage.users(stack.server.url)
    user.kill()
    assert manage.users(stack.server.url) == []
    assert user.session == {}
    await page.open()
    await page.connect()
    assert "fruit=None" in str(await page.ask("recall", "fruit"))


async def test_an_app_that_hangs_is_killed_too(stack: Stack, new_page: NewPage) -> None:
    page = await opened(new_page, stack)
    await page.click("sleep_in_c")
    (user,) = manage.users(stack.server.url)
    await asyncio.to_thread(user.kill)
    assert not psutil.pid_exists(pid_of(page))


# The commands


async def test_apps_sessions_and_supervisors_are_listed(stack: Stack, new_page: NewPage) -> None:
    page = await opened(new_page, stack)
    await page.ask("remember", "fruit", "a secret pear")
    (app,) = await listed(stack, "ps")
    (session,) = await listed(stack, "sessions")
    (supervisor,) = await listed(stack, "supervisors")
    assert (app["pid"], app["app"]) == (pid_of(page), "site_for_tests.Audit")
    assert app["supervisor"] == supervisor["supervisor"]
    assert 0 <= app["idle_s"] <= app["age_s"]
    assert session == {**session, "session": app["session"], "keys": 1, "apps": 1}
    assert (supervisor["name"], supervisor["pid"]) == ("s1", stack.supervisor.pid)
    texts = [(await command(stack, name)).stdout for name in ("ps", "sessions", "supervisors")]
    assert str(pid_of(page)) in texts[0]
    assert "pear" not in "".join(texts)


async def test_kill_ends_an_app_and_then_its_session(stack: Stack, new_page: NewPage) -> None:
    page = await opened(new_page, stack)
    await page.ask("remember", "fruit", "pear")
    (app,) = await listed(stack, "ps")
    (killed,) = await listed(stack, "kill", f"{app['session'][:8]}:{app['app']}")
    assert killed["pid"] == pid_of(page)
    assert not psutil.pid_exists(pid_of(page))
    assert len(await listed(stack, "sessions")) == 1
    assert await listed(stack, "kill", app["session"]) == []
    assert await listed(stack, "sessions") == []
    assert (await command(stack, "kill", app["session"])).returncode == ExitCode.NOTHING_FOUND


async def test_a_drained_supervisor_hands_its_pages_to_another_one(stack: Stack, new_page: NewPage) -> None:
    page = await opened(new_page, stack)
    await page.ask("remember", "fruit", "pear")
    first, second = stack.supervisor, stack.add_supervisor()
    done = await command(stack, "drain", "s1", "--wait")
    assert done.returncode == ExitCode.OK, done.stderr
    assert "is gone" in done.stderr
    assert first.popen.wait(10) == ExitCode.OK
    await until(lambda: page.ends, "the page is told")
    assert page.ends[0]["reason"] == "drained"
    await page.open()
    (app,) = await listed(stack, "ps")
    (supervisor,) = await listed(stack, "supervisors")
    assert (supervisor["name"], supervisor["pid"]) == ("s2", second.pid)
    assert app["supervisor"] == supervisor["supervisor"]


async def test_a_command_without_a_broker_is_one_line_and_its_own_exit_code(stack: Stack) -> None:
    done = await command(stack, "ps", "--redis-url", f"unix://{stack.directory}/nothing.sock")
    assert done.returncode == ExitCode.NO_BROKER
    assert re.fullmatch(r"htagweb-supervisor: the broker cannot be used: .*\n", done.stderr)


async def test_a_reader_that_has_enough_is_no_error(stack: Stack) -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        done = await asyncio.to_thread(
            subprocess.run,
            python("-m", "htagweb.supervisor.cli", "ps"),
            cwd=ROOT,
            env={**clean_environment(), **stack.env},
            stdout=write,
            stderr=subprocess.PIPE,
            timeout=30,
            check=False,
        )
    finally:
        os.close(write)
    assert (done.returncode, done.stderr) == (ExitCode.OK, b"")


# The log


def events(supervisor: Process) -> list[dict[str, Any]]:
    """Return the log's events; every line has to be JSON."""
    lines = [json.loads(line) for line in supervisor.text().splitlines()]
    return [line for line in lines if "event" in line]


async def test_every_event_of_a_life_is_logged_once_with_fields_for_programs(
    make_stack: Callable[..., Stack], new_page: NewPage
) -> None:
    stack = make_stack()
    supervisor = stack.add_supervisor("--log-format", "json")
    stack.add_worker()
    await opened(new_page, stack)
    (app,) = await listed(stack, "ps")
    await listed(stack, "kill", app["session"])
    await listed(stack, "drain", "--wait")
    assert supervisor.popen.wait(10) == ExitCode.OK
    logged = events(supervisor)
    assert Counter(line["event"] for line in logged) == dict.fromkeys(
        [
            *("supervisor_started", "apps_limited", "supervisor_ready"),
            *("supervisor_draining", "supervisor_ended"),
            *("template_started", "template_ready", "template_ended"),
            *("app_started", "app_ready", "app_end_ordered", "app_ended"),
        ],
        1,
    )
    by_event = {line["event"]: line for line in logged}
    assert by_event["app_started"]["pid"] == app["pid"]
    for event, fields in {
        "supervisor_ready": {"ready_ms"},
        "supervisor_ended": {"reason", "age_s"},
        "template_ready": {"app", "import_ms"},
        "template_ended": {"app", "reason", "age_s"},
        "app_started": {"session", "app", "generation", "fork_ms"},
        "app_ready": {"session", "app", "generation", "ready_ms"},
        "app_ended": {"session", "app", "generation", "reason", "age_s"},
    }.items():
        assert fields <= by_event[event].keys()
        assert all(type(by_event[event][each]) is float for each in fields if each.endswith(("_s", "_ms")))
    assert by_event["app_ended"]["reason"] == "killed"
    assert by_event["app_ended"]["session"] == app["session"][:8]


async def test_a_take_over_and_a_failed_template_are_logged_once(
    make_stack: Callable[..., Stack], new_page: NewPage
) -> None:
    stack = make_stack()
    stack.add_supervisor("--max-apps", "1")
    stack.add_worker()
    await opened(new_page, stack)
    supervisor = stack.add_supervisor("--log-format", "json")
    page = new_page(stack.workers[0].base)

    async def is_refused() -> bool:  # a web worker hears of a new supervisor within a second
        return (await page.http.get(page.base + "/no-module")).status_code == 500

    await until(is_refused, "the second supervisor tries to start it")
    stack.supervisors[0].kill()
    await until(lambda: "taken_over" in supervisor.text(), "the take-over is logged")
    supervisor.stop()
    counted = Counter(line["event"] for line in events(supervisor))
    assert {name: counted[name] for name in ("taken_over", "template_failed", "template_ended")} == {
        "taken_over": 1,
        "template_failed": 1,
        "template_ended": 1,
    }
    (taken,) = [line for line in events(supervisor) if line["event"] == "taken_over"]
    assert (taken["apps"], taken["supervisor"].startswith("s1-")) == (1, True)


@pytest.mark.parametrize("stopped", [False, True], ids=["supervisor goes on", "supervisor leaves"])
async def test_of_an_app_that_prints_much_and_dies_at_once_no_line_is_lost(
    stack: Stack, new_page: NewPage, stopped: bool
) -> None:
    page = await opened(new_page, stack)
    await page.click("say", "\n".join(f"word {number}." for number in range(MANY)))
    await page.click("die")
    if stopped:
        await until(lambda: "word 0." in stack.supervisor.text(), "the first line is logged")
        stack.supervisor.popen.send_signal(signal.SIGTERM)
        stack.supervisor.popen.wait(30)
    await until(lambda: "ended: " in stack.supervisor.text(), "the end is logged")
    before, _, _ = stack.supervisor.text().partition("ended: ")
    assert re.findall(r"\| word (\d+)\.$", before, re.M) == [str(number) for number in range(MANY)]
