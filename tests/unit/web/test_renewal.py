"""A new id for the same session: nothing is lost, and the old id is worth nothing."""

import asyncio

import httpx
import pytest
from htagweb_broker import BrokerUnavailable, End, InstanceId, MessageError, Record, SessionData, SessionMoved
from htagweb_broker.keys import partition
from starlette.requests import Request
from starlette.responses import Response

from htagweb.web import renewal
from htagweb.web.cookies import COOKIE, Signer, digest_of
from htagweb.web.sessions import visit_of
from tests.support.fakes import turns
from tests.support.waiting import until
from tests.unit.web.harness import GENERATION, Site


@pytest.fixture(autouse=True)
def a_login(site: Site) -> None:
    """Serve a login, and give the user a session that has something."""

    def login(request: Request) -> None:
        request.session["user"] = "jo"
        request.session.renew()  # type: ignore[attr-defined]

    site.endpoint("/login", login)
    site.endpoint("/show", lambda request: None)
    site.broker.sessions_data[site.instance.session] = SessionData({"cart": b"[1]"}, "v")


def cookie_in(response: httpx.Response) -> str:
    return response.headers["set-cookie"].partition(";")[0].partition("=")[2]


async def test_the_session_has_a_new_id_and_the_same_values(site: Site) -> None:
    response = await site.get("/login")
    cookie = cookie_in(response)
    assert Signer("secret").accept(cookie) == cookie
    assert digest_of(cookie) != site.instance.session
    assert site.broker.sessions_data[digest_of(cookie)].values == {"cart": b"[1]", "user": b'"jo"'}
    assert site.broker.sessions_data[site.instance.session].values == {}


async def test_both_ids_are_of_one_partition(site: Site) -> None:
    for _ in range(3):
        cookie = cookie_in(await site.get("/login"))
        assert partition(digest_of(cookie)) == partition(site.instance.session)
        site.broker.sessions_data.clear()


async def test_a_session_that_is_new_anyway_needs_no_other_id(site: Site) -> None:
    response = await site.http.get("/login")
    assert site.broker.sessions_data[digest_of(cookie_in(response))].values == {"user": b'"jo"'}
    assert site.broker.of("move") == []


async def test_the_request_goes_on_with_the_new_id(site: Site) -> None:
    cookie = cookie_in(await site.get("/login"))
    shown = await site.http.get("/show", headers={"cookie": f"{COOKIE}={cookie}"})
    assert shown.json() == {"cart": [1], "user": "jo"}


async def test_first_the_apps_end_then_it_moves_then_the_browser_hears(site: Site) -> None:
    site.own()
    async with asyncio.TaskGroup() as tasks:
        logging_in = tasks.create_task(site.get("/login"))
        await until(lambda: site.broker.of("submit"), "the app is told to end")
        await turns()
        assert site.broker.of("submit") == [(End(GENERATION, "renewed"),)]
        assert site.broker.of("move") == []
        # What the app saves at its end moves too.
        await site.broker.sessions.write(site.instance.session, {"saved": b"1"})
        site.own(owner="", reason="renewed")
        await site.clock.advance(renewal.LOOK_S)
    new = digest_of(cookie_in(logging_in.result()))
    assert set(site.broker.sessions_data[new].values) == {"cart", "user", "saved"}
    steps = ["check_room", "close_session", "submit", "move"]
    verbs = [verb for verb in site.broker.verbs() if verb in steps]
    assert verbs == steps


async def test_an_app_that_was_opened_meanwhile_ends_too(site: Site) -> None:
    other = InstanceId(site.instance.session, "m.Other")
    site.own()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(site.get("/login"))
        await until(lambda: site.broker.of("submit"), "the app is told to end")
        site.broker.records[other] = Record("1-aaaaaaaa", "s", 0, None)
        site.own(owner="", reason="renewed")
        await site.clock.advance(renewal.LOOK_S)
        assert site.broker.of("submit")[1:] == [(End("1-aaaaaaaa", "renewed"),)]
        site.broker.records[other] = Record("1-aaaaaaaa", "", 1, "renewed")
        await site.clock.advance(renewal.LOOK_S)
    assert len(site.broker.of("move")) == 1


