"""The browser client: the files of ``client/``, joined into one script that is loaded in one request."""

from __future__ import annotations

import hashlib
from importlib.resources import files

PARTS = (
    "config",
    "timers",
    "look",
    "notices",
    "overlay",
    "interactions",
    "actions",
    "events",
    "reloads",
    "unanswered",
    "line",
    "socket",
    "posts",
    "sealing",
    "sealed",
    "connection",
    "page",
)
"""In this order: a part may use what stands before it when it is loaded, all of them later."""


def _join() -> str:
    folder = files("htagweb.web").joinpath("client")
    parts = [folder.joinpath(f"{name}.js").read_text(encoding="ascii") for name in PARTS]
    # One scope of its own: the app's page has its own names.
    return "(() => {\n" + '"use strict";\n\n' + "\n".join(parts) + "})();\n"


CLIENT_JS = _join()
CLIENT_VERSION = hashlib.sha256(CLIENT_JS.encode()).hexdigest()[:12]
