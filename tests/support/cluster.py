"""A cluster of real servers, and a client that sends each command to the node that has its keys."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from htagweb_broker.broker import WebBroker
from htagweb_broker.connection import COMMAND_TIMEOUT_S, Argument, Client, Endpoint
from htagweb_broker.errors import BrokerRefused
from redis.crc import key_slot

from tests.support.brokers import Bench
from tests.support.processes import BrokerServer
from tests.support.servers import free_port
from tests.support.waiting import until_sync

SLOTS = 16384
NODES = 3


class Cluster:
    """Three masters that share the slots; it has the face of a ``BrokerServer``, where tests need it."""

    def __init__(self, directory: Path, kind: str = "valkey") -> None:
        """Nothing is started yet."""
        self._ports = [(free_port(), free_port()) for _ in range(NODES)]
        self.urls = [f"redis://127.0.0.1:{port}" for port, _ in self._ports]
        self.nodes: list[BrokerServer] = []
        for number, (port, bus) in enumerate(self._ports):
            folder = directory / f"node{number}"
            folder.mkdir(parents=True)
            options = ["--bind", "127.0.0.1", "--port", str(port), "--cluster-port", str(bus)]
            options += ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"]
            self.nodes.append(BrokerServer(kind, folder, *options))

    @property
    def url(self) -> str:
        """The address of one node."""
        return self.urls[0]

    def start(self) -> None:
        """Start the nodes, join them, and wait until each of them serves."""
        for number, node in enumerate(self.nodes):
            node.start()
            first, last = (SLOTS * n // NODES for n in (number, number + 1))
            node.command(f"CLUSTER SET-CONFIG-EPOCH {number + 1}")
            node.command(f"CLUSTER ADDSLOTSRANGE {first} {last - 1}")
        for port, bus in self._ports[1:]:
            self.nodes[0].command(f"CLUSTER MEET 127.0.0.1 {port} {bus}")
        until_sync(lambda: all(map(_serves, self.nodes)), "the cluster serves", 20)

    @staticmethod
    def number_of(key: str) -> int:
        """Return the number of the node that has the key."""
        return (key_slot(key.encode()) * NODES + NODES - 1) // SLOTS

    def keys_without_ttl(self) -> list[str]:
        """Return the keys that never expire."""
        return [key for node in self.nodes for key in node.keys_without_ttl()]

    def stop(self) -> None:
        """End all nodes."""
        for node in self.nodes:
            node.stop()


def _serves(node: BrokerServer) -> bool:
    info = node.command("CLUSTER INFO")
    return b"cluster_state:ok" in info and b"cluster_known_nodes:%d" % NODES in info


class ClusterClient(Client):
    """Sends each command to the node of its keys; one without keys to all.

    AssertionError when the keys of one command lie in several slots: that is
    what no cluster takes.
    """

    def __init__(self, cluster: Cluster) -> None:
        """Nothing is connected yet."""
        super().__init__(Endpoint(cluster.url))
        self._cluster = cluster
        self._nodes = [Client(Endpoint(url)) for url in cluster.urls]

    async def call(self, *command: Argument, timeout_s: float = COMMAND_TIMEOUT_S) -> Any:
        """Run one command; without keys on every node: numbers are added, keys joined, else the first."""
        if keys := await self._keys_of(command):
            slots = {key_slot(key.encode()) for key in keys}
            assert len(slots) == 1, f"keys of {len(slots)} slots in one command: {command[0]!r} {keys}"
            return await self._nodes[self._cluster.number_of(keys[0])].call(*command, timeout_s=timeout_s)
        answers = [await node.call(*command, timeout_s=timeout_s) for node in self._nodes]
        if command[0] == "KEYS":
            return [key for answer in answers for key in answer]
        return sum(answers) if isinstance(answers[0], int) else answers[0]

    async def call_all(self, *commands: tuple[Argument, ...]) -> list[Any]:
        """Run commands one after the other and return their answers."""
        return [await self.call(*command) for command in commands]

    async def _keys_of(self, command: tuple[Argument, ...]) -> list[str]:
        if command[0] == "PUBLISH":  # any node passes it on to all
            return [str(command[1])]
        try:
            keys = await self._nodes[0].call("COMMAND", "GETKEYS", *command)
        except BrokerRefused as exc:
            assert "no key arguments" in str(exc), f"{command!r}: {exc}"
            return []
        return [key.decode() for key in keys]

    def close(self) -> None:
        """Close the connections to all nodes."""
        super().close()
        for node in self._nodes:
            node.close()


class ClusterBench(Bench):
    """Everything of the broker package over a cluster."""

    def __init__(self, cluster: Cluster) -> None:
        """``cluster`` is running."""
        self.cluster = cluster
        super().__init__(cluster.url)

    def new_client(self) -> Client:
        """Return a client of its own connections."""
        self._clients.append(ClusterClient(self.cluster))
        return self._clients[-1]

    def web_at(self, number: int) -> WebBroker:
        """Return the side of a web worker that listens at one node."""
        self.url = self.cluster.urls[number]
        return self.web()
