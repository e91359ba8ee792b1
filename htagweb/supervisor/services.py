"""What every instance of a supervisor shares."""

from __future__ import annotations

from dataclasses import dataclass, field

from htagweb_broker import Clock, SupervisorBroker

from htagweb.supervisor.allowance import Allowance
from htagweb.supervisor.meter import Meter
from htagweb.supervisor.templates import Templates


@dataclass(frozen=True, slots=True)
class Services:
    """Collaborators, limits, and who it is."""

    broker: SupervisorBroker
    templates: Templates
    clock: Clock
    max_in_flight: int
    never_connected_s: float
    supervisor: str
    """The incarnation that owns them all."""
    host: str
    meter: Meter = field(default_factory=lambda: Meter(Allowance()))
    """By default one that finds nothing too much."""

    def facts(self) -> dict[str, str]:
        """Return what the record of an instance that is claimed now says of it."""
        return {"host": self.host, "started_ms": str(self.clock.epoch_ms())}
