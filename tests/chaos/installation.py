"""A whole installation in network namespaces: every program on a host of its own, every wire ours."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import subprocess
from collections.abc import AsyncIterator, Iterable
from email.utils import parsedate_to_datetime
from pathlib import Path

import httpx
import psutil
from htagweb_broker.clock import SystemClock

from tests.chaos.brokers import BROKER_PORT, Brokers
from tests.chaos.links import Link, door
from tests.chaos.programs import WATCH_S, Program, wait_for_port
from tests.hosts.network import Host, Network, run
from tests.support.processes import APPS, python

WEB_PORT = 8000
MOST_FILES, FILES_PER_APP = 60, 5
"""More files and sockets than these are some that were not closed."""
STOP_S = 30.0
CLOCK_S, OFF_S = 20.0, 60.0
NOBODY = "02:00:00:00:00:99"
"""An address that no interface has: what is sent there is lost on the way."""
SITE = Path(__file__).parent / "clock"
FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)


class Installation:
    """One broker, web workers and supervisors; ``running`` makes one."""

    def __init__(self, directory: Path, web: int, supervisors: int, *, has_sentinels: bool = False) -> None:
        self.directory = directory
        self.audit = directory / "audit.jsonl"
        self.network = Network()
        self.clock = SystemClock()
        self.brokers = Brokers(self.network, directory, self.clock, has_sentinels=has_sentinels)
        self.base = ""
        self.links: dict[str, Link] = {}
        """Between each host and the broker."""
        self.web_links: list[Link] = []
        """Between browsers and web workers."""
        self.webs: list[Program] = []
        self.supervisors: list[Program] = []
        self.keeping: list[asyncio.Task[None]] = []
        self._counts = (web, supervisors)

    @property
    def programs(self) -> list[Program]:
        """All programs."""
        return [*self.brokers.servers, *self.brokers.sentinels, *self.clients]

    @property
    def clients(self) -> list[Program]:
        """The broker's clients: web workers and supervisors."""
        return [*self.webs, *self.supervisors]

    async def build(self, wires: contextlib.AsyncExitStack, tasks: asyncio.TaskGroup) -> None:
        """Start everything; ``tasks`` carry what passes the wires."""
        rng = random.Random(0)
        address = f"{self.network.prefix}.1"
        for role, count in zip(("web", "supervisor"), self._counts, strict=True):
            for number in range(1, count + 1):
                name = f"{role}{number}"
                host = self.network.add_host()
                url = self.brokers.url
                if not self.brokers.sentinels:
                    # Sentinels name the server's own address: a proxy between would be passed by.
                    self.links[name] = Link(name, (self.brokers.servers[0].host.address, BROKER_PORT))
                    way = await wires.enter_async_context(door(tasks, address, [self.links[name]], rng))
                    url = f"redis://{address}:{way.port}"
                env = self._environment(name, url)
                if role == "web":
                    self.webs.append(Program(name, host, self._web_command(), self.directory, env))
                    self.web_links.append(Link(f"{name} door", (host.address, WEB_PORT)))
                else:
                    command = self._supervisor_command(name)
                    self.supervisors.append(Program(name, host, command, self.directory, env))
        front = await wires.enter_async_context(door(tasks, "127.0.0.1", self.web_links, rng))
        self.base = f"http://127.0.0.1:{front.port}"
        await self.brokers.start()
        for program in self.clients:
            await asyncio.to_thread(program.start)
        for program in self.webs:
            await wait_for_port(self.clock, program.host.address, WEB_PORT)

    def _environment(self, name: str, url: str) -> dict[str, str]:
        env = {
            "HTAGWEB_REDIS_URL": url,
            "CHAOS_AUDIT": str(self.audit),
            "PYTHONUNBUFFERED": "1",
        }
        if FAKETIME is not None:
            offset = self.offset_file(name)
            offset.write_text("+0")
            env |= {
                "LD_PRELOAD": str(FAKETIME),
                "PYTHONPATH": os.pathsep.join([str(SITE), *filter(None, [os.environ.get("PYTHONPATH")])]),
                "FAKETIME_TIMESTAMP_FILE": str(offset),
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
                "FAKETIME_CACHE_DURATION": "1",
            }
        return env

    def offset_file(self, name: str) -> Path:
        """Return the file that says how wrong a host's clock is."""
        return self.directory / f"{name}.offset"

    def _web_command(self) -> list[str]:
        options = ["--app-dir", str(APPS), "--host", "0.0.0.0", "--port", str(WEB_PORT), "--no-access-log"]
        return python("-m", "uvicorn", *options, "--timeout-graceful-shutdown", "5", "chaos_for_tests:app")

    def _supervisor_command(self, name: str) -> list[str]:
        return python("-m", "htagweb.supervisor.cli", "--app-dir", str(APPS), "--name", name)

    # What a machine shows

    def templates_of(self, supervisor: Program) -> list[psutil.Process]:
        """Return a supervisor's templates: not its apps, nor the spare that waits to be one."""
        return [child for child in supervisor.children() if _name(child) == "htagweb-templ"]

    def apps_of(self, supervisor: Program) -> list[psutil.Process]:
        """Return a supervisor's app processes."""
        born = self._apps()
        return [child for child in supervisor.children() if child.pid in born]

    def _apps(self) -> set[int]:
        if not self.audit.exists():
            return set()
        marks = self.audit.read_text().splitlines()
        return {int(line.split('"pid": ')[1].split(",")[0]) for line in marks if '"born"' in line}

    async def strays(self) -> list[str]:
        """Return app processes that nobody owns, instances without a process, and files left open."""
        owned = await self.brokers.app_pids()
        apps = {each.pid for supervisor in self.supervisors for each in self.apps_of(supervisor)}
        found = [f"app process {pid} belongs to no instance" for pid in apps - owned]
        found += [f"an instance's process {pid} is not there" for pid in owned - apps]
        for program in self.clients:
            own = await asyncio.to_thread(psutil.Process(program.pid).num_fds)
            if own > MOST_FILES + FILES_PER_APP * len(apps):
                found.append(f"{program.name} has {own} files open")
            sockets = await asyncio.to_thread(_tcp_sockets, program.pid)
            found += [f"{program.name} has left a socket: {text}" for text in strange_sockets(sockets)]
        return found

    def home_of(self, pid: int) -> str:
        """Return the supervisor on whose host a process runs; "" when it is gone."""
        with contextlib.suppress(OSError):
            network = Path(f"/proc/{pid}/ns/net").stat().st_ino
            for program in self.supervisors:
                if Path("/run/netns", program.host.name).stat().st_ino == network:
                    return program.name
        return ""

    async def check_clock(self) -> None:
        """Set a web worker's clock an hour ahead, and right again; TimeoutError where that does nothing."""
        program = self.webs[0]
        async with asyncio.timeout(CLOCK_S), httpx.AsyncClient() as http:
            for offset_s in (3600, 0):
                self.offset_file(program.name).write_text(f"{offset_s:+d}")
                while abs(await self._skew_s(http, program) - offset_s) > OFF_S:
                    await self.clock.sleep(WATCH_S)

    async def _skew_s(self, http: httpx.AsyncClient, program: Program) -> float:
        """Return how far a web worker's clock is ahead: every answer of it says the time."""
        response = await http.get(f"http://{program.host.address}:{WEB_PORT}/session")
        told = parsedate_to_datetime(response.headers["date"]).timestamp()
        return told - self.clock.epoch_ms() / 1000

    # What can be cut

    def mute(self, host: Host, begin: bool) -> None:
        """Have nothing of what a host sends arrive, or everything again."""
        self._lose(["ip", "-n", host.name], f"{self.network.prefix}.1", "eth0", begin)

    def deafen(self, host: Host, begin: bool) -> None:
        """Have nothing arrive at a host, or everything again."""
        self._lose(["ip"], host.address, self.network.name, begin)

    def _lose(self, ip: list[str], address: str, device: str, begin: bool) -> None:
        change = ["replace", address, "lladdr", NOBODY, "nud", "permanent"] if begin else ["del", address]
        run(*ip, "neigh", *change, "dev", device)

    # The end

    def let_go(self) -> None:
        """Start nothing again, and cut every connection."""
        for task in self.keeping:
            task.cancel()
        for link in [*self.links.values(), *self.web_links]:
            link.reset()

    async def stop(self) -> list[str]:
        """Stop every program politely, the broker last; return what did not end, or was left."""
        for task in self.keeping:
            task.cancel()
        left = []
        for program in self.clients:
            program.send(signal.SIGTERM)
        for program in self.clients:
            if not await self._ended(program):
                left.append(f"{program.name} did not end within {STOP_S:g} s")
        for program in self.clients:
            pids = await asyncio.to_thread(program.host.pids)
            left += [f"{program.name}: process {pid} is left: {_command(pid)}" for pid in pids]
        return left

    async def _ended(self, program: Program) -> bool:
        assert program.popen is not None
        try:
            await asyncio.to_thread(program.popen.wait, STOP_S)
        except subprocess.TimeoutExpired:
            return False
        return True

    def close(self) -> None:
        """End and remove everything."""
        self.network.remove()
        for program in self.programs:
            if program.popen is not None:
                program.popen.wait(10)


