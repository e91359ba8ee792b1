"""A page with the browser client in real Chromium; the web worker's side of its WebSocket is the test's."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from playwright.async_api import Locator, Page, Route, WebSocketRoute

from htagweb.web.script import CLIENT_JS
from tests.browser.worker_seal import WorkerSeal

CONFIG = {"url": "/_/examples.main.App", "generation": "3-9f86d081", "last": 12, "ping_s": 25}
START_MS = 1_700_000_000_000
WAIT_S = 20

# Stands in for htag's script: the same globals, and the same throw after an error of the app.
HTAG_JS = """
window.calls = []; window.starts = [];
function start() {
  starts.push([document.readyState, typeof interact]);
  interact({id: 0, method: "started"});
}
function action(payload) {
  calls.push(payload);
  if (payload.update) document.body.outerHTML = payload.update[0];
  if (payload.err) throw payload.err;
}
"""
HTML = """<!doctype html><html><head>
<meta http-equiv="Content-Security-Policy" content="%(csp)s">
<script id="htagweb-config" type="application/json">%(config)s</script>
<script src="/_/client.js?v=1"></script>
<style>%(style)s</style><script>%(htag)s</script>
</head><body><h1>Counter</h1><p>An app of the test.</p></body></html>"""


class Line:
    """One WebSocket of the page, seen from the web worker."""

    def __init__(self, route: WebSocketRoute, changed: Callable[[], None]) -> None:
        """Record what the page sends on ``route``."""
        self._route = route
        self._changed = changed
        self.url = urlsplit(route.url)
        self.query = dict(parse_qsl(self.url.query))
        self.texts: list[str] = []
        self.closed = False
        self.seal: WorkerSeal | None = None
        self._sealed = 0
        self._opened = 0
        route.on_message(self._handle_message)
        route.on_close(self._handle_close)

    def agree(self) -> None:
        """Answer the page's key with our own: from here on frames go both ways."""
        self.seal = WorkerSeal(self.query["curve"], self.query["key"])
        self._route.send(json.dumps({"htagweb": {"key": self.seal.public}}))

    def _handle_message(self, message: str | bytes) -> None:
        self.texts.append(self._opened_text(message))
        self._changed()

    def _opened_text(self, message: str | bytes) -> str:
        if self.seal is None:
            return str(message)
        assert isinstance(message, bytes), f"expected a frame, got {message!r}"
        number, text = self.seal.open(message)
        self._opened += 1
        assert number == self._opened
        return text

    def _handle_close(self, _code: int | None, _reason: str | None) -> None:
        self.closed = True
        self._changed()

    @property
    def messages(self) -> list[dict[str, Any]]:
        """Everything received, decoded."""
        return [json.loads(text) for text in self.texts]

    @property
    def numbers(self) -> list[int]:
        """The numbers of the interactions received."""
        return [each["htagweb"]["n"] for each in self.messages if "n" in each["htagweb"]]

    @property
    def pings(self) -> list[int]:
        """The pings received."""
        return [each["htagweb"]["ping"] for each in self.messages if "ping" in each["htagweb"]]

    def send(self, _htagweb: dict[str, Any] | None = None, **action: Any) -> None:
        """Send an action; ``_htagweb`` is its control part, absent in a plain one."""
        self.send_text(json.dumps(action if _htagweb is None else {**action, "htagweb": _htagweb}))

    def send_text(self, text: str) -> None:
        """Send this text as it is, or sealed."""
        self._route.send(text if self.seal is None else self.frame(text))

    def frame(self, text: str) -> bytes:
        """Seal the next frame."""
        assert self.seal is not None
        self._sealed += 1
        return self.seal.seal(self._sealed, text)

    def send_raw(self, message: str | bytes) -> None:
        """Send this as it is."""
        self._route.send(message)

    async def close(self, code: int = 1012, reason: str = "") -> None:
        """Close from the server's side."""
        await self._route.close(code=code, reason=reason)


