"""The page with NiceGUI: ``python nicegui_server.py PORT``."""

from __future__ import annotations

import asyncio
import sys
from time import monotonic
from typing import Any

from nicegui import ui  # in an environment of its own


@ui.page("/")  # type: ignore[untyped-decorator]
def page() -> None:
    """Build the page, as ``counter.App``; each load of it is a new one."""
    number = 0

    def increment() -> None:
        nonlocal number
        number += 1
        shown.text = str(number)

    async def push(event: Any) -> None:
        count, pause_s = event.args
        for _ in range(count):
            pushed.text = repr(monotonic())  # times that are close to each other may become one update
            await asyncio.sleep(pause_s)
        pushed.text = "end"

    ui.html("<h1>A counter</h1>", sanitize=False)
    ui.button("+1", on_click=increment)
    shown = ui.label("0").classes("number")
    pushed = ui.label("").classes("pushed").on("push", push)


ui.run(host="127.0.0.1", port=int(sys.argv[1]), reload=False, show=False)
