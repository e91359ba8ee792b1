"""The broker of a run: one server, or a master, two replicas and three Sentinels."""

from __future__ import annotations

import asyncio
import random
import shutil
from pathlib import Path

import redis.asyncio
from htagweb_broker.clock import SystemClock

from tests.chaos.programs import START_S, WATCH_S, Program, wait_for_port
from tests.hosts.network import Host, Network
from tests.support.processes import ROOT
from tests.support.requirements import server_binary

BROKER_PORT, SENTINEL_PORT = 6379, 26379
SERVICE = "htagweb"
SERVERS, SENTINELS = 3, 3
MASTER_CONF = ["repl-diskless-sync-delay 0", "min-replicas-to-write 1", "min-replicas-max-lag 10"]
"""As docs/deploy.md says; to wait for other replicas before one gets its copy would only take time."""
PERMANENT_KEYS = {"htagweb:secret", "htagweb:spawn"}
SENTINEL_CONF = """\
port {port}
dir {directory}
protected-mode no
sentinel monitor {service} {master} {master_port} 2
sentinel down-after-milliseconds {service} 3000
sentinel failover-timeout {service} 10000
sentinel parallel-syncs {service} 1
"""


class Brokers:
    """Servers with their data on disk, and who watches them."""

    def __init__(
        self, network: Network, directory: Path, clock: SystemClock, *, has_sentinels: bool = False
    ) -> None:
        """Nothing is started yet."""
        self._directory = directory
        self._clock = clock
        hosts = [network.add_host() for _ in range(SERVERS if has_sentinels else 1)]
        self._first = hosts[0].address
        self.servers = [self._server(host, number, has_sentinels) for number, host in enumerate(hosts, 1)]
        watchers = [network.add_host() for _ in range(SENTINELS if has_sentinels else 0)]
        self.sentinels = [self._sentinel(host, number) for number, host in enumerate(watchers, 1)]
        places = ",".join(f"{host.address}:{SENTINEL_PORT}" for host in watchers)
        self.url = (
            f"redis+sentinel://{places}/{SERVICE}" if watchers else f"redis://{self._first}:{BROKER_PORT}"
        )

    def _server(self, host: Host, number: int, has_sentinels: bool) -> Program:
        folder = self._directory / f"broker{number}"
        folder.mkdir()
        # A copy: a Sentinel has its server write into its own file whom it follows.
        file = Path(shutil.copy(ROOT / "broker" / "valkey.conf", folder))
        more = [f"dir {folder}", "protected-mode no", f"port {BROKER_PORT}", "bind * -::*"]
        more += [f"replicaof {self._first} {BROKER_PORT}"] if number > 1 else []
        more += MASTER_CONF if has_sentinels else []
        file.write_text(file.read_text() + "".join(f"{line}\n" for line in more))
        command = [server_binary("valkey"), str(file)]
        return Program(f"broker{number}", host, command, self._directory, {})

    def _sentinel(self, host: Host, number: int) -> Program:
        folder = self._directory / f"sentinel{number}"
        folder.mkdir()
        file = folder / "sentinel.conf"
        file.write_text(
            SENTINEL_CONF.format(
                port=SENTINEL_PORT,
                directory=folder,
                service=SERVICE,
                master=self._first,
                master_port=BROKER_PORT,
            )
        )
        command = [server_binary("valkey"), str(file), "--sentinel"]
        return Program(f"sentinel{number}", host, command, self._directory, {})

    async def start(self) -> None:
        """Start them; return when the Sentinels know each other and all replicas."""
        for program in self.servers:
            await asyncio.to_thread(program.start)
            await wait_for_port(self._clock, program.host.address, BROKER_PORT)
        for program in self.sentinels:
            await asyncio.to_thread(program.start)
            await wait_for_port(self._clock, program.host.address, SENTINEL_PORT)
        async with asyncio.timeout(START_S):
            while not await self._are_ready():
                await self._clock.sleep(WATCH_S)

    async def _are_ready(self) -> bool:
        for program in self.sentinels:
            async with self._client(program.host, SENTINEL_PORT) as client:
                state = await client.info("sentinel")
            known = state["master0"]
            if (known["slaves"], known["sentinels"]) != (SERVERS - 1, SENTINELS):
                return False
        return True

    @staticmethod
    def _client(host: Host, port: int = BROKER_PORT) -> redis.asyncio.Redis:
        return redis.asyncio.Redis(host=host.address, port=port, decode_responses=True, socket_timeout=2)

    async def master(self) -> Program:
        """Return the server that takes writes; any one when none says so."""
        for program in self.servers:
            try:
                async with self._client(program.host) as client:
                    if (await client.info("replication"))["role"] == "master":
                        return program
            except (redis.RedisError, OSError):
                continue
        return self.servers[0]

    async def fail_over(self, rng: random.Random) -> str:
        """Have the Sentinels make a replica master, as an operator does; return what they said."""
        async with self._client(rng.choice(self.sentinels).host, SENTINEL_PORT) as client:
            try:
                return str(await client.sentinel_failover(SERVICE))
            except redis.RedisError as exc:
                return str(exc)

    async def app_pids(self) -> set[int]:
        """Return the app processes that somebody owns."""
        async with self._client((await self.master()).host) as client:
            records = [key async for key in client.scan_iter("htagweb:*:instance:*", count=1000)]
            found = [await client.hmget(key, ["owner", "pid"]) for key in records]
        return {int(pid) for owner, pid in found if owner and pid}

    async def keys_without_ttl(self) -> set[str]:
        """Return the keys that never expire, and should."""
        async with self._client((await self.master()).host) as client:
            kept = {key async for key in client.scan_iter(count=1000) if await client.pttl(key) == -1}
        return kept - PERMANENT_KEYS
