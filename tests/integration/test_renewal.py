"""A new session id at login, with real processes and broker: all comes along, the old id is worth nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest_asyncio
from htagweb_broker import limits

from htagweb.web.cookies import digest_of
from tests.support.edge import EdgeWorker, edge_worker
from tests.support.page import PageClient
from tests.support.stack import Stack
from tests.support.waiting import until


class User:
    """A user with an open, connected page, and the cookie that the browser had before a login."""

    def __init__(self, stack: Stack, worker: EdgeWorker) -> None:
        self.stack = stack
        self.base = worker.base
        self.page = PageClient(worker.base)
        self.old = ""

    async def open(self) -> None:
        await self.page.open()
        await self.page.connect()
        self.old = self.page.cookie

    async def login(self, cookie: str = "") -> httpx.Response:
        """Log in with the page's cookies, or with a cookie of one's own."""
        url = f"{self.base}/login?user=jo"
        return await (self.get("/login?user=jo", cookie) if cookie else self.page.http.get(url, timeout=30))

    async def get(self, path: str, cookie: str) -> httpx.Response:
        async with httpx.AsyncClient(timeout=30) as http:
            return await http.get(self.base + path, headers={"cookie": cookie})

    async def session(self) -> dict[str, str]:
        values: dict[str, str] = (await self.page.http.get(f"{self.base}/session")).json()
        return values

    def broker(self, command: str) -> str:
        return self.stack.server.command(command).decode()

    def old_key(self, kind: str) -> str:
        digest = digest_of(self.old.partition("=")[2])
        return f"htagweb:{{p{int(digest[:8], 16) % 128}}}:{kind}:{digest}"

    def let_the_mark_expire(self) -> None:
        """What happens by itself after a minute."""
        assert self.broker(f"DEL {self.old_key('moved')}") == ":1\r\n"


@pytest_asyncio.fixture
async def user(shared_stack: Stack) -> AsyncIterator[User]:
    """Give a user whose page is open and connected."""
    with edge_worker(shared_stack) as worker:
        made = User(shared_stack, worker)
        await made.open()
        yield made
        await made.page.close()


async def test_values_of_apps_and_handlers_come_along(user: User) -> None:
    await user.page.ask("remember", "fruit", "pear")
    assert (await user.login()).json() == {"fruit": "pear", "user": "jo"}
    assert user.page.cookie != user.old
    assert await user.session() == {"fruit": "pear", "user": "jo"}


async def test_open_pages_hear_why_their_app_ends_and_a_new_one_has_the_session(user: User) -> None:
    await user.page.ask("remember", "fruit", "pear")
    await user.login()
    assert [(end["reason"], end["restart"]) for end in user.page.ends] == [("renewed", "auto")]
    again = PageClient(user.base, user.page.http)
    await again.open()
    await again.connect()
    await again.ask("remember", "more", "figs")
    assert await user.session() == {"fruit": "pear", "user": "jo", "more": "figs"}
    await again.disconnect()


async def test_what_an_app_is_saving_at_that_moment_comes_along(user: User) -> None:
    for number in range(5):
        await user.page.click("remember", f"k{number}", "kept")
    await user.login()
    kept = await user.session()
    answered = {f"k{number - 1}" for number in user.page.answers}
    assert answered <= set(kept)


async def test_with_the_old_id_there_is_nothing_any_more(user: User) -> None:
    await user.page.ask("remember", "fruit", "pear")
    await user.login()
    waiting = await user.get("/session", user.old)
    assert (waiting.status_code, "set-cookie" in waiting.headers) == (503, False)
    assert user.broker(f"EXISTS {user.old_key('session')}") == ":0\r\n"
    user.let_the_mark_expire()
    assert (await user.get("/session", user.old)).json() == {}


async def test_an_id_that_somebody_else_knew_before_a_login_is_not_logged_in(user: User) -> None:
    """The attack that renewal is for: an id of one's own, planted into somebody's browser."""
    planted = user.old
    await user.login()
    user.let_the_mark_expire()
    assert "user" not in (await user.get("/session", planted)).json()
    assert (await user.session())["user"] == "jo"


async def test_of_two_logins_at_once_one_wins_and_nothing_is_lost(user: User) -> None:
    await user.page.ask("remember", "fruit", "pear")
    responses = await asyncio.gather(*(user.login(user.old) for _ in range(4)))
    won = [response for response in responses if response.status_code == 200]
    assert [response.status_code for response in responses if response not in won] == [503] * 3
    cookie = won[0].headers["set-cookie"].partition(";")[0]
    assert (await user.get("/session", cookie)).json() == {"fruit": "pear", "user": "jo"}
    assert [r for r in responses if "set-cookie" in r.headers] == won


async def test_the_mark_of_an_old_id_expires(user: User) -> None:
    await user.login()
    ttl_ms = int(user.broker(f"PTTL {user.old_key('moved')}")[1:])
    assert 0 < ttl_ms <= limits.MOVED_TTL_MS


async def test_a_worker_that_dies_on_the_way_leaves_the_session_as_it_was(user: User) -> None:
    await user.page.ask("remember", "fruit", "pear")
    user.broker(f"SET {user.old_key('moved')} '' PX 300")  # all that a renewal did when its worker died
    assert (await user.page.http.get(f"{user.base}/session")).status_code == 503

    async def is_back() -> bool:
        return (await user.page.http.get(f"{user.base}/session")).status_code == 200

    await until(is_back, "the session goes on under its old id")
    assert await user.session() == {"fruit": "pear"}
