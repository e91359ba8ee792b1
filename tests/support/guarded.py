"""A broker as production runs it: with the users of ``broker/users.acl``, over TCP, with TLS if wanted."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.support.processes import ROOT, BrokerServer
from tests.support.servers import free_port

USERS = ("web", "supervisor", "operator", "replica", "sentinel")
CONF = ROOT / "broker" / "valkey.conf"
WRITE_ACL = ROOT / "broker" / "write-acl"


class GuardedServer(BrokerServer):
    """A real server with ``broker/valkey.conf`` and the ACL file that ``broker/write-acl`` writes."""

    def __init__(self, kind: str, directory: Path, *options: str, port: int | None = None) -> None:
        self.port = port or free_port()
        files = []
        for user in USERS:
            files.append(directory / f"{user}_redis_url")
            files[-1].write_text(self.url_of(user))
        acl = directory / "users.acl"
        # The test is the administrator: who is denied something shows in the server's own log of it.
        acl.write_text(
            subprocess.run([WRITE_ACL, *files], check=True, capture_output=True, text=True).stdout
            + "user admin on >admin ~* &* +@all\n"
        )
        common = ("--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(directory))
        super().__init__(kind, directory, *common, "--aclfile", str(acl), *options)
        # A copy: Sentinels have a server write down whom it follows.
        self._command.insert(1, shutil.copy(str(CONF), str(directory / CONF.name)))

    def url_of(self, user: str) -> str:
        """Return the address with a user's password."""
        return f"redis://{user}:{user}-password@127.0.0.1:{self.port}/0"

    def command(self, text: str) -> bytes:
        """Send a command as administrator."""
        return super().command(f"AUTH admin admin\r\n{text}").removeprefix(b"+OK\r\n")

    def client(self, user: str, password: str | None = None) -> redis.Redis:
        """Return a client of a user."""
        return redis.Redis(
            unix_socket_path=str(self.path),
            username=user,
            password=f"{user}-password" if password is None else password,
            decode_responses=True,
            retry=Retry(NoBackoff(), 0),
        )

    def keys_without_ttl(self) -> list[str]:
        """Return the keys that never expire."""
        with self.client("admin", "admin") as client:
            return [key for key in client.scan_iter(count=1000) if client.pttl(key) == -1]

    def denied(self) -> list[str]:
        """Return what was denied since the start: ``user: command or key``."""
        with self.client("admin", "admin") as client:
            entries: Sequence[dict[str, str]] = client.acl_log()
        return [f"{entry['username']}: {entry['reason']} {entry['object']}" for entry in entries]
