"""What trusted proxies say of the browser's request: its scheme, its host and the visitor's address.

Whatever comes after sees the request as the browser sent it. The ``host``
header itself is replaced: redirects, ``request.url_for`` (a login's callback)
and the check of the origin all need the address in the browser's address bar,
and all read it there.
"""

from __future__ import annotations

import ipaddress
import re

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from htagweb.settings import SettingError, variable

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Client = tuple[str, int]

_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?", re.ASCII)
_WITH_PORT = re.compile(r"\[([^\]]+)\](?::([0-9]{1,5}))?|([0-9.]+):([0-9]{1,5})", re.ASCII)
MOST_HOPS = 32
"""Parts of a forwarding header that are looked at, from its end: each is a proxy's word."""
_SECURE = {"https": True, "wss": True, "http": False, "ws": False}
_SCHEMES = {"http": ("http", "https"), "websocket": ("ws", "wss")}


def parse_address(text: str) -> Address | None:
    """Return an address, an IPv4 one in IPv6 as IPv4; None when the text is none."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, ipaddress.IPv6Address) else address


def _split_port(text: str) -> Client:
    """Return host and port (0 for none) of one part of X-Forwarded-For."""
    found = _WITH_PORT.fullmatch(text)
    if found is None:
        return text, 0
    return found[1] or found[3], int(found[2] or found[4] or 0)


class Proxies:
    """The addresses and networks whose word counts."""

    def __init__(self, text: str) -> None:
        """Take them separated by commas; SettingError says which is none."""
        self._networks = []
        for part in (part.strip() for part in text.split(",") if text.strip()):
            try:
                self._networks.append(ipaddress.ip_network(part))
            except ValueError as exc:
                raise SettingError(
                    f"trusted_proxies ({variable('trusted_proxies')}) holds addresses and networks as "
                    f"10.0.0.7 or 10.0.0.0/8, not {part!r}: {exc}"
                ) from exc

    def trusts(self, host: str) -> bool:
        """Return whether the address is a proxy of ours."""
        address = parse_address(host)
        return address is not None and any(address in network for network in self._networks)

    def visitor(self, chain: list[Client]) -> Client | None:
        """Return the last address that is no proxy of ours, or the first of all; None where there is none.

        Each proxy appends whom it was called by, so what stands before the
        first stranger is that stranger's word alone.
        """
        found = None
        for host, port in reversed(chain):
            address = parse_address(host)
            if address is None:
                break
            found = str(address), port
            if not self.trusts(host):
                break
        return found


class ProxyMiddleware:
    """Applies X-Forwarded-Proto, -For and -Host where a trusted proxy sent them.

    It is the outermost of a Runner.
    """

    def __init__(self, app: ASGIApp, proxies: Proxies) -> None:
        self._app = app
        self._proxies = proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] in _SCHEMES:
            scope = dict(scope)
            self._apply(scope)
        await self._app(scope, receive, send)

    def _apply(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        chain = [_split_port(part.strip()) for part in _last_of(headers, "x-forwarded-for")]
        client = scope.get("client")
        # A unix socket has no client, and only who may open its file is behind it.
        if client is None or self._proxies.trusts(client[0]):
            self._apply_scheme(scope, headers)
            scope["client"] = self._proxies.visitor(chain) or client
        elif tuple(client) not in chain:
            return
        # Else the web server (uvicorn does so by itself) has believed the proxy already: it took the client
        # out of the header. A stranger can forge that by naming its own address and port; all it wins is a
        # host of its choice, which it may send in Host as well.
        self._apply_host(scope, headers)

    def _apply_scheme(self, scope: Scope, headers: Headers) -> None:
        given = _last_of(headers, "x-forwarded-proto")
        if given and (is_secure := _SECURE.get(given[-1].strip().lower())) is not None:
            scope["scheme"] = _SCHEMES[scope["type"]][is_secure]

    def _apply_host(self, scope: Scope, headers: Headers) -> None:
        # The last one: the nearest proxy's own word. One before it may be the visitor's.
        given = _last_of(headers, "x-forwarded-host")
        if not given or not _HOST.fullmatch(host := given[-1].strip()):
            return
        others = [(name, value) for name, value in scope["headers"] if name != b"host"]
        scope["headers"] = [(b"host", host.encode()), *others]


def _last_of(headers: Headers, name: str) -> list[str]:
    """Return the last parts of a header, in however many lines it came; anybody may send a million."""
    parts: list[str] = []
    for line in reversed(headers.getlist(name)):
        parts = line.rsplit(",", MOST_HOPS)[-MOST_HOPS:] + parts
        if len(parts) >= MOST_HOPS:
            break
    return parts[-MOST_HOPS:]
