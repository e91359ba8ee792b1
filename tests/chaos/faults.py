"""The faults: how each begins and heals, and a schedule of them that a seed repeats."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol

import psutil

from tests.chaos.installation import Installation
from tests.chaos.ledger import Leads, Ledger
from tests.chaos.links import Link
from tests.chaos.pages import ChaosPage
from tests.chaos.programs import Program

Heal = Callable[[], Awaitable[None]]


class NothingToHit(Exception):
    """Raised where a fault would change nothing now: it does not count."""


@dataclass(frozen=True, slots=True)
class Site:
    """What a fault may lay hands on."""

    installation: Installation
    pages: list[ChaosPage]
    ledger: Ledger


async def nothing() -> None:
    """Heal what heals by itself: the program is started again."""


# Programs


async def program_of(site: Site, role: str, pick: float) -> Program:
    """Return one of a role's programs; the broker is the server that is master now."""
    installation = site.installation
    brokers = installation.brokers
    if role in ("broker", "replica"):
        master = await brokers.master()
        return next(each for each in brokers.servers if (each is master) == (role == "broker"))
    some = {
        "web": installation.webs,
        "supervisor": installation.supervisors,
        "sentinel": brokers.sentinels,
    }[role]
    return some[int(pick * len(some))]


def send(program: Program, number: signal.Signals) -> None:
    """Send a signal; NothingToHit where the program has ended, and is not started again yet."""
    if not program.send(number):
        raise NothingToHit(f"{program.name} does not live")


def kill(role: str) -> Begin:
    """``kill -9`` a program."""

    async def begin(site: Site, pick: float) -> tuple[str, Heal]:
        program = await program_of(site, role, pick)
        send(program, signal.SIGKILL)
        return program.name, nothing

    return begin


def kill_child(role: str) -> Begin:
    """``kill -9`` a supervisor's template, or one of its apps."""

    async def begin(site: Site, pick: float) -> tuple[str, Heal]:
        installation = site.installation
        find = installation.templates_of if role == "template" else installation.apps_of
        found = [(program, child) for program in installation.supervisors for child in find(program)]
        if not found:
            raise NothingToHit(f"there is no {role}")
        program, child = found[int(pick * len(found))]
        try:
            child.kill()
        except psutil.NoSuchProcess as exc:
            raise NothingToHit(f"{role} {child.pid} is gone") from exc
        site.ledger.killed.add(child.pid)
        return f"{role} {child.pid} of {program.name}", nothing

    return begin


def stop(role: str) -> Begin:
    """Freeze a program (SIGSTOP)."""

    async def begin(site: Site, pick: float) -> tuple[str, Heal]:
        program = await program_of(site, role, pick)
        pid = program.pid
        send(program, signal.SIGSTOP)

        async def heal() -> None:
            if program.lives and program.pid == pid:
                program.send(signal.SIGCONT)

        return program.name, heal

    return begin


def tell(role: str, number: signal.Signals) -> Begin:
    """Tell a program to end, or to start anew in its place."""

    async def begin(site: Site, pick: float) -> tuple[str, Heal]:
        program = await program_of(site, role, pick)
        send(program, number)
        return program.name, nothing

    return begin


# Hosts and wires


def cut(role: str) -> Begin:
    """Take a host off the network."""

    async def begin(site: Site, pick: float) -> tuple[str, Heal]:
        program = await program_of(site, role, pick)
        await asyncio.to_thread(program.host.unplug)

        async def heal() -> None:
            await asyncio.to_thread(program.host.plug)

        return program.name, heal

    return begin


def one_way(role: str, *, is_mute: bool) -> Begin:
    """Lose all that a host sends, or all that is sent to it; the broker's, or a client's of it."""

    async def begin(site: Site, pick: float) -> tuple[str, Heal]:
        installation = site.installation
        clients = installation.clients
        program = await program_of(site, role, pick) if role else clients[int(pick * len(clients))]
        lose = installation.mute if is_mute else installation.deafen
        await asyncio.to_thread(lose, program.host, True)

        async def heal() -> None:
            await asyncio.to_thread(lose, program.host, False)

        return program.name, heal

    return begin


