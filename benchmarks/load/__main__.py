"""Carries out orders: ``python -m benchmarks.load PORT WIRE``.

Reads ``{"do": name, ...}`` from standard input and answers each with one line.
What goes wrong ends it with a traceback.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
from typing import Any

import uvloop

from benchmarks.load.orders import Load
from benchmarks.load.users import WIRES

LONGEST_S = 240.0


def main() -> None:
    """Carry out the orders, one at a time."""
    load = Load(int(sys.argv[1]), WIRES[sys.argv[2]])
    gc.freeze()
    gc.disable()  # a pause of this process would look like one of the contestant's
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        for line in sys.stdin:
            order = json.loads(line)

            async def carry_out(order: dict[str, Any] = order) -> Any:
                async with asyncio.timeout(LONGEST_S):
                    return await load.carry_out(**order)

            print(json.dumps(runner.run(carry_out())), flush=True)


if __name__ == "__main__":
    main()
