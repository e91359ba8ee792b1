"""The session cookie: an opaque random id and a signature, so that an id which we did not issue is none."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets

from htagweb.settings import SettingError, variable

COOKIE = "htagweb_session"
SECURE_COOKIE = f"__Host-{COOKIE}"
"""Under https: a browser takes a cookie of this name from this very host alone, and only over TLS."""
_SHAPE = re.compile(r"[A-Za-z0-9_-]{32}\.[A-Za-z0-9_-]{43}", re.ASCII)


def cookie_name(scheme: str) -> str:
    """Return the cookie's name under a connection's scheme, the only one that is read and set there."""
    return SECURE_COOKIE if scheme in ("https", "wss") else COOKIE


def secrets_in(text: str) -> list[str]:
    """Return the secrets of a setting, separated by commas; SettingError when one is empty."""
    found = [part.strip() for part in text.split(",")]
    if not all(found):
        raise SettingError(
            f"secret ({variable('secret')}) is one secret, or several with a comma between: "
            f"number {found.index('') + 1} of {len(found)} is empty"
        )
    return found


class Signer:
    """Issues and checks session ids: the first of its secrets signs, all are taken."""

    def __init__(self, secret: str) -> None:
        self._keys = [
            hashlib.sha256(b"htagweb session cookie\0" + part.encode()).digest()
            for part in secrets_in(secret)
        ]

    def issue(self) -> str:
        """Return the cookie value of a new session."""
        return self._sign(self._keys[0], secrets.token_urlsafe(24))

    def accept(self, value: str) -> str | None:
        """Return the value that the browser should have, None when it was not issued with our secrets.

        It is another text, of the same session, where an old secret has signed it.
        """
        if not _SHAPE.fullmatch(value):
            return None
        session_id = value.partition(".")[0]
        signed = [self._sign(key, session_id) for key in self._keys]
        is_ours = [hmac.compare_digest(value, each) for each in signed]
        return signed[0] if any(is_ours) else None

    def blind(self, text: str) -> str:
        """Return a digest of the text that nobody can look up without the secret."""
        return hmac.digest(self._keys[0], b"blind\0" + text.encode(), "sha256").hex()[:32]

    def _sign(self, key: bytes, session_id: str) -> str:
        digest = hmac.digest(key, session_id.encode(), "sha256")
        return f"{session_id}.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"


def digest_of(value: str) -> str:
    """Return the session's digest: what keys and logs show in place of the id (128 bits, hex)."""
    return hashlib.sha256(value.partition(".")[0].encode()).hexdigest()[:32]
