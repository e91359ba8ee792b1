"""What follows from how an instance has to run: limits, facts for web workers, words for its person."""

from __future__ import annotations

from htagweb_broker import EndReason, Launch

from htagweb.supervisor.life import Life, Times


def is_same_app(one: Launch, other: Launch) -> bool:
    """Return whether both mean the same living app: then it is shown again, not started anew."""
    return (one.args, one.kargs, one.debug) == (other.args, other.kargs, other.debug)


def times_of(launch: Launch, never_connected_s: float) -> Times:
    """Return the limits that the app's life has."""
    return Times(launch.timeout_interaction_s, launch.timeout_inactivity_s, never_connected_s)


def facts_of(launch: Launch) -> dict[str, str]:
    """Return what web workers have to know, as its record notes it."""
    return {"parano": str(int(launch.parano))}


def why_dumped(life: Life) -> str:
    """Return why the app's stack is written to the log."""
    if life.reason == "interaction_timeout":
        return f"no answer within {life.times.interaction_s:g} s"
    return f"it takes more than it may ({life.reason})"


def why_no_page(reason: EndReason, interaction_s: float) -> str:
    """Return what a person is told whose page was asked for and cannot be had."""
    match reason:
        case "interaction_timeout":
            return f"the app did not start within {interaction_s:g} s"
        case "replaced":
            return "the app was opened with other parameters meanwhile"
        case "crashed":
            return "the app's process ended while it started"
        case "memory" | "cpu" | "processes":
            return f"the app took more than it may while it started ({reason})"
    return f"the app ended while it started ({reason})"
