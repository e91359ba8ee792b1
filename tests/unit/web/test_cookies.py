"""The session cookie: an id that we issued is ours, everything else is not."""

import re

import pytest

from htagweb.web.cookies import Signer, digest_of

ISSUED = Signer("secret").issue()


def test_what_was_issued_is_ours() -> None:
    assert Signer("secret").is_ours(ISSUED)


def test_each_id_is_another() -> None:
    signer = Signer("secret")
    assert len({signer.issue() for _ in range(100)}) == 100


def test_what_was_issued_with_another_secret_is_not_ours() -> None:
    assert not Signer("other").is_ours(ISSUED)


def test_one_changed_character_anywhere_makes_it_foreign() -> None:
    signer = Signer("secret")
    for at, character in enumerate(ISSUED):
        other = "A" if character != "A" else "B"
        assert not signer.is_ours(ISSUED[:at] + other + ISSUED[at + 1 :])


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
)
def test_what_has_another_shape_is_not_ours(value: str) -> None:
    assert not Signer("secret").is_ours(value)


def test_the_cookie_is_safe_in_a_header() -> None:
    assert re.fullmatch(r"[A-Za-z0-9._-]+", ISSUED)


def test_the_digest_is_of_the_id_alone_and_tells_nothing_of_it() -> None:
    session_id, _, _ = ISSUED.partition(".")
    digest = digest_of(ISSUED)
    assert digest == digest_of(session_id)
    assert re.fullmatch(r"[0-9a-f]{32}", digest)
    assert session_id not in digest
