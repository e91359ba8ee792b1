"""The session cookie: an id that we issued is ours, everything else is not."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from htagweb.settings import SettingError, Settings
from htagweb.web.cookies import COOKIE, SECURE_COOKIE, Signer, cookie_name, digest_of, secrets_in
from htagweb.web.service import WebService
from tests.support.fakes import FakeClock

SIGNER = Signer("secret")
ISSUED = SIGNER.issue()


def test_what_was_issued_is_ours_and_stays_as_it_is() -> None:
    assert Signer("secret").accept(ISSUED) == ISSUED


def test_each_id_is_another() -> None:
    assert len({SIGNER.issue() for _ in range(100)}) == 100


def test_what_was_issued_with_another_secret_is_not_ours() -> None:
    assert Signer("other").accept(ISSUED) is None


def test_one_changed_character_anywhere_makes_it_foreign() -> None:
    for at, character in enumerate(ISSUED):
        other = "A" if character != "A" else "B"
        assert SIGNER.accept(ISSUED[:at] + other + ISSUED[at + 1 :]) is None


@pytest.mark.parametrize(
    "value",
    ["", ".", "x", ISSUED[:-1], f"{ISSUED}x", f"{ISSUED}\n", f" {ISSUED}", f"{ISSUED}.{ISSUED}"]
    + [
        ISSUED.partition(".")[0],
        f"{ISSUED.partition('.')[0]}.",
        "é" * 76,
        "\0" * 76,
        f"{'a' * 32}.{'a' * 43}",
    ],
    ids=range(13),
)
def test_what_has_another_shape_is_not_ours(value: str) -> None:
    assert SIGNER.accept(value) is None


@given(st.text() | st.from_regex(r"[A-Za-z0-9_-]{32}\.[A-Za-z0-9_-]{43}\Z"))
def test_no_text_that_was_not_issued_is_ours_or_an_error(value: str) -> None:
    assert SIGNER.accept(value) is None


@given(at=st.integers(0, len(ISSUED) - 1), length=st.integers(0, 3), new=st.text(max_size=3))
def test_no_edit_of_what_was_issued_is_ours(at: int, length: int, new: str) -> None:
    edited = ISSUED[:at] + new + ISSUED[at + length :]
    assert SIGNER.accept(edited) == (ISSUED if edited == ISSUED else None)


def test_the_cookie_is_safe_in_a_header() -> None:
    assert re.fullmatch(r"[A-Za-z0-9._-]+", ISSUED)


def test_the_digest_is_of_the_id_alone_and_tells_nothing_of_it() -> None:
    session_id, _, _ = ISSUED.partition(".")
    digest = digest_of(ISSUED)
    assert digest == digest_of(session_id)
    assert re.fullmatch(r"[0-9a-f]{32}", digest)
    assert session_id not in digest


# Its name


@pytest.mark.parametrize(
    ("scheme", "name"), [("http", COOKIE), ("ws", COOKIE), ("https", SECURE_COOKIE), ("wss", SECURE_COOKIE)]
)
def test_under_tls_its_name_binds_it_to_this_host(scheme: str, name: str) -> None:
    assert cookie_name(scheme) == name
    assert SECURE_COOKIE == "__Host-htagweb_session"


# Several secrets


def test_the_first_secret_signs() -> None:
    assert Signer("new").accept(Signer("new,old").issue())


def test_a_cookie_of_an_old_secret_is_signed_anew_for_the_same_session() -> None:
    old = Signer("old").issue()
    accepted = Signer("new, old").accept(old)
    assert accepted is not None
    assert accepted != old
    assert Signer("new").accept(accepted) == accepted
    assert digest_of(accepted) == digest_of(old)


def test_a_secret_that_was_taken_away_is_no_secret() -> None:
    assert Signer("new").accept(Signer("old").issue()) is None


@pytest.mark.parametrize("text", ["", ",", "a,", ",a", "a,,b", "a, ,b", " "])
def test_an_empty_secret_is_an_error_at_the_start_that_shows_none(text: str) -> None:
    with pytest.raises(SettingError, match=r"HTAGWEB_SECRET.* is empty") as caught:
        secrets_in(text)
    assert "a" not in str(caught.value).partition(": ")[2].replace("is empty", "")
    if text:
        with pytest.raises(SettingError):
            WebService(Settings(secret=text), FakeClock())


# Digests of what must not be looked up


def test_what_is_blinded_is_the_same_for_the_same_secret_alone() -> None:
    assert SIGNER.blind("192.0.2.7") == Signer("secret").blind("192.0.2.7")
    assert SIGNER.blind("192.0.2.7") != SIGNER.blind("192.0.2.8")
    assert SIGNER.blind("192.0.2.7") != Signer("other").blind("192.0.2.7")
    assert re.fullmatch(r"[0-9a-f]{32}", SIGNER.blind("192.0.2.7"))
