"""From a click to the changed page, in Chromium: every contestant's page measures itself by one script."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from benchmarks.devtools import DevTools, chromium
from benchmarks.errors import BenchmarkError

_SCRIPT = Path(__file__).with_suffix(".js").read_text(encoding="utf-8")
_ISOLATED = {"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp"}
"""What gives a page a clock that tells 5 µs apart: without these headers Chromium rounds it to 100."""
WARM_UP_CLICKS = 20
PAUSE_MS = 5
LIMIT_MS = 10_000


class Page:
    """A contestant's page in a tab of a new user."""

    def __init__(self, tools: DevTools, session: str, address: str) -> None:
        self._tools = tools
        self.session = session
        self._address = address

    def open(self) -> None:
        """Load it, and wait until a click changes it."""
        pattern = {"urlPattern": self._address, "requestStage": "Response"}
        self._tools.call("Fetch.enable", self.session, patterns=[pattern])
        self._tools.call("Page.enable", self.session)
        # Not a call: the result waits for the document, and that waits for us.
        self._tools.send("Page.navigate", self.session, url=self._address)
        self._isolate(self._tools.wait_for("Fetch.requestPaused", self.session))
        self._tools.call("Fetch.disable", self.session)
        self._tools.wait_for("Page.loadEventFired", self.session)
        self._tools.call("Page.disable", self.session)
        self.run("wake", LIMIT_MS)

    def click(self, clicks: int) -> list[float]:
        """Click so many times, one after the other; return the seconds until each changed the page."""
        waits: list[float] = self.run("click", LIMIT_MS, clicks, PAUSE_MS)
        return waits

    def run(self, function: str, *arguments: object) -> Any:
        """Call a function of the script, and return what its promise gives."""
        call = f"({_SCRIPT})().{function}({', '.join(map(json.dumps, arguments))})"
        answer = self._tools.call(
            "Runtime.evaluate", self.session, expression=call, awaitPromise=True, returnByValue=True
        )
        if error := answer.get("exceptionDetails"):
            text = error.get("exception", {}).get("description", error["text"])
            raise BenchmarkError(f"{self._address} in Chromium: {text}")
        return answer["result"].get("value")

    def _isolate(self, paused: dict[str, Any]) -> None:
        """Hand the document over with those headers added."""
        request = paused["requestId"]
        if "responseStatusCode" not in paused:
            reason = paused.get("responseErrorReason", "no answer")
            raise BenchmarkError(f"{self._address} in Chromium: expected a page, got {reason}")
        body = self._tools.call("Fetch.getResponseBody", self.session, requestId=request)
        text = body["body"] if body["base64Encoded"] else b64encode(body["body"].encode()).decode()
        added = [{"name": name, "value": value} for name, value in _ISOLATED.items()]
        self._tools.call(
            "Fetch.fulfillRequest",
            self.session,
            requestId=request,
            responseCode=paused["responseStatusCode"],
            responseHeaders=paused["responseHeaders"] + added,
            body=text,
        )


class Chromium:
    """One browser for all turns, so that its own state is the same for everybody.

    BenchmarkError where there is none, and when a page does not do what it should.
    """

    def __enter__(self) -> Self:
        """Start it."""
        with ExitStack() as stack:
            self._tools = stack.enter_context(chromium())
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it."""
        self._stack.__exit__(kind, error, trace)

    def measure(self, port: int, clicks: int, path: str = "/") -> list[float]:
        """Return the seconds of each click, by a new user; some before, which warm up, do not count."""
        with self.page(port, path) as page:
            page.click(WARM_UP_CLICKS)
            return page.click(clicks)

    @contextmanager
    def page(self, port: int, path: str = "/") -> Iterator[Page]:
        """Open the page as a new user, who is gone afterwards."""
        context = self._tools.call("Target.createBrowserContext")["browserContextId"]
        try:
            target = self._tools.call("Target.createTarget", url="about:blank", browserContextId=context)
            session = self._tools.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
            page = Page(self._tools, session["sessionId"], f"http://127.0.0.1:{port}{path}")
            page.open()
            yield page
        finally:
            self._tools.call("Target.disposeBrowserContext", browserContextId=context)


def measure(port: int, clicks: int, path: str = "/") -> list[float]:
    """Measure one contestant in a Chromium of its own."""
    with Chromium() as browser:
        return browser.measure(port, clicks, path)