class ClientPage:
    """The page under test: its clock stands still unless turned."""

    def __init__(self, page: Page) -> None:
        """Control ``page``; ``open`` loads the document."""
        self.page = page
        self.lines: list[Line] = []
        self.loads = 0
        self.base = ""
        self.refuse_with: int | None = None
        self.probes = 0
        self.probe_status: int | None = 200
        self.probe_headers: dict[str, str] = {}
        self.agrees = True
        self._changed = asyncio.Event()
        self._config = CONFIG
        self._style = ""
        self._csp = ""

    async def open(self, scheme: str = "http", style: str = "", csp: str = "", **config: Any) -> ClientPage:
        """Load the document, its client configured with ``config`` over the defaults."""
        self._config = CONFIG | config
        self._style = style
        self._csp = csp
        await self.page.clock.install(time=START_MS / 1000)
        await self.page.clock.pause_at(START_MS / 1000 + 1)
        await self.page.route("**/*", self._handle_request)
        await self.page.route_web_socket("**/*", self._handle_web_socket)
        await self.page.goto(f"{self.base or f'{scheme}://app.test'}/")
        return self

    async def _handle_request(self, route: Route) -> None:
        if route.request.method == "POST":
            return await route.continue_()
        if route.request.resource_type == "fetch":
            return await self._handle_probe(route)
        if urlsplit(route.request.url).path == "/_/client.js":
            await route.fulfill(content_type="text/javascript", body=CLIENT_JS)
            return None
        self.loads += 1
        htag = f"window.load = {self.loads};{HTAG_JS}"
        values = {"config": json.dumps(self._config), "style": self._style, "csp": self._csp, "htag": htag}
        await route.fulfill(content_type="text/html", body=HTML % values)
        return self._changed.set()

    async def _handle_probe(self, route: Route) -> None:
        """Answer what the page asks before it reloads: None breaks the connection, 0 is no answer at all."""
        self.probes += 1
        self._changed.set()
        if self.probe_status is None:
            await route.abort("connectionrefused")
        elif self.probe_status:
            await route.fulfill(status=self.probe_status, headers=self.probe_headers)

    async def _handle_web_socket(self, route: WebSocketRoute) -> None:
        self.lines.append(Line(route, self._changed.set))
        if self.refuse_with:
            await route.close(code=self.refuse_with)
        elif self.agrees and "key" in self.lines[-1].query:
            self.lines[-1].agree()
        self._changed.set()

    async def until(self, condition: Callable[[], bool], description: str) -> None:
        """Wait for a condition on what the server's side has seen."""
        try:
            async with asyncio.timeout(WAIT_S):
                while not condition():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            pytest.fail(f"never came true: {description}")

    async def line(self, count: int) -> Line:
        """Wait for the page's ``count``-th connection to be open on both sides."""
        await self.until(lambda: len(self.lines) >= count, f"{count} connections (got {len(self.lines)})")
        if not self.refuse_with:
            await self.until_state("catching up")
        return self.lines[count - 1]

    async def ready(self, count: int = 1) -> Line:
        """Wait for the page's ``count``-th connection and make it ready; settle what start() asked."""
        line = await self.line(count)
        line.send({"ready": True})
        await self.until_state("ready")
        if count == 1:
            await self.received(line, 1)
            self.answer(line, 1)
            await self.until_js("htagweb.inspect().unanswered.length === 0")
        return line

    def answer(self, line: Line, number: int) -> None:
        """Settle one of this page's interactions, with an unnumbered message."""
        line.send({"page": line.query["page"], "answers": number})

    async def received(self, line: Line, count: int) -> None:
        """Wait until the page has sent ``count`` messages on this line."""
        await self.until(lambda: len(line.texts) >= count, f"{count} messages on the line: {line.texts}")

    async def dropped(self, line: Line, **close: Any) -> None:
        """Close a line from the server and wait until the page has seen it."""
        await line.close(**close)
        await self.until_js("!['ready', 'catching up'].includes(htagweb.inspect().state)")

    async def until_js(self, expression: str) -> None:
        """Wait until this expression is true in the page."""
        await self.page.wait_for_function(f"() => {expression}", timeout=WAIT_S * 1000)

    async def until_state(self, state: str) -> None:
        """Wait until the client is in this state."""
        await self.until_js(f"htagweb.inspect().state === '{state}'")

    async def until_loads(self, count: int) -> None:
        """Wait until the document was asked for ``count`` times, and the last one runs."""
        await self.until(lambda: self.loads >= count, f"{count} loads (got {self.loads})")
        await self.until_js(f"window.load === {count}")

    async def until_probes(self, count: int) -> None:
        """Wait until the page has asked for itself ``count`` times."""
        await self.until(lambda: self.probes >= count, f"{count} probes (got {self.probes})")

    async def until_asked(self) -> None:
        """Wait until the page knows that there is no page in its place, and offers to ask again."""
        await self.page.get_by_role("button", name="Try now").wait_for()

    async def inspect(self, what: str) -> Any:
        """Return one value of the client's inspection: state, last, unanswered."""
        return await self.page.evaluate(f"htagweb.inspect().{what}")

    async def calls(self) -> Any:
        """Return what htag's action() was called with."""
        return await self.page.evaluate("calls")

    async def interact(self, *ids: Any) -> None:
        """Call interact() once for each id."""
        await self.page.evaluate(
            "ids => ids.forEach(id => { interact({id, method: 'click', args: [], kargs: {}, event: {}}) })",
            ids,
        )

    async def click(self, name: str) -> None:
        """Press the notice's button."""
        await self.page.get_by_role("button", name=name).click()

    async def run(self, duration_ms: float) -> None:
        """Let the page's time pass, timer by timer."""
        await self.page.clock.run_for(int(duration_ms))

    async def sleep_computer(self, duration_ms: float) -> None:
        """Jump the page's time, as after a closed lid: every timer that is due fires once."""
        await self.page.clock.fast_forward(int(duration_ms))

    async def random(self, value: float) -> None:
        """Make every later Math.random() in this page return ``value``."""
        await self.page.evaluate("value => { Math.random = () => value }", value)

    async def is_off(self) -> bool:
        """Return whether the current body has the class htagoff."""
        return bool(await self.page.evaluate("document.body.classList.contains('htagoff')"))

    @property
    def card(self) -> Locator:
        """The notice; hidden while there is nothing to say."""
        return self.page.get_by_role("status").locator(".card")

    @property
    def notice(self) -> Locator:
        """The notice's text."""
        return self.card.locator(".text")


OpenPage = Callable[..., Awaitable[ClientPage]]
