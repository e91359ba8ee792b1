"""The session cookie: an opaque random id and a signature, so that an id which we did not issue is none."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets

COOKIE = "htagweb_session"
_SHAPE = re.compile(r"[A-Za-z0-9_-]{32}\.[A-Za-z0-9_-]{43}", re.ASCII)


class Signer:
    """Issues and checks session ids."""

    def __init__(self, secret: str) -> None:
        self._key = hashlib.sha256(b"htagweb session cookie\0" + secret.encode()).digest()

    def issue(self) -> str:
        """Return the cookie value of a new session."""
        return self._sign(secrets.token_urlsafe(24))

    def is_ours(self, value: str) -> bool:
        """Return whether the cookie value was issued with this secret."""
        if not _SHAPE.fullmatch(value):
            return False
        return hmac.compare_digest(value, self._sign(value.partition(".")[0]))

    def _sign(self, session_id: str) -> str:
        digest = hmac.digest(self._key, session_id.encode(), "sha256")
        return f"{session_id}.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"


def digest_of(value: str) -> str:
    """Return the session's digest: what keys and logs show in place of the id (128 bits, hex)."""
    return hashlib.sha256(value.partition(".")[0].encode()).hexdigest()[:32]
