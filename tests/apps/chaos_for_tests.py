"""What the fault suite serves: an app that writes down each interaction that it runs."""

import asyncio
import json
import os
import secrets
import time
from pathlib import Path
from typing import Any

from htag import Tag
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from htagweb import Runner


def record(event: str, **facts: Any) -> None:
    """Append one line to the audit; it is the same file for all hosts, and one write is not torn."""
    line = json.dumps({"event": event, "pid": os.getpid(), "at": time.monotonic(), **facts}) + "\n"
    fd = os.open(Path(os.environ["CHAOS_AUDIT"]), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, line.encode())
    os.close(fd)


class Audit(Tag.body):  # type: ignore[misc]
    """Runs what pages ask under a label of theirs, and shows the last of it.

    ``life`` is this process, ``seq`` counts what it showed, ``total`` what its session was asked.
    """

    def init(self, user: str = "") -> None:
        self.life = secrets.token_hex(6)
        self.seq = 0
        self.user = user
        self.shown = Tag.pre(self.mark(""), _class="audit")
        self.add(self.shown)
        self.chiming: set[asyncio.Task[None]] = set()
        record("born", life=self.life, user=user)

    def mark(self, label: str) -> str:
        """Return what pages check."""
        total = self.session.get("total", 0)
        return f"audit life={self.life} seq={self.seq} total={total} pid={os.getpid()} label={label};"

    def show(self, label: str, more: str = "") -> None:
        """Show the next mark."""
        self.seq += 1
        self.shown.clear(self.mark(label) + more)

    async def work(self, label: str, duration_s: float = 0) -> None:
        """Take some time, count, and show it."""
        record("run", life=self.life, label=label)
        if duration_s:
            await asyncio.sleep(duration_s)
        self.finish(label)

    def finish(self, label: str) -> None:
        """Count, and show it."""
        self.session["total"] = self.session.get("total", 0) + 1
        record("done", life=self.life, label=label)
        self.show(label)

    def chime(self, label: str, times: int, size: int = 0) -> None:
        """Update ``times`` times by itself, with as many bytes."""
        record("run", life=self.life, label=label)

        async def work() -> None:
            for _ in range(times):
                await asyncio.sleep(0.05)
                self.show("", "x" * size)
                await self.shown.update()

        task = asyncio.create_task(work())
        self.chiming.add(task)
        task.add_done_callback(self.chiming.discard)
        self.finish(label)


app = Runner(Audit)


async def session(request: Request) -> Response:
    """Show the session."""
    return JSONResponse(dict(request.session))


app.add_route("/session", session)
