"""One run: an installation, pages that click, faults, and what came of it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.chaos.browsers import BrowserTab, chromium_running
from tests.chaos.causes import check_endings, check_ends
from tests.chaos.faults import KINDS, OVERLAP, Kind, NothingToHit, Planned, Site, schedule
from tests.chaos.installation import Installation, running
from tests.chaos.ledger import Broken, FaultTimes, Ledger, check, read_audit
from tests.chaos.pages import ChaosPage, total_of

WARM_UP_S = 30.0
RECOVER_S = 90.0
EMPTY_S = 90.0
SETTLED_S = 15.0
POLL_S = 0.05
TOLD_CODES = {0, -15, None}
"""How programs end that are told to; who has not ended is accused of that."""
TWO_TABS_EVERY = 4


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run does."""

    seed: int
    faults: int
    """At least so many, ..."""
    minutes: float = 0.0
    """... and at least so long."""
    users: int = 10
    browsers: int = 0
    """Users with a real browser, besides."""
    kinds: tuple[Kind, ...] = tuple(KINDS)
    has_sentinels: bool = False
    overlap: float = OVERLAP
    """So often a second fault begins while a first is on."""
    quiet: float = 1.0
    """How much of the time between faults is waited."""


class Run:
    """A run in progress."""

    def __init__(self, plan: Plan, installation: Installation, ledger: Ledger) -> None:
        self.plan = plan
        self._installation = installation
        self._ledger = ledger
        self._clock = ledger.clock
        self._pages: list[ChaosPage | BrowserTab] = []
        self._browsers: dict[str, httpx.AsyncClient] = {}
        ledger.find_home = installation.home_of

    @property
    def _site(self) -> Site:
        pages = [page for page in self._pages if isinstance(page, ChaosPage)]
        return Site(self._installation, pages, self._ledger)

    async def go(self) -> None:
        """Do all of it."""
        async with AsyncExitStack() as stack, asyncio.TaskGroup() as tasks:
            for number in range(self.plan.users):
                http = await stack.enter_async_context(httpx.AsyncClient(timeout=60))
                self._open_user(tasks, f"u{number}", http, 1 + (number % TWO_TABS_EVERY == 0))
            if self.plan.browsers:
                await self._open_browsers(stack, tasks)
            try:
                if any(kind.name.startswith("clock") for kind in self.plan.kinds):
                    await self._installation.check_clock()
                await self._all_answered(self._clock.now(), WARM_UP_S, "at the start")
                print(f"{len(self._pages)} pages click", flush=True)
                await self._have_faults()
                await self._come_to_rest()
            finally:
                for page in self._pages:
                    page.reads.set()
                    page.leave()
        await self._check()

    def _open_user(self, tasks: asyncio.TaskGroup, user: str, http: httpx.AsyncClient, tabs: int) -> None:
        self._browsers[user] = http
        made = [
            ChaosPage(
                self._ledger,
                self._installation.base,
                user,
                f"{user}{letter}",
                f"{self.plan.seed}{user}{letter}",
            )
            for letter in "ab"[:tabs]
        ]
        self._pages += made

        async def run() -> None:
            async with asyncio.TaskGroup() as opened:
                for page in made:
                    opened.create_task(page.run(http))
                    # The second tab has the first one's cookie.
                    while not page.loads:
                        await self._clock.sleep(POLL_S)

        tasks.create_task(run())

    async def _open_browsers(self, stack: AsyncExitStack, tasks: asyncio.TaskGroup) -> None:
        browser = await stack.enter_async_context(chromium_running())
        for number in range(self.plan.browsers):
            page, user = await browser.new_page(), f"b{number}"
            tab = BrowserTab(self._ledger, page, self._installation.base, user, f"{self.plan.seed}{user}")
            self._pages.append(tab)
            tasks.create_task(tab.run())

    # Faults

    async def _have_faults(self) -> None:
        began, faults = self._clock.now(), self._ledger.faults
        upcoming = schedule(random.Random(self.plan.seed), list(self.plan.kinds), self.plan.overlap)
        for pair in in_pairs(upcoming):
            if len(faults) >= self.plan.faults and self._clock.now() - began >= self.plan.minutes * 60:
                return
            await self._clock.sleep(pair[0].quiet_s * self.plan.quiet)
            first, before = self._clock.now(), len(faults)
            async with asyncio.TaskGroup() as tasks:
                for delay_s, planned in zip((0.0, pair[-1].pick * pair[0].duration_s), pair, strict=False):
                    tasks.create_task(self._have_fault(planned, delay_s))
            healed = self._clock.now()
            await self._all_answered(healed, RECOVER_S, " and ".join(p.kind.name for p in pair))
            names = " + ".join(f"{f.kind} ({f.what})" for f in faults[before:]) or "nothing"
            took_s, broken = self._clock.now() - first, sum(map(len, self._ledger.broken.values()))
            passed_s = self._clock.now() - began
            print(f"{len(faults):4d} {passed_s:6.0f} s  {names}: {took_s:.1f} s, broken {broken}", flush=True)

    async def _have_fault(self, planned: Planned, delay_s: float) -> None:
        await self._clock.sleep(delay_s)
        fault = FaultTimes(planned.kind.name, "", self._clock.now(), planned.kind.leads)
        try:
            fault.what, heal = await planned.kind.begin(self._site, planned.pick)
        except NothingToHit as exc:
            self._ledger.note(f"faults that had nothing to hit: {planned.kind.name}")
            return self._ledger.log("no fault", kind=planned.kind.name, why=str(exc))
        fault.hit_at = self._clock.now()
        self._ledger.faults.append(fault)
        self._ledger.log("fault", kind=planned.kind.name, what=fault.what, duration_s=planned.duration_s)
        try:
            await self._clock.sleep(planned.duration_s)
        finally:
            await heal()
            fault.healed_at = self._clock.now()
            self._ledger.log("healed", kind=planned.kind.name, what=fault.what)

    async def _all_answered(self, since: float, limit_s: float, after: str) -> None:
        """Wait until every page has an answer to something that it asked since a moment."""
        give_up_at = self._clock.now() + limit_s
        missing = {page.tab: page for page in self._pages}
        while missing:
            for tab in [tab for tab in missing if self._ledger.answered_since(tab, since)]:
                del missing[tab]
            if missing and self._clock.now() > give_up_at:
                for page in missing.values():
                    text = f"{page.tab} is {page.state}, {page.waiting} wait, {limit_s:g} s after {after}"
                    self._ledger.accuse(Broken.STUCK, text)
                return
            await self._clock.sleep(POLL_S)

    # The end

    async def _come_to_rest(self) -> None:
        """Nobody clicks any more, and everything that was asked is settled."""
        for page in self._pages:
            page.clicks = False
        give_up_at = self._clock.now() + EMPTY_S
        while any(page.waiting for page in self._pages) and self._clock.now() < give_up_at:
            await self._clock.sleep(POLL_S)
        self._ledger.log("at rest", waiting=len(self._ledger.waiting()))
        totals = {
            user: await total_of(http, self._installation.base) for user, http in self._browsers.items()
        }
        for page in self._pages:
            if page.user in totals and totals[page.user] < page.total:
                text = f"{page.tab} was told {page.total}, the session holds {totals[page.user]}"
                self._ledger.accuse(Broken.SESSION, text)

    async def _check(self) -> None:
        installation = self._installation
        give_up_at = self._clock.now() + SETTLED_S
        while (strays := await installation.strays()) and self._clock.now() < give_up_at:
            await self._clock.sleep(POLL_S)
        for text in strays:
            self._ledger.accuse(Broken.LEFT, text)
        for key in await installation.brokers.keys_without_ttl():
            self._ledger.accuse(Broken.LEFT, f"the key {key} never expires")
        for left in await installation.stop():
            self._ledger.accuse(Broken.LEFT, left)
        for program in installation.programs:
            check_endings(self._ledger, program.name, program.endings)
        for program in installation.clients:
            code = program.popen.returncode if program.popen is not None else None
            if code not in TOLD_CODES:
                self._ledger.accuse(Broken.DIED, f"{program.name}, told to end, ended with {code}")
        check_ends(self._ledger)
        check(self._ledger, read_audit(installation.audit))


def in_pairs(upcoming: Iterator[Planned]) -> Iterator[list[Planned]]:
    """Give faults that come alone, and pairs."""
    first = next(upcoming)
    for planned in upcoming:
        if planned.is_second:
            yield [first, planned]
            first = next(upcoming)
        else:
            yield [first]
            first = planned


async def run_chaos(plan: Plan, directory: Path) -> Ledger:
    """Do a run whose logs go to a directory; return its account."""
    ledger = Ledger(directory / "run.jsonl")
    try:
        async with running(directory, has_sentinels=plan.has_sentinels) as installation:
            await Run(plan, installation, ledger).go()
    finally:
        ledger.close()
    return ledger