def on_wire(change: Callable[[Link], None]) -> Begin:
    """Change how one wire carries: a host's to the broker, or browsers' to a web worker."""

    async def begin(site: Site, pick: float) -> tuple[str, Heal]:
        links = [*site.installation.links.values(), *site.installation.web_links]
        link = links[int(pick * len(links))]
        change(link)

        async def heal() -> None:
            link.heal()

        return link.name, heal

    return begin


def _delay(link: Link) -> None:
    link.delay_s = 0.2


def _trickle(link: Link) -> None:
    link.trickles = True


def _stall(link: Link) -> None:
    link.stalls = True


# Clocks and browsers


def step_clock(hours: int) -> Begin:
    """Set the clock of one host wrong."""

    async def begin(site: Site, pick: float) -> tuple[str, Heal]:
        programs = site.installation.clients
        program = programs[int(pick * len(programs))]
        offset = site.installation.offset_file(program.name)
        offset.write_text(f"{hours * 3600:+d}")

        async def heal() -> None:
            offset.write_text("+0")

        return program.name, heal

    return begin


async def stop_reading(site: Site, pick: float) -> tuple[str, Heal]:
    """Have one browser take nothing from its socket, while its app has much to say."""
    ready = [page for page in site.pages if page.state == "ready"]
    if not ready:
        raise NothingToHit("no page is connected")
    page = ready[int(pick * len(ready))]
    await page.ask("chime", 100, 20_000)
    page.reads.clear()

    async def heal() -> None:
        page.reads.set()

    return page.tab, heal


async def fail_over(site: Site, pick: float) -> tuple[str, Heal]:
    """Have a replica become master, as an operator does."""
    return f"broker: {await site.installation.brokers.fail_over(random.Random(pick))}", nothing


class Begin(Protocol):
    """Begins a fault at the place that a number in [0, 1) picks; returns where that is, and what heals it."""

    __qualname__: str

    async def __call__(self, site: Site, pick: float, /) -> tuple[str, Heal]:
        """Begin."""
        ...


