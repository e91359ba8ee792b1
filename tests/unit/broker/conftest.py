"""A server in memory for tests of scripts and of what is read."""

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.unit.broker.fakes import FakeServerClient


@pytest_asyncio.fixture
async def memory() -> AsyncIterator[FakeServerClient]:
    """Give a client of an empty server in memory."""
    client = FakeServerClient()
    yield client
    await client.aclose()
