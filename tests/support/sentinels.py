"""Two real servers and three real Sentinels on loopback, with the face of a ``BrokerServer``."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import redis

from tests.support.guarded import GuardedServer
from tests.support.processes import BrokerServer, Process
from tests.support.requirements import server_binary
from tests.support.servers import free_port
from tests.support.waiting import until_sync

SERVICE = "htagweb"
DOWN_AFTER_MS = 1000
_SENTINEL = """\
bind 127.0.0.1
port {port}
dir {folder}
sentinel monitor {service} 127.0.0.1 {primary} 2
sentinel down-after-milliseconds {service} {down_after_ms}
sentinel failover-timeout {service} 3000
"""
_LOGIN = f"""\
sentinel auth-user {SERVICE} sentinel
sentinel auth-pass {SERVICE} sentinel-password
"""
_WHERE = ("GET-MASTER-ADDR-BY-NAME", SERVICE)
_OPTIONS = ["--repl-diskless-sync-delay", "0", "--appendonly", "yes", "--appendfsync", "everysec"]


def _open(kind: str, folder: Path, port: int) -> BrokerServer:
    return BrokerServer(kind, folder, "--bind", "127.0.0.1", "--port", str(port), *_OPTIONS)


def _guarded(kind: str, folder: Path, port: int) -> BrokerServer:
    login = ["--masteruser", "replica", "--masterauth", "replica-password"]
    return GuardedServer(kind, folder, *_OPTIONS, *login, port=port)


class SentinelServers:
    """A primary, its replica, and who watches them."""

    def __init__(self, kind: str, directory: Path, *, guarded: bool = False) -> None:
        """Nothing is started yet; guarded: with the users of ``broker/users.acl``."""
        self._kind = kind
        self._login = _LOGIN if guarded else ""
        self._directory = directory
        self._ports = [free_port(), free_port()]
        self._sentinel_ports = [free_port() for _ in range(3)]
        self.sentinels: list[Process] = []
        self.servers: list[BrokerServer] = []
        for port in self._ports:
            folder = directory / f"server{port}"
            folder.mkdir(parents=True)
            self.servers.append(_guarded(kind, folder, port) if guarded else _open(kind, folder, port))
        self.url = self.url_of("")

    def url_of(self, user: str) -> str:
        """Return the address, with a user's password."""
        hosts = ",".join(f"127.0.0.1:{port}" for port in self._sentinel_ports)
        login = f"{user}:{user}-password@" if user else ""
        return f"redis+sentinel://{login}{hosts}/{SERVICE}"

    @property
    def face(self) -> BrokerServer:
        """The same, for a ``Stack``."""
        return cast(BrokerServer, self)

    def start(self) -> None:
        """Start all; return when the replica follows, and the Sentinels know each other and it."""
        for server in self.servers:
            server.start()
        self.servers[1].command(f"REPLICAOF 127.0.0.1 {self._ports[0]}")
        until_sync(lambda: b"master_link_status:up" in self.servers[1].command("INFO replication"), "a copy")
        self.sentinels += map(self._start_sentinel, self._sentinel_ports)
        self.wait_until_safe()

    def _start_sentinel(self, port: int) -> Process:
        folder = self._directory / f"sentinel{port}"
        folder.mkdir()
        file = folder / "sentinel.conf"
        file.write_text(
            _SENTINEL.format(
                port=port,
                folder=folder,
                service=SERVICE,
                primary=self._ports[0],
                down_after_ms=DOWN_AFTER_MS,
            )
            + self._login
        )
        command = [server_binary(self._kind), str(file), "--sentinel", *self.sentinel_options(port)]
        return Process(f"sentinel{port}", command, self._directory / f"sentinel{port}.log")

    def sentinel_options(self, port: int) -> list[str]:
        """Return what a Sentinel is told besides its file."""
        return []

    def address_of(self, port: int) -> str:
        """Return where one of them is asked."""
        return f"redis://127.0.0.1:{port}"

    def wait_until_safe(self) -> None:
        """Wait until every Sentinel knows the others and a living replica."""

        def is_safe() -> bool:
            try:
                states = [self._ask(port, "MASTER", SERVICE) for port in self._sentinel_ports]
                copies = [self._ask(port, "REPLICAS", SERVICE) for port in self._sentinel_ports]
            except redis.RedisError:
                return False
            return all(state["num-other-sentinels"] == "2" for state in map(_fields, states)) and all(
                [_fields(copy)["flags"] for copy in each if _is_linked(copy)] == ["slave"] for each in copies
            )

        until_sync(is_safe, "the Sentinels know all", 30)

    def _ask(self, port: int, *command: str) -> Any:
        url = self.address_of(port)
        with redis.Redis.from_url(url, decode_responses=True, socket_timeout=2, protocol=2) as client:
            connection = client.connection_pool.get_connection()
            try:
                connection.send_command("SENTINEL", *command)
                return connection.read_response()
            finally:
                client.connection_pool.release(connection)

    @property
    def primary(self) -> BrokerServer:
        """The server that the Sentinels name."""
        return self.servers[self._ports.index(int(self._ask(self._living, *_WHERE)[1]))]

    @property
    def _living(self) -> int:
        alive = [p.popen.poll() is None for p in self.sentinels]
        return self._sentinel_ports[alive.index(True)]

    @property
    def process(self) -> Process | None:
        """The first server's process."""
        return self.servers[0].process

    def fail_over(self) -> None:
        """Have the Sentinels exchange primary and replica."""
        self._ask(self._living, "FAILOVER", SERVICE)

    def keys_without_ttl(self) -> list[str]:
        """Return the primary's keys that never expire."""
        return self.primary.keys_without_ttl()

    def kill(self) -> BrokerServer:
        """``kill -9`` the primary, and return it."""
        primary = self.primary
        primary.kill()
        return primary

    def stop(self) -> None:
        """End all."""
        for sentinel in self.sentinels:
            if sentinel.popen.poll() is None:
                sentinel.kill()
        for server in self.servers:
            server.stop()


def _fields(flat: list[str]) -> dict[str, str]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _is_linked(copy: list[str]) -> bool:
    return _fields(copy)["master-link-status"] == "ok"
