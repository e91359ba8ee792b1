"""The secret that signs cookies, shared by all web workers through the broker."""

from __future__ import annotations

import secrets

from htagweb_broker.connection import Caller
from htagweb_broker.keys import Keys


async def shared_secret(caller: Caller, keys: Keys, mine: str = "") -> str:
    """Return the secret; the first worker to ask makes it, or puts back its own when the server lost it."""
    await caller.call("SET", keys.secret, mine or secrets.token_urlsafe(32), "NX")
    secret: bytes = await caller.call("GET", keys.secret)
    return secret.decode()
