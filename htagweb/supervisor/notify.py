"""Tells systemd how the supervisor is (``Type=notify``, ``WatchdogSec``): sd_notify, as datagrams.

The socket's address and the watchdog's time come from systemd in the
environment: they are no settings of ours. Without them nothing is told.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Mapping

from htagweb_broker import Clock

logger = logging.getLogger(__name__)

READY = "READY=1"
STOPPING = "STOPPING=1"
WATCHDOG = "WATCHDOG=1"


class Notifier:
    """Speaks to the service manager that started this process, if one did."""

    def __init__(self, environ: Mapping[str, str], clock: Clock) -> None:
        """Take the address from the environment; a watchdog that is another process's is none."""
        address = environ.get("NOTIFY_SOCKET", "")
        # "@" stands for the zero byte of the abstract namespace.
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._clock = clock
        is_ours = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        watchdog_s = int(environ.get("WATCHDOG_USEC") or 0) / 1_000_000
        self.interval_s = watchdog_s / 3 if is_ours and self._address else 0.0
        """Seconds between two signs of life, so that two may come late; 0: none are wanted."""

    def tell(self, *states: str) -> None:
        """Send states; a service manager that does not listen is no reason to stop."""
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.setblocking(False)
                sender.sendto("\n".join(states).encode(), self._address)
        except OSError as exc:
            logger.warning("the service manager was not told %s: %s", " ".join(states), exc)

    async def keep_alive(self) -> None:
        """Say until cancelled that the event loop turns; returns at once where no watchdog is."""
        while self.interval_s:
            self.tell(WATCHDOG)
            await self._clock.sleep(self.interval_s)
