"""A user of a Streamlit page: protobuf, of which the few fields that a click takes are written by hand.

The numbers of fields are those of Streamlit's ``BackMsg``, ``ClientState``,
``WidgetStates`` and ``ForwardMsg``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from time import monotonic

from benchmarks.load.errors import BadAnswer
from benchmarks.load.http import HOST, get
from benchmarks.load.users.counter import Counter
from benchmarks.load.websocket import BINARY, connect

_BUTTON = re.compile(rb"\$\$ID-[0-9a-f]{32}-\w+")
_RERUN, _WIDGETS, _WIDGET, _ID, _TRIGGER = 11, 2, 1, 1, 2
_SCRIPT_FINISHED = 6
_VARINT, _BYTES = 0, 2


def varint(number: int) -> bytes:
    """Return a number as protobuf writes it."""
    written = bytearray()
    while number > 0x7F:
        written.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*written, number])


def field(number: int, value: bytes) -> bytes:
    """Return a field with bytes, a text or a message."""
    return varint(number << 3 | _BYTES) + varint(len(value)) + value


def fields_of(message: bytes) -> Iterator[int]:
    """Yield the numbers of a message's fields."""
    place = 0

    def read() -> int:
        nonlocal place
        number = shift = 0
        while True:
            byte = message[place]
            place += 1
            number |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return number

    while place < len(message):
        key = read()
        yield key >> 3
        length = read()
        if key & 7 == _BYTES:
            place += length
        elif key & 7 != _VARINT:
            raise BadAnswer(f"expected a ForwardMsg of Streamlit, got {message[:200]!r}")


class StreamlitUser(Counter):
    """A run of the whole script answers each click, and the page's load."""

    opcode = BINARY
    number = b'class="number"'
    failure = b'File "'

    _click = b""

    async def open(self) -> float:
        """GET the page, connect, and see the first run to its end: before, there is nothing to see."""
        await self.close()
        page = await get(self._port, "/")
        began = monotonic()
        path = "/_stcore/stream"
        self._socket = socket = await connect(HOST, self._port, path, subprotocol="streamlit")
        socket.send(field(_RERUN, b""), BINARY)
        button = None
        while True:
            message = await socket.receive()
            button = button or _BUTTON.search(message)
            if _SCRIPT_FINISHED in fields_of(message):
                break
        if button is None:
            raise BadAnswer("expected a button in the first run of the script")
        click = field(_ID, button[0]) + varint(_TRIGGER << 3 | _VARINT) + b"\x01"
        self._click = field(_RERUN, field(_WIDGETS, field(_WIDGET, click)))
        self._number = 0
        return page.wait + socket.arrived - began

    async def connect(self) -> None:
        """Nothing to do: the page was nothing without."""

    async def click(self) -> float:
        """Click once, see that the next number comes; the rest of the run is waited for, not measured."""
        took = await super().click()
        while _SCRIPT_FINISHED not in fields_of(await self.socket.receive()):
            pass
        return took

    def click_message(self) -> bytes:
        """Return the next click, encoded."""
        return self._click

    async def push(self, count: int, pause_s: float) -> None:
        """Not for Streamlit: a script has no way to push by itself."""
        raise BadAnswer("expected a wire with updates; Streamlit's scripts push none")
