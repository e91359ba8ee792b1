"""These tests start no process: to look for one after each would take longer than all of them."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def nothing_is_left() -> None:
    """Replace the look at all processes of the machine."""
