"""Loads and calls the Lua scripts in ``lua/``; each is one atomic step of the protocol."""

from __future__ import annotations

import hashlib
from importlib.resources import files
from typing import Any

from htagweb_broker.connection import COMMAND_TIMEOUT_S, Argument, Caller
from htagweb_broker.errors import ScriptUnknown


class Script:
    """One Lua script, sent by its digest and, when the server does not know it, as text."""

    def __init__(self, name: str) -> None:
        self._text = files(__package__).joinpath("lua", f"{name}.lua").read_text()
        self._digest = hashlib.sha1(self._text.encode(), usedforsecurity=False).hexdigest()

    async def __call__(
        self, caller: Caller, keys: tuple[str, ...], *args: Argument, timeout_s: float = COMMAND_TIMEOUT_S
    ) -> Any:
        """Run the script and return its answer."""
        try:
            return await caller.call("EVALSHA", self._digest, len(keys), *keys, *args, timeout_s=timeout_s)
        except ScriptUnknown:  # a new or restarted server; nothing ran, so it is safe to send again
            return await caller.call("EVAL", self._text, len(keys), *keys, *args, timeout_s=timeout_s)
