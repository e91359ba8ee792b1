"""GETs a page over a connection of its own, as light as it gets."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from time import monotonic

from benchmarks.load.errors import BadAnswer, NotReady

HOST = "127.0.0.1"
PATIENCE_S = 60.0
_LENGTH = re.compile(r"^content-length: (\d+)", re.MULTILINE | re.IGNORECASE)
_COOKIE = re.compile(r"^set-cookie: ([^;\r\n]+)", re.MULTILINE | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Page:
    """An answer with status 200."""

    body: str
    cookies: str
    """As the header Cookie sends them back; empty when none was set."""
    wait: float
    """From before the connection was made until all of the body was there."""


async def get(port: int, path: str, cookies: str = "") -> Page:
    """Return the page; OSError while nobody listens, NotReady for 503, BadAnswer for another than 200."""
    cookie = f"Cookie: {cookies}\r\n" if cookies else ""
    request = f"GET {path} HTTP/1.1\r\nHost: {HOST}:{port}\r\n{cookie}\r\n"
    began = monotonic()
    try:
        async with asyncio.timeout(PATIENCE_S):
            head, body = await _exchange(port, request.encode())
    except TimeoutError as exc:
        raise BadAnswer(f"expected a page for {path}, none came within {PATIENCE_S:g} s") from exc
    return Page(body, "; ".join(_COOKIE.findall(head)), monotonic() - began)


async def _exchange(port: int, request: bytes) -> tuple[str, str]:
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = _LENGTH.search(head)
        if head.startswith("HTTP/1.1 503 "):
            raise NotReady(f"expected 200, got {head!r}")
        if length is None or not head.startswith("HTTP/1.1 200 "):
            raise BadAnswer(f"expected 200 and a content-length, got {head!r}")
        return head, (await reader.readexactly(int(length[1]))).decode()
    finally:
        writer.close()
