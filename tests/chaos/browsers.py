"""Real browsers among the pages: Chromium, with the real client, that is never helped."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from playwright.async_api import Browser, Error, Page, async_playwright

from htagweb.web.pages import END_TEXTS
from tests.browser.conftest import CHROMIUM_ARGS
from tests.chaos.ledger import Broken, Ledger, Outcome
from tests.chaos.pages import MARK
from tests.support.requirements import chromium

LOOK_S = 0.1
CLICK_S = (0.3, 1.0)
LONGEST_QUEUE = 30
PATIENCE_MS = 5_000

UNANSWERED = "may not have been carried out"
CRASHED = "stopped unexpectedly"
MOST_ANSWERS = 200

# Before the client's own listener: it sees every action that the page applies, and what that shows.
WATCH = """() => document.addEventListener("DOMContentLoaded", () => {
  const act = window.action;
  if (!act || !window.htagweb) return;
  const shown = () => document.querySelector("pre.audit")?.textContent ?? "";
  const mark = (text) => /audit life=.*?;/.exec(text)?.[0] ?? "";
  const keep = (label, isRefused) => {
    const before = JSON.parse(sessionStorage.getItem("chaos.answers") ?? "[]");
    const kept = [...before, [label, isRefused]].slice(-%d);
    sessionStorage.setItem("chaos.answers", JSON.stringify(kept));
  };
  window.marks = [[mark(shown()), mark(shown())]];
  window.action = (message) => {
    const { answers, page } = message.htagweb ?? {};
    if (answers && page === htagweb.page) keep(`${page}:${answers}`, Boolean(message.err));
    const done = act(message);
    const said = mark(JSON.stringify(message));
    if (said) window.marks.push([said, mark(shown())]);
    return done;
  };
})"""
LOOK = """([page, count]) => {
  if (!window.htagweb) return { page: "", title: document.title };
  const { state, unanswered } = htagweb.inspect();
  const roots = [...document.documentElement.children].map((each) => each.shadowRoot).filter(Boolean);
  const card = roots.map((root) => root.querySelector(".card.shown")).find(Boolean);
  const told = card?.querySelector(".text")?.textContent ?? "";
  const config = JSON.parse(document.getElementById("htagweb-config").textContent);
  const marks = (window.marks ?? []).slice(page === htagweb.page ? count : 0);
  const answers = JSON.parse(sessionStorage.getItem("chaos.answers") ?? "[]");
  return { page: htagweb.page, state, unanswered, told, answers, generation: config.generation, marks };
}"""
ASK = """([method, args]) => {
  if (htagweb.inspect().state === "ended") return null;
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
        self._mark: tuple[str, int] | None = None
        """The life and the number of the last action that was applied."""
        self._marks = 0
        self._has_ended = False
        self._unanswered: list[str] = []
        self._owed: dict[str, Outcome] = {}
        """What ended without an answer, and what it is when the person was told: that notice has to come."""

    @property
    def waiting(self) -> int:
        """How many interactions have no answer yet, or ended without, and nobody was told."""
        return len(self._unanswered) + len(self._owed)

    def leave(self) -> None:
        """End ``run``."""
        self._left = True

    async def run(self) -> None:
        """Open the page, click, and look at it."""
        self._page.set_default_timeout(PATIENCE_MS)
        await self._page.add_init_script(f"({WATCH % MOST_ANSWERS})()")
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
        label: str | None = await self._page.evaluate(ASK, [method, list(args)])
        if label is not None:
            self._unanswered.append(label)
            self._ledger.ask(label, self.user, self.tab, "")

    async def _look(self) -> None:
        seen: dict[str, Any] = await self._page.evaluate(LOOK, [self._token, self._marks])
        self.see(seen)
        if self.state == "ended" and CRASHED in seen["told"]:
            await self._page.evaluate(START_AGAIN)

    def see(self, seen: dict[str, Any]) -> None:
        """Take what a look at the page found."""
        self.state = seen.get("state", "loading")
        if seen["page"] != self._token:
            self._take_page(seen)
        if not self._token:
            return
        self._settle_answers(seen["answers"])
        self._take_marks(seen["marks"], seen["generation"])
        unanswered = {f"{self._token}:{number}" for number in seen["unanswered"]}
        if self.state == "ended":
            self._owe(Outcome.TOLD_END)
            self._handle_end(seen["told"])
        for label in [label for label in self._unanswered if label not in unanswered]:
            # An answer that changes nothing is not applied.
            self._unanswered.remove(label)
            self._ledger.settle(label, Outcome.ANSWERED)
        if UNANSWERED in seen["told"]:
            for label, outcome in self._owed.items():
                self._ledger.settle(label, outcome)
            self._owed.clear()

    def _settle_answers(self, answers: list[tuple[str, bool]]) -> None:
        for label, is_refused in answers:
            if label in self._unanswered or label in self._owed:
                self._unanswered = [each for each in self._unanswered if each != label]
                self._owed.pop(label, None)
                self._ledger.settle(label, Outcome.REFUSED if is_refused else Outcome.ANSWERED)

    def _handle_end(self, told: str) -> None:
        reason = next((reason for reason, text in END_TEXTS.items() if text in told), "")
        if reason and not self._has_ended:
            self._has_ended = True
            self._ledger.note_end(self.tab, self._mark[0] if self._mark else "", reason)
            if CRASHED in told:
                self._ledger.note("pages that offered to start a crashed app again")

    def _take_page(self, seen: dict[str, Any]) -> None:
        if "answers" in seen:
            self._settle_answers(seen["answers"])
        self._owe(Outcome.TOLD_STALE)
        facts = {"before": self._marks, "told": seen.get("told", ""), "title": seen.get("title")}
        self._token = seen["page"]
        self._mark, self._marks, self._has_ended = None, 0, False
        self.loads += 1
        self._ledger.log("browser loaded", tab=self.tab, page=self._token[:6], **facts)

    def _take_marks(self, marks: list[tuple[str, str]], generation: str) -> None:
        """Take the mark of each action that was applied, and what the page showed then; first, as it came."""
        for said, shown in marks:
            self._marks += 1
            if (mark := MARK.search(said)) is not None:
                if said != shown:
                    self._ledger.accuse(Broken.ORDER, f"{self.tab}: {said} was applied, and {shown} is shown")
                self._take_mark(mark, generation)

    def _take_mark(self, mark: re.Match[str], generation: str) -> None:
        life, seq, total = mark[1], int(mark[2]), int(mark[3])
        if self._mark is not None and (life, seq) != (self._mark[0], self._mark[1] + 1):
            text = f"{self.tab}: shows {seq} of {life} after {self._mark[1]} of {self._mark[0]}"
            self._ledger.accuse(Broken.ORDER, text)
        self._mark = (life, seq)
        if total < self.total:
            self._ledger.accuse(Broken.SESSION, f"{self.tab}: counts {total} after {self.total}")
        self.total = max(total, self.total)
        self._ledger.note_life(self.user, generation, life, int(mark[4]))

    def _owe(self, outcome: Outcome) -> None:
        """What has no answer will have none: the person has to be told, here or by the page's next load."""
        self._owed |= dict.fromkeys(self._unanswered, outcome)
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
