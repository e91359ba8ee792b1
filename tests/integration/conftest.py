"""Real brokers of every kind, for the tests of the protocol."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from tests.support.brokers import KINDS, Bench, running_server
from tests.support.processes import BrokerServer


@pytest.fixture(scope="module", params=KINDS)
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[BrokerServer]:
    """Run one server of each kind for the module."""
    with running_server(request.param, tmp_path_factory.mktemp("broker")) as running:
        yield running


@pytest_asyncio.fixture
async def bench(server: BrokerServer) -> AsyncIterator[Bench]:
    """Give both sides of the broker on an empty server."""
    made = Bench(server.url)
    await made.call("FLUSHALL")
    yield made
    made.close()
