"""What tests look at as a person does: every part of it has a button."""

import os
from typing import Any

from htag import Tag
from starlette.requests import Request
from starlette.responses import Response

from htagweb import Runner


class Counter(Tag.body):  # type: ignore[misc]
    """Counts in the session; fails, or ends, when it is told to."""

    def init(self) -> None:
        self.shown = Tag.b(self.session.get("count", 0), _class="count")
        self.add(self.shown + Tag.i(os.getpid(), _class="pid"))
        for name in ("count", "fail", "leave"):
            self.add(Tag.button(name, _onclick=getattr(self.bind, name)()))

    def count(self) -> None:
        self.session["count"] = self.session.get("count", 0) + 1
        self.shown.clear(self.session["count"])

    def fail(self) -> None:
        raise ValueError("no luck")

    def leave(self) -> None:
        self.exit()


class Idle(Counter):
    """Ends when it is not used."""


class IdlePosted(Counter):
    """Ends when it is not used; its pages have no WebSocket."""


app = Runner(Counter)
debugged = Runner(Counter, debug=True)


def serve(path: str, obj: Any, **options: Any) -> None:
    """Serve an app on a path."""

    async def endpoint(request: Request) -> Response:
        return await app.handle(request, obj, **options)

    app.add_route(path, endpoint)


serve("/idle", Idle, timeout_inactivity=1)
serve("/idle-http-only", IdlePosted, timeout_inactivity=1, http_only=True)
