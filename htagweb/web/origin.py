"""Who may talk to our apps: pages of our own address and of allowed origins, not those of any site.

An origin is scheme, host and port. What our own is says the request itself,
after ``htagweb.web.proxies`` has made it the one that the browser sees.
"""

from __future__ import annotations

import ipaddress
import logging
import re

from starlette.requests import HTTPConnection

from htagweb.settings import SettingError, variable

logger = logging.getLogger(__name__)

ALLOWED = "htagweb.allowed_origins"
"""The scope's key of the origins that may talk to us beside our own."""
_ORIGIN = re.compile(r"(https?)://(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::([0-9]{1,5}))?", re.IGNORECASE | re.ASCII)
_PORTS = {"http": "80", "https": "443"}
_PAGE_SCHEMES = {"ws": "http", "wss": "https"}


def origin_of(text: str) -> str | None:
    """Return an origin in its one normal form, with its port; None when the text is none."""
    found = _ORIGIN.fullmatch(text)
    if found is None:
        return None
    scheme, host, port = found[1].lower(), found[2].lower(), found[3] or ""
    if host.startswith("["):
        try:
            host = f"[{ipaddress.IPv6Address(host[1:-1])}]"
        except ValueError:
            return None
    return f"{scheme}://{host}:{port or _PORTS[scheme]}"


def origins_in(text: str) -> frozenset[str]:
    """Return the origins of a setting, separated by commas; SettingError says which is none."""
    found = set()
    for part in (part.strip() for part in text.split(",") if text.strip()):
        origin = origin_of(part)
        if origin is None:
            raise SettingError(
                f"allowed_origins ({variable('allowed_origins')}) holds origins as https://site.example or "
                f"http://site.example:8000, without path and '*', not {part!r}"
            )
        found.add(origin)
    return frozenset(found)


def is_same_origin(connection: HTTPConnection) -> bool:
    """Return whether the request comes from a page of ours or of an allowed origin, or from no page at all.

    Browsers always send Origin with WebSocket handshakes and POSTs; programs
    need not. ``null`` (a sandbox, a file) is nobody's page.
    """
    given = connection.headers.get("origin")
    if given is None:
        return True
    origin = origin_of(given)
    if origin is None:
        return False
    scheme = connection.scope.get("scheme", "http")
    page_scheme = _PAGE_SCHEMES.get(scheme, scheme)
    host = connection.headers.get("host", "")
    if origin == origin_of(f"{page_scheme}://{host}"):
        return True
    if origin in connection.scope.get(ALLOWED, frozenset()):
        return True
    if page_scheme == "http" and origin == origin_of(f"https://{host}"):
        logger.warning(
            "a page came by https, its request by http: if a proxy ends TLS, let it send X-Forwarded-Proto "
            "and name its address in %s",
            variable("trusted_proxies"),
        )
    return False