HARMLESS = Leads()


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of fault, and how long it is on."""

    name: str
    begin: Begin
    least_s: float
    most_s: float
    is_long: bool = False
    """Too long for a short run, and rarer in a long one."""
    leads: Leads = HARMLESS
    brief_s: float = 0.0
    """How long it is on in a short run; 0: as long as it is at least."""

    def brief(self) -> Kind:
        """Return the same for a short run."""
        duration_s = self.brief_s or self.least_s
        return replace(self, least_s=duration_s, most_s=duration_s)


LOST = frozenset({"lost"})
KILLED = Leads(LOST, frozenset({"-9"}))
TOLD = Leads(LOST | {"drained"}, frozenset({"0", "-15"}))
RESTARTED = Leads(codes=frozenset({"-1"}))
SILENT = Leads(LOST, takes_broker=True)
"""Its heartbeat is not heard."""
AWAY = Leads(takes_broker=True)
"""No supervisor is heard, and none takes the others for dead afterwards."""
KINDS = [
    Kind("kill -9 of a web worker", kill("web"), 1, 1, leads=KILLED),
    Kind("kill -9 of a supervisor", kill("supervisor"), 1, 1, leads=KILLED),
    Kind("kill -9 of a template", kill_child("template"), 1, 1),
    Kind("kill -9 of an app process", kill_child("app"), 1, 1),
    Kind("kill -9 of the broker", kill("broker"), 1, 1, leads=replace(AWAY, codes=KILLED.codes)),
    Kind("web worker frozen", stop("web"), 8, 12, leads=SILENT, brief_s=3),
    Kind("supervisor frozen", stop("supervisor"), 8, 12, leads=SILENT, brief_s=6),
    Kind("broker frozen", stop("broker"), 8, 12, leads=AWAY, brief_s=3),
    Kind("web worker's host cut off for 3 s", cut("web"), 3, 3, leads=SILENT),
    Kind("supervisor's host cut off for 3 s", cut("supervisor"), 3, 3, leads=SILENT),
    Kind("broker's host cut off for 3 s", cut("broker"), 3, 3, leads=AWAY),
    Kind("web worker's host cut off for 60 s", cut("web"), 60, 60, is_long=True, leads=SILENT),
    Kind("supervisor's host cut off for 60 s", cut("supervisor"), 60, 60, is_long=True, leads=SILENT),
    Kind("broker's host cut off for 20 s", cut("broker"), 20, 20, is_long=True, leads=AWAY),
    Kind("broker's host cut off for 60 s", cut("broker"), 60, 60, is_long=True, leads=AWAY),
    Kind("web worker's or supervisor's host not heard", one_way("", is_mute=True), 4, 10, leads=SILENT),
    Kind("web worker's or supervisor's host hears nothing", one_way("", is_mute=False), 4, 10, leads=SILENT),
    Kind("broker's host not heard", one_way("broker", is_mute=True), 4, 10, leads=AWAY, brief_s=3),
    Kind("broker's host hears nothing", one_way("broker", is_mute=False), 4, 10, leads=AWAY, brief_s=3),
    Kind("200 ms of delay each way", on_wire(_delay), 5, 10, brief_s=2),
    Kind("a connection that trickles", on_wire(_trickle), 5, 10, leads=SILENT, brief_s=2),
    Kind("half-open connections", on_wire(_stall), 5, 12, leads=SILENT, brief_s=3),
    Kind("all connections of a host reset", on_wire(Link.reset), 1, 1, leads=AWAY),
    Kind("clock an hour ahead on one host", step_clock(1), 4, 8, brief_s=2),
    Kind("clock an hour behind on one host", step_clock(-1), 4, 8, brief_s=2),
    Kind("a browser that stops reading", stop_reading, 5, 10, brief_s=3),
    Kind("supervisor told to end (drain)", tell("supervisor", signal.SIGTERM), 2, 2, leads=TOLD),
    Kind("supervisor restarted in place (HUP)", tell("supervisor", signal.SIGHUP), 1, 1, leads=RESTARTED),
    Kind("web worker told to end", tell("web", signal.SIGTERM), 1, 1, leads=TOLD),
]
OF_REPLICATION = [
    *(kind for kind in KINDS if not kind.name.startswith("broker")),
    Kind("master frozen", stop("broker"), 8, 12, leads=AWAY),
    Kind("master's host cut off for 3 s", cut("broker"), 3, 3, leads=AWAY),
    Kind("master's host cut off for 20 s", cut("broker"), 20, 20, leads=AWAY),
    Kind("master's host not heard", one_way("broker", is_mute=True), 4, 10, leads=AWAY),
    Kind("master's host hears nothing", one_way("broker", is_mute=False), 4, 10, leads=AWAY),
    Kind("fail-over by an operator", fail_over, 3, 3, leads=AWAY),
    Kind("kill -9 of a replica", kill("replica"), 1, 1, leads=replace(AWAY, codes=KILLED.codes)),
    Kind("kill -9 of a Sentinel", kill("sentinel"), 1, 1, leads=KILLED),
]
# A replica that takes over has not all writes: claims and releases may be among what is lost.
WITH_SENTINELS = [
    replace(kind, leads=replace(kind.leads, ends=LOST | kind.leads.ends)) if kind.leads.takes_broker else kind
    for kind in OF_REPLICATION
]
"""Where the broker is a master, two replicas and three Sentinels."""
OVERLAP = 0.6
"""So often a fault begins while the one before is on, where that one came alone."""


@dataclass(frozen=True, slots=True)
class Planned:
    """One fault to come."""

    kind: Kind
    pick: float
    duration_s: float
    quiet_s: float
    """How long all is well before it."""
    is_second: bool
    """Whether it begins while the one before is on."""


def are_one(first: Kind, second: Kind) -> bool:
    """Return whether two faults may be the same one, so that to heal one would heal both."""
    means = [kind.begin.__qualname__.partition(".")[0] for kind in (first, second)]
    roles = [kind.name.split()[0] for kind in (first, second)]
    return means[0] == means[1] and (means[0] in ("on_wire", "step_clock") or roles[0] == roles[1] != "kill")


def schedule(rng: random.Random, kinds: list[Kind], overlap: float = OVERLAP) -> Iterator[Planned]:
    """Give faults without end: every kind once in each round, in any order, the long ones every third."""
    number = 0
    before: Planned | None = None
    while True:
        some = [kind for kind in kinds if not kind.is_long or number % 3 == 1]
        number += 1
        for kind in rng.sample(some, len(some)):
            wanted = rng.random() < overlap
            can_be = before is not None and not before.is_second and not are_one(before.kind, kind)
            duration_s = rng.uniform(kind.least_s, kind.most_s)
            before = Planned(kind, rng.random(), duration_s, rng.uniform(0.5, 2.0), wanted and can_be)
            yield before
