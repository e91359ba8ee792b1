"""Fixtures for the web side's unit tests."""

from collections.abc import AsyncIterator

import pytest

from tests.unit.web.harness import Site


@pytest.fixture
async def site(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    """Give a Runner over a fake broker."""
    made = Site(monkeypatch)
    yield made
    await made.http.aclose()
