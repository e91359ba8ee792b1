"""Limits of the app process against the broker's: what an app is allowed to send can also be stored."""

from __future__ import annotations

import msgspec
from htagweb_broker import MAX_OUTBOX_BYTES, limits
from htagweb_broker.messages import PageReply, encode

from htagweb.host import app, app_session
from htagweb.host.app_session import AppSession


def test_an_apps_session_changes_are_at_most_what_the_broker_writes_at_once() -> None:
    assert app.MAX_CHANGES_BYTES <= limits.SESSION_MAX_WRITE_BYTES
    assert app_session.MAX_KEYS == limits.SESSION_MAX_FIELDS


def test_the_largest_page_of_an_app_fits_into_a_reply() -> None:
    html = "x" * app.MAX_PAGE_BYTES
    assert len(encode(PageReply("123456789012345678-00000000", html))) <= MAX_OUTBOX_BYTES


def test_one_key_too_many_is_told_and_not_sent() -> None:
    session = AppSession({str(n): msgspec.Raw(b"1") for n in range(app_session.MAX_KEYS)})
    session["more"] = 1
    taken = session.take(1000)
    assert taken.changed == {}
    assert "1000" in taken.problems[0]
    assert "more" not in session


def test_the_names_of_keys_count_too() -> None:
    session = AppSession({})
    session["k" * 100] = 1
    assert session.take(50).problems
