"""The users of ``broker/users.acl``: all that the product does is allowed to them, and nothing else."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from htagweb import manage
from tests.support.brokers import Bench
from tests.support.guarded import WRITE_ACL, GuardedServer
from tests.support.page import PageClient
from tests.support.parano_page import SealedPage
from tests.support.processes import ROOT, clean_environment, python
from tests.support.stack import Stack
from tests.support.waiting import until

SESSION = "0123456789abcdef" * 4
IN_PARTITION = "htagweb:{p7}:%s:" + SESSION
APP = ":shop.Cart"


@pytest.fixture(params=["valkey", "redis"])
def guarded(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stack]:
    """Give an installation whose parts log in as the users of users.acl."""
    server = GuardedServer(request.param, tmp_path)
    stack = Stack(tmp_path, server=server)
    try:
        stack.env = {"HTAGWEB_REDIS_URL": server.url_of("web")}
        stack.add_supervisor("--redis-url", server.url_of("supervisor"))
        stack.add_worker()
        yield stack
    finally:
        try:
            stack.close()
        finally:
            request.node.add_report_section("teardown", "logs", stack.logs())


def denied(stack: Stack) -> list[str]:
    """Return what the server denied."""
    assert isinstance(stack.server, GuardedServer)
    return stack.server.denied()


def operate(stack: Stack, *command: str) -> str:
    """Run a command of the operator and return what it printed."""
    assert isinstance(stack.server, GuardedServer)
    url = stack.server.url_of("operator")
    done = subprocess.run(
        python("-m", "htagweb.supervisor.cli", *command, "--redis-url", url),
        cwd=ROOT,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


async def opened(stack: Stack, http_of: PageClient | None = None, path: str = "/") -> PageClient:
    """Return a page that is open and connected."""
    page = PageClient(stack.workers[0].base, http_of.http if http_of else None)
    await page.open(path)
    await page.connect()
    return page


async def use(stack: Stack) -> None:
    """Do what users do."""
    page = await opened(stack)
    try:
        await page.ask("run", "one")
        await page.ask("remember", "n", 1)
        await page.ask("append", "n", 2)  # fails in the app, not in the broker
        assert (await page.http.get(f"{page.base}/session?m=2")).json()["n"] == 1
        assert "m=2" in str(await page.ask("recall", "m"))
        await page.ask("tick", 5)
        await until(lambda: any("ticks" in str(action) for action in page.actions), "updates come")
        assert (await page.post("run", "two")).status_code == 200
        # Cut off, then back with what was missed; loaded anew; started anew; another app; an end.
        await page.disconnect()
        await page.connect()
        await page.open()
        await page.open("/?v=2")
        other = await opened(stack, page, "/session-reader")
        await other.ask("run", "three")
        await other.click("exit")
        await until(lambda: other.ends, "the app ended")
        await other.disconnect()
        await page.connect()
        await page.click("die")
        await until(lambda: page.ends, "the app died")
    finally:
        await page.close()


async def test_web_workers_and_supervisors_are_denied_nothing_that_they_do(guarded: Stack) -> None:
    await use(guarded)
    assert denied(guarded) == []


async def test_a_parano_page_is_denied_nothing(guarded: Stack) -> None:
    page = SealedPage(guarded.workers[0].base)
    try:
        await page.open("/parano")
        await page.connect()
        await page.ask("run", "by socket")
        await page.disconnect()
        await page.open("/parano-http-only")
        await page.agree()
        assert "by post" in str(await page.ask_by_post("run", "by post"))
    finally:
        await page.close()
    assert denied(guarded) == []


async def test_a_successor_may_take_over_from_a_killed_supervisor(guarded: Stack) -> None:
    assert isinstance(guarded.server, GuardedServer)
    page = await opened(guarded)
    guarded.supervisor.kill()
    guarded.add_supervisor("--redis-url", guarded.server.url_of("supervisor"))
    await until(lambda: page.ends or page.reloads, "the page hears that its app is lost", 30)
    await page.close()
    assert denied(guarded) == []


async def test_an_operator_may_list_kill_and_drain(guarded: Stack) -> None:
    page = await opened(guarded)
    await page.ask("remember", "n", 1)
    assert "site_for_tests.Audit" in await asyncio.to_thread(operate, guarded, "ps")
    assert "s1" in await asyncio.to_thread(operate, guarded, "supervisors")
    session = (await asyncio.to_thread(operate, guarded, "sessions")).splitlines()[-1].split()[0]
    await asyncio.to_thread(operate, guarded, "kill", session)
    await until(lambda: page.ends, "the app ended")
    await page.close()
    await asyncio.to_thread(operate, guarded, "drain", "--all", "--wait")
    assert guarded.supervisor.popen.wait(20) == 0
    assert denied(guarded) == []


async def test_a_web_worker_may_renew_count_and_forget(server: GuardedServer) -> None:
    bench = Bench(server.url_of("web"))
    web, new = bench.web(), SESSION[:-1] + "0"
    await web.sessions.write(SESSION, {"a": b"1"})
    await web.renewals.close(SESSION)
    assert await web.sessions.is_moving(SESSION)
    await web.renewals.move(SESSION, new, {"b": b"2"})
    assert set((await web.sessions.read(new)).values) == {"a", "b"}
    await web.sessions.delete(new)
    assert await web.pages.enter(SESSION, "page", 1000, 1)
    assert not await web.pages.enter(SESSION, "another", 1000, 1)
    await web.pages.leave(SESSION, "page")
    assert await web.arrivals.count("0123") == 1
    bench.close()


def test_a_script_may_list_and_kill_as_operator(guarded: Stack) -> None:
    assert isinstance(guarded.server, GuardedServer)
    with httpx.Client(base_url=guarded.workers[0].base) as visitor:
        visitor.get("/session?n=1")
        assert visitor.get("/").status_code == 200
        (user,) = manage.users(guarded.server.url_of("operator"))
        assert user.session == {"n": "1"}
        user.kill()
        assert visitor.get("/session").json() == {}
    assert manage.users(guarded.server.url_of("operator")) == []
    assert denied(guarded) == []


# What each may not


@pytest.fixture(scope="module", params=["valkey", "redis"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GuardedServer]:
    """Give a server with the users, and nothing in it."""
    started = GuardedServer(request.param, tmp_path_factory.mktemp("broker"))
    started.start()
    yield started
    started.stop()


FORBIDDEN = {
    "web": [
        ("XADD", IN_PARTITION % "outbox" + APP, "1-0", "m", "{}"),
        ("HSET", IN_PARTITION % "instance" + APP, "owner", "me"),
        ("DEL", IN_PARTITION % "instance" + APP),
        ("XRANGE", IN_PARTITION % "inbox" + APP, "-", "+"),
        ("SET", IN_PARTITION % "reply", "forged"),
        ("PUBLISH", IN_PARTITION % "actions" + APP, "forged"),
        ("SUBSCRIBE", "htagweb:inboxes:s1"),
        ("XRANGE", "htagweb:spawn", "-", "+"),
        ("HSET", "htagweb:{supervisors}:beat:me", "name", "me"),
        ("SET", "htagweb:{supervisors}:drain:s1", "1"),
        ("SUBSCRIBE", "htagweb:other"),
        ("PSUBSCRIBE", "*"),
    ],
    "supervisor": [
        ("GET", "htagweb:secret"),
        ("HGETALL", "htagweb:{p7}:seal:" + SESSION + ":1"),
        ("XADD", IN_PARTITION % "inbox" + APP, "*", "m", "{}"),
        ("DEL", IN_PARTITION % "session"),
        ("SUBSCRIBE", IN_PARTITION % "actions" + APP),
        ("PUBLISH", "htagweb:inboxes:s1", "forged"),
        ("XREAD", "STREAMS", IN_PARTITION % "inbox" + APP, "0"),
        ("CLIENT", "UNBLOCK", "1"),
        ("SET", "htagweb:{supervisors}:drain:s1", "1"),
        ("SCAN", "0"),
        ("INFO",),
    ],
    "operator": [
        ("GET", "htagweb:secret"),
        ("HGETALL", "htagweb:{p7}:seal:" + SESSION + ":1"),
        ("HSET", IN_PARTITION % "session", '"user"', '"jo"'),
        ("HSET", IN_PARTITION % "instance" + APP, "owner", "me"),
        ("XADD", IN_PARTITION % "outbox" + APP, "1-0", "m", "{}"),
        ("SUBSCRIBE", IN_PARTITION % "actions" + APP),
        ("SUBSCRIBE", "htagweb:inboxes:s1"),
    ],
}
FOR_NOBODY = [
    *[("FLUSHALL",), ("FLUSHDB",), ("KEYS", "*"), ("CONFIG", "GET", "*"), ("CONFIG", "SET", "dir", "/")],
    *[("ACL", "LIST"), ("MONITOR",), ("SHUTDOWN",), ("CLIENT", "LIST"), ("CLIENT", "KILL", "ID", "1")],
    *[("CLIENT", "TRACKING", "ON", "BCAST"), ("CLIENT", "PAUSE", "1"), ("CLIENT", "NO-EVICT", "ON")],
    *[("SCRIPT", "FLUSH"), ("FUNCTION", "LIST"), ("SAVE",), ("REPLICAOF", "NO", "ONE")],
    *[("GET", "other:key"), ("SET", "other:key", "1"), ("EVAL", "return 1", "1", "other:key")],
]


@pytest.mark.parametrize(
    ("user", "command"),
    [(user, command) for user, commands in FORBIDDEN.items() for command in [*commands, *FOR_NOBODY]],
    ids=lambda value: value if isinstance(value, str) else " ".join(value)[:40],
)
def test_a_user_is_denied(server: GuardedServer, user: str, command: tuple[str, ...]) -> None:
    with server.client(user) as client, pytest.raises(redis.exceptions.NoPermissionError):
        client.execute_command(*command)


@pytest.mark.parametrize(
    ("user", "key"),
    [
        ("web", IN_PARTITION % "outbox" + APP),
        ("web", IN_PARTITION % "instance" + APP),
        ("supervisor", IN_PARTITION % "inbox" + APP),
        ("operator", IN_PARTITION % "outbox" + APP),
    ],
)
def test_a_script_of_ones_own_gives_no_further_right(server: GuardedServer, user: str, key: str) -> None:
    script = "return redis.call('XADD', KEYS[1], '*', 'm', 'forged')"
    with (
        server.client(user) as client,
        pytest.raises(redis.exceptions.ResponseError, match=r"permissions|can't access"),
    ):
        client.eval(script, 1, key)
    with server.client("admin", "admin") as admin:
        assert not admin.exists(key)


def test_nobody_gets_in_without_a_password_or_with_a_wrong_one(server: GuardedServer) -> None:
    with (
        redis.Redis(unix_socket_path=str(server.path), retry=Retry(NoBackoff(), 0)) as client,
        pytest.raises(redis.exceptions.AuthenticationError),
    ):
        client.ping()
    for user in ("web", "supervisor", "operator", "default"):
        with server.client(user, "wrong") as client, pytest.raises(redis.exceptions.AuthenticationError):
            client.ping()


def test_the_configuration_is_the_files(server: GuardedServer) -> None:
    with server.client("admin", "admin") as admin:
        found = admin.config_get("appendonly", "appendfsync", "maxmemory-policy", "save")
    assert found == {
        "appendonly": "yes",
        "appendfsync": "everysec",
        "maxmemory-policy": "noeviction",
        "save": "",
    }


# The file that holds the users


def written(*urls: str, directory: Path) -> subprocess.CompletedProcess[str]:
    """Run write-acl over files with these addresses."""
    files = [directory / f"url{number}" for number in range(len(urls))]
    for file, url in zip(files, urls, strict=True):
        file.write_text(url)
    return subprocess.run([WRITE_ACL, *files], capture_output=True, text=True, check=False)


def test_a_user_without_an_address_has_no_password(tmp_path: Path) -> None:
    lines = written("redis://web:secret-1@broker", directory=tmp_path).stdout.splitlines()
    with_password = {line.split()[1] for line in lines if "#" in line}
    users = {"default", "web", "supervisor", "operator", "replica", "sentinel", "monitor"}
    assert {line.split()[1] for line in lines} == users
    assert with_password == {"web"}


def test_an_address_may_name_sentinels(tmp_path: Path) -> None:
    lines = written("redis+sentinel://web:secret-1@a,b:1/htagweb", directory=tmp_path).stdout.splitlines()
    assert [line.split()[1] for line in lines if "#" in line] == ["web"]


def test_the_file_holds_no_password_as_it_is(tmp_path: Path) -> None:
    assert "secret-1" not in written("redis://web:secret-1@broker", directory=tmp_path).stdout


def test_an_address_of_an_unknown_user_is_refused(tmp_path: Path) -> None:
    done = written("redis://jo:secret-1@broker", directory=tmp_path)
    assert (done.returncode, done.stderr) == (1, "expected a user of users.acl, got jo\n")


@pytest.mark.parametrize(
    "url", ["", "redis://broker:6379", "redis://:secret@broker", "redis://web:a b@broker"]
)
def test_an_address_without_user_and_password_is_refused(url: str, tmp_path: Path) -> None:
    done = written(url, directory=tmp_path)
    assert done.returncode == 1
    assert "expected redis://USER:PASSWORD@HOST" in done.stderr
