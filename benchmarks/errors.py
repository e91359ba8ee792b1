"""The benchmark's one error."""

from __future__ import annotations


class BenchmarkError(Exception):
    """Raised when a contestant, the load or Chromium fails; the message has its words."""
