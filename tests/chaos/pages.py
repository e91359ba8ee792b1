"""Pages that click at random, and do what the browser's client does when something is lost."""

from __future__ import annotations

import asyncio
import json
import random
import re
import secrets
from typing import Any

import httpx
import websockets

from tests.chaos.ledger import Broken, Ledger, Outcome

FIRST_RETRY_S, LONGEST_RETRY_S = 0.25, 10.0
CONNECT_LIMIT_S = 10.0
PONG_LIMIT_S = 10.0
END_RELOAD_S, STALE_RELOAD_S = (0.2, 1.5), (0.0, 0.3)
QUICK_RELOADS, FIRST_BRAKE_S, LONGEST_BRAKE_S, STEADY_S = 5, 5.0, 60.0, 30.0
LONGEST_QUEUE = 30
"""The client keeps 100; people stop clicking before."""
LOAD_LIMIT_S = 10.0
LOAD_RETRY_S = (0.5, 1.5)
GONE, BAD_HELLO, FORBIDDEN, TOO_MANY = 4404, 4400, 4403, 4429
MARK = re.compile(r"audit life=(\w+) seq=(\d+) total=(\d+) pid=(\d+) label=([\w:-]*);")
CLICK_S = (0.2, 1.0)


class Reload(Exception):
    """Raised when the page has to be loaded anew."""


