"""``htagweb.manage``: who uses which apps, and ending that, from scripts and from inside an event loop."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from htagweb_broker import BrokerUnavailable, Inspector

from htagweb import embedded, manage
from htagweb.embedded import Directory, Master
from htagweb.settings import SettingError
from tests.support.fake_inspector import FakeInspector, running

ANNA, BOB = "aa" * 16, "bb" * 16


class Site(FakeInspector):
    """An installation, and which brokers were asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[str, str]] = []

    def at(self, url: str, namespace: str) -> Inspector:
        self.asked.append((url, namespace))
        return self.real


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """Give an installation that is found in the environment."""
    made = Site()
    monkeypatch.setenv("HTAGWEB_REDIS_URL", "redis://from-environment")
    monkeypatch.delenv("HTAGWEB_NAMESPACE", raising=False)
    monkeypatch.setattr(Inspector, "at", made.at)
    yield made
    assert made.closed == len(made.asked), "every connection is closed"


@pytest.fixture
def nowhere(site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Site:
    """Give an environment that names no broker, and a directory for private ones."""
    monkeypatch.delenv("HTAGWEB_REDIS_URL")
    monkeypatch.setattr(embedded, "_base", lambda: tmp_path)
    return site


def test_without_apps_there_are_no_users(site: Site) -> None:
    site.data = {BOB: {"fruit": "pear"}}
    assert manage.users() == []


def test_a_user_is_a_session_with_its_apps(site: Site) -> None:
    site.apps = [running(BOB), running(ANNA, "shop.Desk"), running(ANNA)]
    anna, bob = manage.users()
    assert (anna.uid, bob.uid) == (ANNA, BOB)
    assert [app.name for app in anna.apps] == ["shop.Cart", "shop.Desk"]


def test_an_app_says_what_it_is_where_and_since_when(site: Site) -> None:
    site.apps = [running(BOB)]
    ((app,),) = (user.apps for user in manage.users())
    assert (app.pid, app.generation, app.host, app.supervisor) == (7, "1-aa", "h", "s1-1-aa")
    assert app.cdate == datetime(1970, 1, 1, 0, 0, 5, tzinfo=UTC)
    assert app.mdate == datetime(1970, 1, 1, 0, 0, 9, tzinfo=UTC)


def test_users_and_apps_are_shown_as_htagweb_1_did(site: Site) -> None:
    site.apps = [running(BOB)]
    (user,) = manage.users()
    assert (str(user), str(user.apps[0])) == (BOB, "shop.Cart (pid:7)")
    assert repr([user, user.apps[0]]) == f"[<User {BOB}>, <App shop.Cart (pid:7)>]"


def test_a_users_session_is_what_it_is_now(site: Site) -> None:
    site.apps = [running(BOB)]
    (user,) = manage.users()
    assert user.session == {}
    site.data = {BOB: {"fruit": "pear"}}
    assert user.session == {"fruit": "pear"}


def test_killing_an_app_leaves_the_others_and_the_session(site: Site) -> None:
    site.apps = [running(BOB), running(BOB, "shop.Desk")]
    site.data = {BOB: {"fruit": "pear"}}
    manage.users()[0].apps[0].kill()
    (user,) = manage.users()
    assert [app.name for app in user.apps] == ["shop.Desk"]
    assert user.session == {"fruit": "pear"}


def test_killing_a_user_ends_its_apps_of_now_and_forgets_its_session(site: Site) -> None:
    site.apps = [running(BOB), running(ANNA)]
    site.data = {BOB: {"fruit": "pear"}, ANNA: {"fruit": "fig"}}
    bob = manage.users()[1]
    site.apps.append(running(BOB, "shop.Desk"))
    bob.kill()
    assert [user.uid for user in manage.users()] == [ANNA]
    assert site.data == {ANNA: {"fruit": "fig"}}


def test_what_does_not_end_is_an_error_and_its_session_is_kept(site: Site) -> None:
    site.apps = [running(BOB)]
    site.data = {BOB: {"fruit": "pear"}}
    site.stuck = {site.apps[0].instance}
    (user,) = manage.users()
    for kill in (user.kill, user.apps[0].kill):
        with pytest.raises(TimeoutError, match=r"bbbbbbbb:shop\.Cart"):
            kill()
    assert user.session == {"fruit": "pear"}


async def test_it_works_inside_a_running_event_loop(site: Site) -> None:
    site.apps = [running(BOB)]
    manage.users()[0].kill()
    assert manage.users() == []


def test_a_broker_that_is_away_is_an_error(site: Site) -> None:
    site.is_away = True
    with pytest.raises(BrokerUnavailable):
        manage.users()


# Which broker


def test_it_is_the_environments(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTAGWEB_NAMESPACE", "mine")
    manage.users()
    assert site.asked == [("redis://from-environment", "mine")]


def test_one_that_is_given_wins(site: Site) -> None:
    site.apps = [running(BOB)]
    manage.users("redis://given")[0].kill()
    assert site.asked == [("redis://given", "htagweb")] * 2


def test_without_one_it_is_the_private_one_of_this_web_server(nowhere: Site) -> None:
    directory = Directory(Master.of_this_server())
    directory.create()
    directory.socket.touch()
    manage.users()
    assert nowhere.asked == [(directory.url, "htagweb")]


def test_without_any_it_says_what_to_do_and_which_there_are(nowhere: Site, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"redis_url=.*HTAGWEB_REDIS_URL.*in the web server$"):
        manage.users()
    other = Directory(Master(1, 2))
    other.create()
    with pytest.raises(SettingError, match=f"private ones of this user: {other.url}$"):
        manage.users()
