"""Where private stacks are: a writable directory with a path that is short enough for a socket."""

import os
import tempfile
from pathlib import Path

import pytest

from htagweb import embedded
from htagweb.embedded import StackError


def choose(monkeypatch: pytest.MonkeyPatch, runtime: str, temporary: str, *writable: str) -> Path:
    monkeypatch.setenv("XDG_RUNTIME_DIR", runtime)
    monkeypatch.setattr(tempfile, "gettempdir", lambda: temporary)
    monkeypatch.setattr(os, "access", lambda path, mode: path in writable)
    return embedded._base()


def test_the_users_runtime_directory_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose(monkeypatch, "/run/user/1", "/var/tmp", "/run/user/1", "/var/tmp") == Path("/run/user/1")


def test_the_temporary_directory_comes_next(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose(monkeypatch, "", "/var/tmp", "/var/tmp", "/tmp") == Path("/var/tmp")


def test_a_path_that_is_too_long_for_a_socket_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    long = "/" + "x" * 60
    assert choose(monkeypatch, "/run/user/1", long, long, "/tmp") == Path("/tmp")


def test_without_any_directory_it_is_said_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StackError, match=r"set TMPDIR, or give a redis_url"):
        choose(monkeypatch, "", "/var/tmp")
