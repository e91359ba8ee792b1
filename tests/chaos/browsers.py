"""Real browsers among the pages: Chromium, with the real client, that is never helped."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from playwright.async_api import Browser, Error, Page, async_playwright

from tests.browser.conftest import CHROMIUM_ARGS
from tests.chaos.ledger import Broken, Ledger, Outcome
from tests.chaos.pages import MARK
from tests.support.requirements import chromium

LOOK_S = 0.1
CLICK_S = (0.3, 1.0)
LONGEST_QUEUE = 30
PATIENCE_MS = 5_000

LOOK = """() => {
  if (!window.htagweb) return { page: "", title: document.title };
  if (!window.refusals && window.action) {
    const act = window.action;
    window.refusals = [];
    window.action = (message) => {
      if (message.err) window.refusals.push(message.htagweb?.answers);
      return act(message);
    };
  }
  const { state, unanswered } = htagweb.inspect();
  const roots = [...document.documentElement.children].map((each) => each.shadowRoot).filter(Boolean);
  const card = roots.map((root) => root.querySelector(".card.shown")).find(Boolean);
  const told = card?.querySelector(".text")?.textContent ?? "";
  const config = JSON.parse(document.getElementById("htagweb-config").textContent);
  return { page: htagweb.page, state, unanswered, told, refusals: window.refusals ?? [],
    generation: config.generation, mark: document.querySelector("pre.audit")?.textContent ?? "" };
}"""
ASK = """([method, args]) => {
  window.asked = (window.asked ?? 0) + 1;
  const label = `${htagweb.page}:${window.asked}`;
  interact({ id: +document.body.id, method, args: [label, ...args], kargs: {}, event: {} });
  return label;
}"""
START_AGAIN = """() => {
  const roots = [...document.documentElement.children].map((each) => each.shadowRoot).filter(Boolean);
  for (const root of roots) {
    const button = root.querySelector(".card.shown button:not([hidden])");
    if (button?.textContent === "Start again") button.click();
  }
}"""


class BrowserTab:
    """One tab of a real browser; it has the face of a ``ChaosPage``."""

    def __init__(self, ledger: Ledger, page: Page, base: str, user: str, seed: str) -> None:
        self.user = user
        self.tab = f"{user} (Chromium)"
        self.clicks = True
        self.reads = asyncio.Event()
        self.state = "loading"
        self.loads = 0
        self.total = 0
        self._page = page
        self._address = f"{base}/?user={user}"
        self._ledger = ledger
        self._clock = ledger.clock
        self._rng = random.Random(seed)
        self._left = False
        self._token = ""
        self._unanswered: list[str] = []

    @property
    def waiting(self) -> int:
        """How many interactions have no answer yet."""
        return len(self._unanswered)

    def leave(self) -> None:
        """End ``run``."""
        self._left = True

    async def run(self) -> None:
        """Open the page, click, and look at it."""
        self._page.set_default_timeout(PATIENCE_MS)
        await self._page.goto(self._address)
        click_at = 0.0
        while not self._left:
            await self._clock.sleep(LOOK_S)
            try:
                await self._look()
                ready_to_click = self.clicks and self.state not in ("loading", "ended")
                if ready_to_click and self.waiting < LONGEST_QUEUE and self._clock.now() >= click_at:
                    await self.ask("work", round(self._rng.uniform(0, 0.5), 2))
                    click_at = self._clock.now() + self._rng.uniform(*CLICK_S)
            except Error as exc:
                self._ledger.log("browser", tab=self.tab, why=str(exc)[:200])
            if self._page.url.startswith("chrome-error:"):
                self._ledger.accuse(Broken.PERSON, f"{self.tab}: shows the browser's own error page")
                await self._open_again()

    async def _open_again(self) -> None:
        try:
            await self._page.goto(self._address)
        except Error as exc:
            self._ledger.log("browser", tab=self.tab, why=str(exc)[:200])

    async def ask(self, method: str, *args: float) -> None:
        """Interact."""
        label = await self._page.evaluate(ASK, [method, list(args)])
        self._unanswered.append(label)
        self._ledger.ask(label, self.user, self.tab, "")

    async def _look(self) -> None:
        seen: dict[str, Any] = await self._page.evaluate(LOOK)
        self.state = seen.get("state", "loading")
        if seen["page"] != self._token:
            self._take_page(seen)
        if not self._token:
            return
        unanswered = {f"{self._token}:{number}" for number in seen["unanswered"]}
        if self.state == "ended":
            self._settle(Outcome.TOLD_END)
            if re.search("stopped unexpectedly", seen["told"]):
                self._ledger.note("pages that offered to start a crashed app again")
                await self._page.evaluate(START_AGAIN)
            return
        for label in [label for label in self._unanswered if label not in unanswered]:
            self._unanswered.remove(label)
            is_refused = int(label.rpartition(":")[2]) in seen["refusals"]
            self._ledger.settle(label, Outcome.REFUSED if is_refused else Outcome.ANSWERED)
        if (mark := MARK.search(seen["mark"])) is not None:
            self._take_mark(mark, seen["generation"])

    def _take_page(self, seen: dict[str, Any]) -> None:
        self._settle(Outcome.TOLD_STALE)
        self._token = seen["page"]
        self.loads += 1
        told = seen.get("told", "")
        self._ledger.log(
            "browser loaded", tab=self.tab, page=self._token[:6], told=told, title=seen.get("title")
        )

    def _take_mark(self, mark: re.Match[str], generation: str) -> None:
        total = int(mark[3])
        if total < self.total:
            self._ledger.accuse(Broken.SESSION, f"{self.tab}: counts {total} after {self.total}")
        self.total = max(total, self.total)
        self._ledger.lives.setdefault((self.user, generation), set()).add(mark[1])

    def _settle(self, outcome: Outcome) -> None:
        for label in self._unanswered:
            self._ledger.settle(label, outcome)
        self._unanswered.clear()


@asynccontextmanager
async def chromium_running() -> AsyncIterator[Browser]:
    """Run one Chromium."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium(), args=CHROMIUM_ARGS)
        try:
            yield browser
        finally:
            await browser.close()
