"""What apps may take, as settings say it; and whom they can run as."""

from __future__ import annotations

import os
import pwd

import pytest

from htagweb.settings import SettingError, Settings
from htagweb.supervisor.allowance import Allowance
from htagweb.supervisor.templates import _environment, _identity


def allowance(**settings: object) -> Allowance:
    return Allowance.of(Settings.load({}, **settings))


@pytest.fixture
def as_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)


@pytest.fixture
def as_nobody(monkeypatch: pytest.MonkeyPatch) -> pwd.struct_passwd:
    nobody = pwd.getpwnam("nobody")
    monkeypatch.setattr(os, "geteuid", lambda: nobody.pw_uid)
    return nobody


def test_every_limit_has_a_default() -> None:
    assert allowance() == Allowance(1024 * 1024 * 1024, 240, 512, 1024)


def test_zero_is_no_limit() -> None:
    none = allowance(app_memory_mb=0, app_cpu_s=0, app_processes=0, app_open_files=0)
    assert str(none) == "whatever there is"


def test_the_log_is_told_every_limit() -> None:
    assert str(allowance(app_cpu_s=0)) == "1024 MiB of memory, 512 processes and threads, 1024 open files"


@pytest.mark.parametrize("name", ["nobody", str(pwd.getpwnam("nobody").pw_uid)])
def test_root_can_run_apps_as_anybody_by_name_or_number(as_root: None, name: str) -> None:
    nobody = pwd.getpwnam("nobody")
    user = allowance(app_user=name).user
    assert user is not None
    assert (user.name, user.uid, user.gid, user.home) == (
        "nobody",
        nobody.pw_uid,
        nobody.pw_gid,
        nobody.pw_dir,
    )
    assert _identity(user) == {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": user.groups}
    assert _environment(user)["HOME"] == nobody.pw_dir


def test_an_app_looks_names_up_in_one_thread_unless_the_operator_says_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("UV_THREADPOOL_SIZE", raising=False)
    assert _environment(None)["UV_THREADPOOL_SIZE"] == "1"
    monkeypatch.setenv("UV_THREADPOOL_SIZE", "8")
    assert _environment(None)["UV_THREADPOOL_SIZE"] == "8"


def test_the_supervisors_own_user_is_no_change(as_nobody: pwd.struct_passwd) -> None:
    assert allowance(app_user="nobody").user is None
    assert _identity(None) == {}


def test_only_root_can_run_apps_as_somebody_else(as_nobody: pwd.struct_passwd) -> None:
    with pytest.raises(SettingError, match=r"HTAGWEB_APP_USER.*runs as root.*start it as root, or remove"):
        allowance(app_user="root")


@pytest.mark.parametrize("name", ["no-such-user", "4294967299", "4294967290"])
def test_a_user_that_is_none_is_a_wrong_setting(name: str) -> None:
    with pytest.raises(SettingError, match=f"expected a user of this host, there is no '{name}'"):
        allowance(app_user=name)