class ChaosPage:
    """One tab of one user, from its first load on; ``run`` until ``leave``."""

    def __init__(self, ledger: Ledger, base: str, user: str, tab: str, seed: str) -> None:
        self.tab = tab
        self.user = user
        self.clicks = True
        """Whether somebody clicks."""
        self.reads = asyncio.Event()
        """Cleared: the browser takes nothing from its socket."""
        self.reads.set()
        self.loads = 0
        self.state = "loading"
        self._ledger = ledger
        self._clock = ledger.clock
        self._base = base
        self._rng = random.Random(seed)
        self._left = False
        self._page = ""
        self._config: dict[str, Any] = {}
        self._body = 0
        self._last = 0
        self._issued = 0
        self._texts: dict[int, str] = {}
        self._seq = 0
        self._life = ""
        self._total = 0
        self._failures = 0
        self._heard_at = 0.0
        self._quick_reloads = 0
        self._ready_at = 0.0
        self._reload_in: tuple[float, float] = (0.0, 0.0)
        self._socket: websockets.ClientConnection | None = None
        self._sent = 0
        """The last interaction that this line has carried."""
        self._sending = asyncio.Lock()

    @property
    def waiting(self) -> int:
        """How many interactions have no answer yet."""
        return len(self._texts)

    @property
    def total(self) -> int:
        """The highest count of its session that it was told."""
        return self._total

    def leave(self) -> None:
        """End ``run``."""
        self._left = True

    def log(self, event: str, **facts: Any) -> None:
        """Write to the run's log."""
        self._ledger.log(event, tab=self.tab, page=self._page[:6], **facts)

    async def run(self, http: httpx.AsyncClient) -> None:
        """Load, connect and click; load again when told so."""
        async with asyncio.TaskGroup() as tasks:
            clicking = tasks.create_task(self._keep_clicking())
            while not self._left:
                await self._load(http)
                try:
                    await self._stay_connected(http)
                except Reload as exc:
                    self.state = "ended"
                    self.log("reload", why=str(exc))
                    await self._clock.sleep(self._rng.uniform(*self._reload_in))
            clicking.cancel()

    # Loading

    async def _load(self, http: httpx.AsyncClient) -> None:
        self.state = "loading"
        while not self._left:
            wait_s = self._rng.uniform(*LOAD_RETRY_S)
            try:
                async with asyncio.timeout(LOAD_LIMIT_S):
                    response = await http.get(f"{self._base}/?user={self.user}")
            except (httpx.TransportError, TimeoutError) as exc:
                self.log("load failed", why=repr(exc))
            else:
                if response.status_code == 200:
                    return self._take_page(response.text)
                self.log("load refused", status=response.status_code, text=_title(response.text))
                self._ledger.note(f"page loads answered {response.status_code} ({_title(response.text)})")
                if "retry-after" in response.headers:
                    wait_s = float(response.headers["retry-after"])
                else:
                    self._need_person(f"{response.status_code} {_title(response.text)}")
            await self._clock.sleep(wait_s)

    def _take_page(self, html: str) -> None:
        found = re.search(r'id="htagweb-config" type="application/json">(.*?)</script>', html)
        body = re.search(r'<body[^>]* id="(\d+)"', html)
        mark = MARK.search(html)
        if not (found and body and mark):
            raise AssertionError(f"not the page that was expected: {html[:400]}")
        self._page = secrets.token_urlsafe(16)
        self._config = json.loads(found[1])
        self._body = int(body[1])
        self._last = self._config["last"]
        self._issued = 0
        self._texts.clear()
        self._life, self._seq = mark[1], int(mark[2])
        self._failures = 0
        self.loads += 1
        self.state = "loaded"
        self.log("loaded", generation=self._config["generation"], last=self._last, life=self._life)
        self._note_total(int(mark[3]), "the page as it was loaded")
        self._note_life(mark)

    def _need_person(self, why: str) -> None:
        self._ledger.accuse(Broken.PERSON, f"{self.tab}: {why}")

    # The connection

    async def _stay_connected(self, http: httpx.AsyncClient) -> None:
        while not self._left:
            try:
                await self._one_line(http)
            except (OSError, TimeoutError, websockets.InvalidHandshake, websockets.InvalidMessage) as exc:
                self.log("not connected", why=repr(exc)[:200])
            self.state = "retrying"
            step_s = min(LONGEST_RETRY_S, FIRST_RETRY_S * 2**self._failures)
            self._failures += 1
            await self._clock.sleep(self._rng.uniform(step_s / 2, step_s))

    async def _one_line(self, http: httpx.AsyncClient) -> None:
        query = f"page={self._page}&generation={self._config['generation']}&last={self._last}"
        cookie = "; ".join(f"{name}={value}" for name, value in http.cookies.items())
        self.state = "connecting"
        async with asyncio.timeout(CONNECT_LIMIT_S):
            socket = await websockets.connect(
                f"ws{self._base[4:]}{self._config['url']}?{query}",
                additional_headers={"Cookie": cookie},
                ping_interval=None,
                open_timeout=None,
                close_timeout=0.1,
                max_queue=4,
                compression=None,
            )
        self.state = "catching up"
        self._heard_at = self._clock.now()
        try:
            await self._follow(socket)
        finally:
            self._socket = None  # what is asked now waits for the next "ready"
            socket.transport.abort()

    async def _follow(self, socket: websockets.ClientConnection) -> None:
        """Take messages until the line breaks or is dead."""
        ping_s = float(self._config["ping_s"])
        pinged_at = 0.0
        self._ready_at = float("inf")
        while not self._left:
            await self.reads.wait()
            if self._clock.now() - self._ready_at > STEADY_S:
                self._quick_reloads = 0
            try:
                async with asyncio.timeout(1.0):
                    text = await socket.recv()
            except TimeoutError:
                now = self._clock.now()
                if pinged_at and now - pinged_at > PONG_LIMIT_S:
                    return self.log("dead line")
                if not pinged_at and now - self._heard_at > ping_s:
                    pinged_at = now
                    await socket.send(json.dumps({"htagweb": {"ping": 1}}))
                continue
            except websockets.ConnectionClosed as exc:
                return self._handle_closed(exc)
            self._heard_at, pinged_at = self._clock.now(), 0.0
            if await self._receive(str(text), socket) is False:
                return

    def _handle_closed(self, exc: websockets.ConnectionClosed) -> None:
        code = exc.rcvd.code if exc.rcvd is not None else 1006
        self.log("closed", code=code)
        if code == GONE:
            self._handle_stale(f"closed with {code}")
        if code == BAD_HELLO:
            self._handle_stale(f"closed with {code}")
        if code in (FORBIDDEN, TOO_MANY):
            self._need_person(f"its socket was closed with {code}")
            self._settle_all(Outcome.TOLD_END)
            self._reload_in = END_RELOAD_S
            raise Reload(f"a person, after {code}")

    # Actions

    async def _receive(self, text: str, socket: websockets.ClientConnection) -> bool:
        """Take a message; False when one before it is missing."""
        message = json.loads(text)
        control = message.pop("htagweb", {})
        number = control.get("n", 0)
        if number > self._last + 1:
            self.log("missed", number=number, last=self._last)
            self._ledger.note("gaps that a page noticed and closed")
            return False
        if number and number <= self._last:
            self._settle_answer(control, message)
            return True
        if number:
            self._last = number
            self._take_action(text, control)
        self._settle_answer(control, message)
        await self._handle_control(control, socket)
        return True

    def _take_action(self, text: str, control: dict[str, Any]) -> None:
        mark = MARK.search(text)
        if mark is None:
            if "end" not in control:
                self.log("no mark", text=text[:300])
            return
        life, seq, total, label = mark[1], int(mark[2]), int(mark[3]), mark[5]
        if life != self._life:
            generation = self._config["generation"]
            self._ledger.accuse(Broken.OWNERS, f"{self.tab}: {generation} was {self._life}, now {life}")
            self._life = life
        elif seq != self._seq + 1:
            where = f"action {control['n']} of {self._config['generation']}"
            self._ledger.accuse(Broken.ORDER, f"{self.tab}: {where} shows {seq} after {self._seq}")
        self._seq = seq
        self._note_total(total, f"action {control['n']}")
        self._note_life(mark)
        if (click := self._ledger.clicks.get(label)) is not None:
            click.life = life

    def _note_total(self, total: int, where: str) -> None:
        if total < self._total:
            self._ledger.accuse(Broken.SESSION, f"{self.tab}: {where} counts {total} after {self._total}")
        self._total = max(total, self._total)

    def _note_life(self, mark: re.Match[str]) -> None:
        self._ledger.note_life(self.user, self._config["generation"], mark[1], int(mark[4]))

    def _settle_answer(self, control: dict[str, Any], message: dict[str, Any]) -> None:
        if control.get("page") != self._page or "answers" not in control:
            return
        number = control["answers"]
        self._texts.pop(number, None)
        err = message.get("err")
        if err:
            self.log("refused", number=number, err=err)
            self._ledger.note(f"interactions refused: {err}")
        outcome = Outcome.REFUSED if err else Outcome.ANSWERED
        self._ledger.settle(f"{self._page}:{number}", outcome)

    async def _handle_control(self, control: dict[str, Any], socket: websockets.ClientConnection) -> None:
        if "end" in control:
            self._handle_end(control["end"])
        if control.get("reload"):
            self._handle_stale("told to reload")
        if control.get("ready"):
            self.state = "ready"
            self._failures = 0
            self._ready_at = self._clock.now()
            self._socket, self._sent = socket, 0
            self.log("ready", resends=list(self._texts))
            await self._send_all()

    # Endings

    def _handle_end(self, end: dict[str, Any]) -> None:
        self._ledger.note_end(self.tab, self._life, end["reason"])
        self._settle_all(Outcome.TOLD_END)
        self._reload_in = END_RELOAD_S
        if end["restart"] != "auto":
            # A crash may come again by the same click: that a person decides is the design.
            self._ledger.note("pages that offered to start a crashed app again")
            if end["reason"] != "crashed":
                self._need_person(f"ended: {end['reason']}")
        else:
            self._count_reload()
        raise Reload(end["reason"])

    def _handle_stale(self, why: str) -> None:
        self._settle_all(Outcome.TOLD_STALE)
        self._reload_in = STALE_RELOAD_S
        self._count_reload()
        raise Reload(why)

    def _count_reload(self) -> None:
        """Reload at once, and slower each time where that did not help several times in a row."""
        over = self._quick_reloads - QUICK_RELOADS
        self._quick_reloads += 1
        if over >= 0:
            step_s = min(LONGEST_BRAKE_S, FIRST_BRAKE_S * 2**over)
            self._reload_in = (step_s / 2, step_s)
            self._ledger.note("reloads put off because there were many")

    def _settle_all(self, outcome: Outcome) -> None:
        for number in self._texts:
            self._ledger.settle(f"{self._page}:{number}", outcome)
        self._texts.clear()

    # Clicks

    async def _keep_clicking(self) -> None:
        while True:
            await self._clock.sleep(self._rng.uniform(*CLICK_S))
            if self.clicks and self.state not in ("loading", "ended") and len(self._texts) < LONGEST_QUEUE:
                await self._click()

    async def _click(self) -> None:
        dice = self._rng.random()
        if dice < 0.04:
            await self.ask("chime", self._rng.randint(1, 5))
        elif dice < 0.3:
            await self.ask("work", round(self._rng.uniform(0.05, 2.0), 2))
        else:
            await self.ask("work", 0)

    async def ask(self, method: str, *args: float) -> None:
        """Interact, now or when the connection is back."""
        self._issued += 1
        label = f"{self._page}:{self._issued}"
        call = {"id": self._body, "method": method, "args": [label, *args], "kargs": {}, "event": {}}
        text = json.dumps({**call, "htagweb": {"n": self._issued}})
        self._texts[self._issued] = text
        self._ledger.ask(label, self.user, self.tab, self._config["generation"])
        await self._send_all()

    async def _send_all(self) -> None:
        """Send what this line has not carried yet, in order."""
        async with self._sending:
            while self._socket is not None and (more := [n for n in self._texts if n > self._sent]):
                self._sent = more[0]
                try:
                    await self._socket.send(self._texts[more[0]])
                except websockets.ConnectionClosed:
                    return self.log("not sent", number=more[0])


def _title(html: str) -> str:
    found = re.search(r"<title>(.*?)</title>", html)
    return found[1] if found else html[:60]


async def total_of(http: httpx.AsyncClient, base: str) -> int:
    """Return what a user's session holds."""
    response = await http.get(f"{base}/session")
    return int(response.json().get("total", 0))
