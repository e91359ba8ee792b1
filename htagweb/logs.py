"""How log lines look, for the command line: text for people, JSON for programs.

The library itself never configures logging. What a record is about (session
digest, app, generation) comes as extra fields of the record. So do the facts
of a life's events (``log_event``), which programs get as fields of their own.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import MutableMapping
from datetime import UTC, datetime
from typing import Any

CONTEXT = ("session", "app", "generation")
FACTS = ("event", "reason", "supervisor", "pid", "apps", "max_apps", "version")
"""Fields of an event besides its durations, which are numbers in fields that end in ``_s`` or ``_ms``."""
DURATIONS = ("_s", "_ms")

Log = logging.Logger | logging.LoggerAdapter[logging.Logger]


class ContextLog(logging.LoggerAdapter[logging.Logger]):
    """Says with each record what it is about, in addition to the record's own fields."""

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        """Join both; the adapter that Python brings drops the record's own."""
        return msg, {**kwargs, "extra": {**(self.extra or {}), **(kwargs.get("extra") or {})}}


def log_event(log: Log, event: str, text: str, level: int = logging.INFO, **facts: str | float) -> None:
    """Log an event of a life once: the text for people, filled in from the facts, these for programs."""
    fields = {"event": event, **facts}
    log.log(level, text, fields, extra=fields, stacklevel=2)


def _context(record: logging.LogRecord) -> dict[str, str]:
    return {name: getattr(record, name) for name in CONTEXT if hasattr(record, name)}


def _facts(record: logging.LogRecord) -> dict[str, Any]:
    found = {name: value for name, value in vars(record).items() if name in FACTS or name.endswith(DURATIONS)}
    return {name: round(value, 3) if isinstance(value, float) else value for name, value in found.items()}


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
            **_facts(record),
        }
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(fields, ensure_ascii=False)


class QueryFilter(logging.Filter):
    """Cuts the query off the addresses in a web server's log lines: a secret or typed text may be in it."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Change the record's arguments; every record passes."""
        if isinstance(record.args, tuple):
            record.args = tuple(_without_query(each) for each in record.args)
        return True


def _without_query(value: object) -> object:
    is_address = isinstance(value, str) and value.startswith("/") and "?" in value
    return f"{str(value).partition('?')[0]}?..." if is_address else value


def hide_queries() -> None:
    """Keep queries out of uvicorn's logs: requests are in the one, sockets in the other."""
    for name in ("uvicorn.access", "uvicorn.error"):
        logger = logging.getLogger(name)
        if not any(isinstance(each, QueryFilter) for each in logger.filters):
            logger.addFilter(QueryFilter())


def configure(log_format: str, level: str) -> None:
    """Send all log records to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
