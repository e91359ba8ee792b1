"""A broker that fails over: its address is a group of Sentinels, who say which server is the primary now."""

from __future__ import annotations

import asyncio
import re
from urllib.parse import parse_qsl, unquote, urlencode
from weakref import WeakSet

from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import MasterNotFoundError, Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError

from htagweb_broker.connection import CONNECT_TIMEOUT_S, NO_CONNECTION, Endpoint, heeding_cancellation

SENTINEL_PORT = 26379
SENTINEL_TIMEOUT_S = 1.0
"""So long one Sentinel may take to answer; then the next one is asked."""

_EXPECTED = "redis+sentinel://[user:password@]host[:26379],host…/service[/db]"
_URL = re.compile(
    r"(?P<scheme>rediss?)\+sentinel://(?:(?P<login>[^/?#@]*)@)?(?P<hosts>[^/?#@]+)"
    r"/(?P<service>[^/?#]+)/?(?P<db>\d*)/?(?:\?(?P<query>[^#]*))?"
)
_HOST = re.compile(r"(?P<host>\[[^\[\]]+\]|[^\[\]:]+)(?::(?P<port>\d+))?")

Address = tuple[str, int]


def endpoint_of(url: str) -> Endpoint:
    """Return where the broker is; ValueError says what is wrong with the URL. Nothing is connected."""
    is_group = url.partition("://")[0].endswith("+sentinel")
    return SentinelEndpoint(url) if is_group else Endpoint(url)


class SentinelEndpoint(Endpoint):
    """The primary of one service, as a group of Sentinels names it.

    ``rediss+sentinel://`` speaks TLS with Sentinels and servers both. User, password,
    database and query are the servers'; the Sentinels' own login, if they have one, is
    ``sentinel_username`` and ``sentinel_password`` in the query.
    """

    def __init__(self, url: str) -> None:
        """Parse the URL; ValueError says what is wrong with it. Nothing is connected."""
        found = _URL.fullmatch(url)
        if found is None:
            # Not the URL itself: it may hold a password.
            raise ValueError(f"expected {_EXPECTED} as the broker's address, got another form")
        query = dict(parse_qsl(found["query"] or ""))
        login = {name: query.pop(f"sentinel_{name}", None) for name in ("username", "password")}
        if wrong := [name for name in query if name.startswith("sentinel_")]:
            raise ValueError(f"expected sentinel_username and sentinel_password at most, got {wrong[0]}")
        at = f"{found['login']}@" if found["login"] else ""
        super().__init__(f"{found['scheme']}://{at}/{found['db'] or 0}?{urlencode(query)}")
        self._sentinels = [_address(text) for text in found["hosts"].split(",")]
        self._service = unquote(found["service"])
        tls = {name: value for name, value in self._pool.connection_kwargs.items() if name.startswith("ssl_")}
        self._sentinel_options = {
            **login,
            **tls,
            "ssl": found["scheme"] == "rediss",
            "protocol": 2,
            "retry": Retry(NoBackoff(), 0),
            "socket_timeout": SENTINEL_TIMEOUT_S,
            "socket_connect_timeout": SENTINEL_TIMEOUT_S,
        }
        self._opened: WeakSet[AbstractConnection] = WeakSet()

    async def _connect(self, raw: AbstractConnection) -> None:
        primary = await self._find_primary()
        raw.host, raw.port = primary  # type: ignore[attr-defined]
        await super()._connect(raw)
        try:
            await self._check_role(raw)
        except BaseException:
            await raw.disconnect(nowait=True)
            raise
        self._close_others(primary)
        self._opened.add(raw)

    async def _check_role(self, raw: AbstractConnection) -> None:
        """Ask the server itself: Sentinels may be late, or cut off."""
        await raw.send_command("HELLO")
        said = await raw.read_response()
        role = dict(zip(said[::2], said[1::2], strict=True))[b"role"].decode()
        if role != "master":
            raise RedisConnectionError(
                f"expected the primary of {self._service}, got a server that is a {role}"
            )

    async def confirm(self) -> None:
        """Ask the Sentinels again, and close what leads to a server that is not the primary any more.

        A server that was cut off from its Sentinels does not say so by itself.
        """
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                with heeding_cancellation():
                    primary = await self._find_primary()
        except NO_CONNECTION:
            return  # nobody knows better just now
        self._close_others(primary)

    def _close_others(self, primary: Address) -> None:
        for raw in list(self._opened):
            if raw._writer is not None and (raw.host, raw.port) != primary:  # type: ignore[attr-defined]
                raw._writer.transport.abort()

    async def _find_primary(self) -> Address:
        async with Sentinel(self._sentinels, sentinel_kwargs=self._sentinel_options) as group:  # type: ignore[no-untyped-call]
            try:
                host, port = await group.discover_master(self._service)
            except MasterNotFoundError as exc:
                hosts = ", ".join(f"{host}:{port}" for host, port in self._sentinels)
                text = f"no Sentinel of {hosts} answers that {self._service} has a primary that is well"
                raise RedisConnectionError(text) from exc
            # Who answered stands first now, and is asked first next time.
            options = [each.connection_pool.connection_kwargs for each in group.sentinels]
        self._sentinels = [(each["host"], each["port"]) for each in options]
        return host, port


def _address(text: str) -> Address:
    found = _HOST.fullmatch(text)
    if found is None or not 0 < int(found["port"] or SENTINEL_PORT) < 65536:
        raise ValueError(f"expected host or host:port of a Sentinel, got {text!r}")
    return found["host"].strip("[]"), int(found["port"] or SENTINEL_PORT)
