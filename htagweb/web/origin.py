"""Who may open our sockets: pages of our own address, not those of any site the user visits."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.requests import HTTPConnection


def is_same_origin(connection: HTTPConnection) -> bool:
    """Return whether the request comes from a page of this host, or from no page at all.

    Browsers always send Origin with WebSocket handshakes and POSTs; programs
    need not.
    """
    origin = connection.headers.get("origin")
    if origin is None:
        return True
    try:
        host = urlsplit(origin).netloc
    except ValueError:  # e.g. half an IPv6 address
        return False
    return host != "" and host.lower() == connection.headers.get("host", "").lower()
