"""How log lines look, for the command line: text for people, JSON for programs.

The library itself never configures logging. What a record is about (session
digest, app, generation) comes as extra fields of the record.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

CONTEXT = ("session", "app", "generation")


def _context(record: logging.LogRecord) -> dict[str, str]:
    return {name: getattr(record, name) for name in CONTEXT if hasattr(record, name)}


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")


class TextFormatter(logging.Formatter):
    """``time LEVEL [session app generation] message``."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as lines; every further line is indented."""
        context = " ".join(_context(record).values())
        message = record.getMessage()
        if record.name == "htagweb.app":
            message = f"| {message}"
        if record.exc_info:
            message = f"{message}\n{self.formatException(record.exc_info)}"
        head = f"{_time(record)} {record.levelname:<7} " + (f"[{context}] " if context else "")
        return head + message.replace("\n", "\n    ")


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line of JSON."""
        fields = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            **_context(record),
            "message": record.getMessage(),
        }
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(fields, ensure_ascii=False)


def configure(log_format: str, level: str) -> None:
    """Send all log records to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