def _tcp_sockets(pid: int) -> list[tuple[str, int]]:
    """Return the state and the port of a process's sockets."""
    sockets = psutil.Process(pid).net_connections("tcp")
    return [(each.status, each.laddr.port) for each in sockets if each.laddr]


def strange_sockets(sockets: Iterable[tuple[str, int]]) -> list[str]:
    """Return those that a program at rest must not have: the other side has closed it, or nobody knows it."""
    return [
        f"{state}, port {port}"
        for state, port in sockets
        if state == psutil.CONN_CLOSE_WAIT or (state == psutil.CONN_LISTEN and port != WEB_PORT)
    ]


def _command(pid: int) -> str:
    try:
        return " ".join(psutil.Process(pid).cmdline())
    except psutil.NoSuchProcess:
        return "gone meanwhile"


@contextlib.asynccontextmanager
async def running(
    directory: Path, web: int = 2, supervisors: int = 3, *, has_sentinels: bool = False
) -> AsyncIterator[Installation]:
    """Run an installation as long as the block lasts."""
    made = Installation(directory, web, supervisors, has_sentinels=has_sentinels)
    try:
        async with asyncio.TaskGroup() as tasks, contextlib.AsyncExitStack() as wires:
            await made.build(wires, tasks)
            made.keeping = [tasks.create_task(program.keep(made.clock)) for program in made.programs]
            try:
                yield made
            finally:
                made.let_go()
    finally:
        await asyncio.to_thread(made.close)


def _name(process: psutil.Process) -> str:
    """Return the process's name, "" when it is gone."""
    try:
        return str(process.name())
    except psutil.NoSuchProcess:
        return ""