async def test_a_full_inbox_is_asked_again(site: Site) -> None:
    site.own()
    site.broker.submitted = "busy"
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(site.get("/login"))
        await until(lambda: site.broker.of("submit"), "the app is told to end")
        site.broker.submitted = "ok"
        await site.clock.advance(renewal.LOOK_S)
        await site.clock.advance(renewal.LOOK_S)
        assert len(site.broker.of("submit")) == 2
        site.own(owner="")
        await site.clock.advance(renewal.LOOK_S)


async def test_an_app_that_does_not_end_holds_a_login_up_for_three_seconds_at_most(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    site.own()
    async with asyncio.TaskGroup() as tasks:
        logging_in = tasks.create_task(site.get("/login"))
        await until(lambda: site.broker.of("submit"), "the app is told to end")
        await site.clock.advance(renewal.END_WAIT_S)
    assert digest_of(cookie_in(logging_in.result())) in site.broker.sessions_data
    assert "1 of its apps have not ended" in caplog.text


# When it fails


@pytest.mark.parametrize("verb", ["check_room", "close_session", "move"])
async def test_a_session_that_cannot_move_keeps_its_id_and_its_values(site: Site, verb: str) -> None:
    site.broker.errors[verb] = MessageError("too much")
    response = await site.get("/login")
    assert (response.status_code, "set-cookie" in response.headers) == (500, False)
    assert site.broker.sessions_data[site.instance.session].values == {"cart": b"[1]"}


async def test_without_room_no_app_ends_for_it(site: Site) -> None:
    site.own()
    site.broker.errors["check_room"] = MessageError("too much")
    await site.get("/login")
    assert site.broker.of("submit") == []


async def test_a_move_whose_answer_is_lost_is_repeated_for_the_same_id(site: Site) -> None:
    site.broker.errors["move"] = BrokerUnavailable("no answer")
    async with asyncio.TaskGroup() as tasks:
        logging_in = tasks.create_task(site.get("/login"))
        await until(lambda: "close_session" in site.broker.verbs(), "it is closed")
        await turns()
        del site.broker.errors["move"]
        await site.clock.advance(renewal.RETRY_S)
    assert digest_of(cookie_in(logging_in.result())) in site.broker.sessions_data


async def test_a_broker_that_stays_away_gives_no_cookie_of_which_nobody_knows_what_it_is_worth(
    site: Site,
) -> None:
    site.broker.errors["move"] = BrokerUnavailable("no answer")
    async with asyncio.TaskGroup() as tasks:
        logging_in = tasks.create_task(site.get("/login"))
        await until(lambda: "close_session" in site.broker.verbs(), "it is closed")
        await site.clock.advance(renewal.MOVE_PATIENCE_S)
    response = logging_in.result()
    assert (response.status_code, "set-cookie" in response.headers) == (503, False)


@pytest.mark.parametrize("verb", ["close_session", "move", "write"])
async def test_who_comes_second_gets_a_page_that_tries_again(site: Site, verb: str) -> None:
    site.endpoint("/set", lambda request: request.session.update(a=1))
    site.broker.errors[verb] = SessionMoved("it has a new id")
    response = await site.get("/set" if verb == "write" else "/login")
    assert (response.status_code, response.headers["retry-after"]) == (503, "3")
    assert "set-cookie" not in response.headers


# The old id


async def test_the_old_id_gets_no_other_cookie_while_the_new_one_is_on_its_way(site: Site) -> None:
    await site.get("/login")
    response = await site.get("/show")
    assert (response.status_code, response.headers["retry-after"]) == (503, "3")
    assert "set-cookie" not in response.headers


async def test_later_the_old_id_is_an_empty_session(site: Site) -> None:
    await site.get("/login")
    del site.broker.sessions_data[site.instance.session]  # the mark has expired
    assert (await site.get("/show")).json() == {}


async def test_a_response_that_is_late_does_not_bring_the_old_id_back(site: Site) -> None:
    reached, go = asyncio.Event(), asyncio.Event()

    async def work(request: Request) -> Response:
        reached.set()
        await go.wait()
        visit_of(request)
        return Response("late")

    site.endpoint("/late", work)
    async with asyncio.TaskGroup() as tasks:
        late = tasks.create_task(site.get("/late"))
        await reached.wait()
        await site.get("/login")
        go.set()
    assert (late.result().text, "set-cookie" in late.result().headers) == ("late", False)
