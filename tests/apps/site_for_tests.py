"""What the test installation serves."""

import asyncio
import ctypes
import os
import time
from typing import Any

from htag import Tag
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from htagweb import Runner
from htagweb.web import opening, submitting

opening.PING_S = int(os.environ.get("PING_S", opening.PING_S))
submitting.PATIENCE_S = float(os.environ.get("PATIENCE_S", submitting.PATIENCE_S))


class Audit(Tag.body):  # type: ignore[misc]
    """Records each interaction that it ran, in the order in which it ran them."""

    def init(self, v: str = "1") -> None:
        self.ran: list[Any] = []
        self.shown = Tag.pre("", _class="ran")
        self.pid = Tag.b(os.getpid(), _class="pid")
        self.v = Tag.i(v, _class="v")
        self.ticks = Tag.span("0", _class="ticks")
        self.add(self.pid + self.v + self.shown + self.ticks)
        self.add(Tag.button("run", _onclick=self.bind.run("click"), _class="run"))
        self.ticking: asyncio.Task[None] | None = None

    def run(self, what: Any) -> None:
        self.ran.append(what)
        self.shown.clear(" ".join(map(str, self.ran)))

    async def tick(self, times: int) -> None:
        """Update ``times`` times, from a task of the app's own."""

        async def work() -> None:
            for number in range(1, times + 1):
                self.ticks.clear(str(number))
                await self.ticks.update()
                await asyncio.sleep(0.01)

        self.ticking = asyncio.create_task(work())

    async def tell_delivered(self) -> None:
        """Put into the answer whether an update reaches a browser."""
        self.shown.clear(f"delivered={await self.ticks.update()}")

    def spin(self) -> None:
        while True:
            pass

    def sleep_in_c(self) -> None:
        ctypes.CDLL(None).sleep(60)

    async def wait(self, name: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        self.run(name)

    def fail(self) -> None:
        raise ValueError("what went wrong")

    def remember(self, key: str, value: Any) -> None:
        self.session[key] = value

    def append(self, key: str, value: Any) -> None:
        self.session[key].append(value)

    def recall(self, key: str) -> None:
        self.shown.clear(f"{key}={self.session.get(key)}")

    def die(self) -> None:
        os._exit(9)

    def large(self, size: int) -> None:
        self.shown.clear("x" * size)

    def say(self, text: str) -> None:
        print(text)

    def write(self, text: str) -> None:
        print(text, end="", flush=True)

    def flood(self) -> None:
        """Print without end, from a task that no time limit concerns."""

        async def work() -> None:
            while True:
                print("x\n" * 10_000, end="")
                await asyncio.sleep(0)

        self.ticking = asyncio.create_task(work())

    def die_of_real_time_signal(self) -> None:
        os.kill(os.getpid(), 40)

    def script(self) -> None:
        self.call("console.log('mine')")
        self.run("scripted")

    def count(self) -> Any:
        for number in range(3):
            yield f"<b>{number}</b>"


class Reader(Audit):
    """Another app of the same user."""


class Job(Tag.body):  # type: ignore[misc]
    """Says in its tabs what it does: at once, from a task of its own, or when a long wait is over."""

    def init(self) -> None:
        self.lines = Tag.ol(_class="lines")
        self.given_up = asyncio.Event()
        self.counting: asyncio.Task[None] | None = None
        self.add(self.lines)
        for name in ("work", "cancel", "greet", "count"):
            self.add(Tag.button(name, _onclick=getattr(self.bind, name)()))

    def say(self, text: str) -> None:
        self.lines.add(Tag.li(text))

    async def work(self) -> Any:
        self.say("working")
        yield
        await self.given_up.wait()
        self.say("given up")

    def cancel(self) -> None:
        self.given_up.set()
        self.say("cancel")

    def greet(self) -> None:
        self.call("window.greeted = (window.greeted || 0) + 1")
        self.say("hello")

    def count(self) -> None:
        async def update() -> None:
            for number in range(3):
                self.say(str(number))
                await self.lines.update()

        self.counting = asyncio.create_task(update())


class Sealed(Audit):
    """Its pages speak sealed."""


class Posted(Audit):
    """Its pages have no WebSocket."""


class SealedPosted(Audit):
    """Its pages have no WebSocket, and speak sealed."""


class Failing(Tag.body):  # type: ignore[misc]
    def init(self) -> None:
        raise ValueError("no luck today")


class Plain(Tag.body):  # type: ignore[misc]
    """Has no ``init``: htag makes attributes of its parameters."""


class Slow(Tag.body):  # type: ignore[misc]
    def init(self) -> None:
        time.sleep(60)


class Endless(Tag.body):  # type: ignore[misc]
    def init(self) -> None:
        while True:
            pass


app = Runner(Audit)
SHORT_S = 1.5


def serve(path: str, obj: Any, **options: Any) -> None:
    """Serve an app on a path."""

    async def endpoint(request: Request) -> Response:
        return await app.handle(request, obj, **options)

    app.add_route(path, endpoint)


serve("/short", Audit, timeout_interaction=SHORT_S)
serve("/idle", Audit, timeout_inactivity=1)
serve("/job", Job)
serve("/parano", Sealed, parano=True)
serve("/http-only", Posted, http_only=True)
serve("/parano-http-only", SealedPosted, parano=True, http_only=True)
serve("/failing", Failing)
serve("/plain", Plain)
serve("/session-reader", Reader)
serve("/slow", Slow, timeout_interaction=1)
serve("/greedy", "greedy_app.Greedy")
serve("/no-module", "no_such_module.App")
serve("/no-class", "site_for_tests.Nothing")
serve("/broken", "broken_app.App")


async def session(request: Request) -> Response:
    """Show the session; a query changes it."""
    request.session.update(request.query_params)
    return JSONResponse(dict(request.session))


async def unsavable(request: Request) -> Response:
    """Put into the session what JSON cannot hold."""
    request.session["thing"] = object()
    return JSONResponse({})


app.add_route("/session", session)
app.add_route("/unsavable", unsavable)
