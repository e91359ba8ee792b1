"""Real brokers of every kind, for the tests of the protocol."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from htagweb_broker import broker as sides

from tests.support.brokers import KINDS, Bench, running_server
from tests.support.cluster import Cluster, ClusterBench, ClusterClient
from tests.support.processes import BrokerServer


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Run one cluster for all tests: it takes two seconds until it serves."""
    made = Cluster(tmp_path_factory.mktemp("cluster"))
    try:
        made.start()
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="module", params=[*KINDS, "cluster"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[BrokerServer | Cluster]:
    """Run one server of each kind for the module, and use the cluster."""
    if request.param == "cluster":
        yield request.getfixturevalue("cluster")
        return
    with running_server(request.param, tmp_path_factory.mktemp("broker")) as running:
        yield running


@pytest_asyncio.fixture
async def bench(server: BrokerServer | Cluster, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    """Give both sides of the broker on an empty server, or cluster."""
    if isinstance(server, Cluster):
        monkeypatch.setattr(sides, "Client", lambda endpoint: ClusterClient(server))
        made: Bench = ClusterBench(server)
    else:
        made = Bench(server.url)
    await made.call("FLUSHALL")
    yield made
    made.close()
