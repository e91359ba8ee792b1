"""Lets new sessions in, only so many a second from one address: each costs keys, and most cost a process."""

from __future__ import annotations

import ipaddress

from starlette.requests import HTTPConnection

from htagweb.web.proxies import Proxies, parse_address
from htagweb.web.service import WebService

IPV6_PREFIX = 64
"""One customer's network: who has one IPv6 address has 2**64."""


class TooManyArrivals(Exception):
    """Raised when an address had all the new sessions that it may have in this second."""


def address_of(connection: HTTPConnection, proxies: Proxies) -> str | None:
    """Return what one visitor is counted by, None for one who cannot be told from others.

    That is who comes by a unix socket or from a trusted proxy which does not say
    for whom.
    """
    host = connection.client.host if connection.client else ""
    address = parse_address(host)
    if address is None or proxies.trusts(host):
        return None
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.IPv6Network((int(address), IPV6_PREFIX), strict=False))
    return str(address)


async def admit(service: WebService, connection: HTTPConnection) -> None:
    """Count one new session; TooManyArrivals when its address has had too many."""
    most = service.settings.max_new_sessions_per_s
    address = address_of(connection, service.proxies)
    if not most or address is None:
        return
    blind = (await service.signer()).blind(address)
    if await service.broker.arrivals.count(blind) > most:
        raise TooManyArrivals(f"more than {most} new sessions in a second from one address")
