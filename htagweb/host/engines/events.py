"""What the page leaves out of a DOM event, as it follows from the rest or is as usual: a click that says less
is faster.

The page's side is ``htagweb/web/client/events.js``; both lists are the same. Pointer Events, level 3, gives
the properties of a pointer their default values in a click: the pointer was lifted already.
"""

from __future__ import annotations

from math import pi
from typing import Any

_CLICKS = frozenset({"click", "auxclick", "contextmenu"})
_USUAL_CLICK: dict[str, Any] = {
    "width": 1,
    "height": 1,
    "pressure": 0,
    "tangentialPressure": 0,
    "tiltX": 0,
    "tiltY": 0,
    "twist": 0,
    "azimuthAngle": 0,
    "altitudeAngle": pi / 2,
    "isPrimary": False,
    "movementX": 0,
    "movementY": 0,
}


def whole(event: dict[str, Any]) -> dict[str, Any]:
    """Return the event with what was left out of it; a page that leaves out nothing loses nothing."""
    if "clientX" in event and "clientY" in event:
        event = {"x": event["clientX"], "y": event["clientY"], **event}
    if "pointerType" in event and event.get("type") in _CLICKS:
        event = {**_USUAL_CLICK, **event}
    return event
