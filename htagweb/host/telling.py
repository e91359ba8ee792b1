"""What people are told: one line for the person, a log line for the operator, a page when there is none."""

from __future__ import annotations

import html
import sys


def one_line(text: str, limit: int = 500) -> str:
    """Return the text for a place that has one line: no line breaks, nothing that UTF-8 cannot hold."""
    line = printable(" ".join(text.split()))
    return line if len(line) <= limit else line[: limit - 1] + "…"


def printable(text: str) -> str:
    """Return the text with what UTF-8 cannot hold (lone surrogates) written as escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def describe(exc: BaseException) -> str:
    """Return the kind of error and its message, on one line."""
    return one_line(f"{type(exc).__name__}: {exc}")


def failure_page(error: str, trace: str) -> str:
    """Return the document to show while the app cannot render one."""
    return (
        '<!DOCTYPE html><html><head><meta charset="utf-8"><title>Error</title></head><body>'
        f"<h1>The app failed to render</h1><p>{html.escape(error)}</p><pre>{html.escape(trace)}</pre>"
        "<p>It still runs: reload the page to try again.</p></body></html>"
    )


def tell_operator(*messages: str) -> None:
    """Write to stderr: the supervisor logs it. Not by ``logging``, which belongs to the app here."""
    for message in messages:
        print(f"htagweb: {message}", file=sys.stderr, flush=True)
