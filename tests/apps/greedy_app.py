"""An app that takes more than it may."""

import asyncio
import os
import subprocess
import sys
import threading
from pathlib import Path

from htag import Tag

MIB = 1024 * 1024


class Greedy(Tag.body):  # type: ignore[misc]
    """Takes memory, processor, files or processes: in a handler, or in a task of its own."""

    def init(self) -> None:
        self.taken: list[object] = []
        self.shown = Tag.pre("", _class="shown")
        self.add(self.shown)
        self.task: asyncio.Task[None] | None = None

    def say(self, text: str) -> None:
        self.shown.clear(text)

    def fill(self, mib: int) -> None:
        """Take memory in a handler, in one piece."""
        self.taken.append(bytearray(mib * MIB))
        self.say(f"took {mib}")

    def forget(self) -> None:
        self.taken.clear()
        self.say("forgot")

    def fill_slowly(self, mib_per_s: int) -> None:
        """Take memory in a background task, for ever."""

        async def work() -> None:
            while True:
                self.taken.append(bytearray(mib_per_s * MIB // 20))
                await asyncio.sleep(0.05)

        self.task = asyncio.create_task(work())

    def fill_in_a_child(self, mib: int) -> None:
        """Have another process take the memory."""
        code = f"open('/proc/self/comm', 'w').write('greedy-child'); x = bytearray({mib} << 20); input()"
        self.taken.append(subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE))

    def spin(self) -> None:
        """Compute for ever in a thread, while the app answers."""

        def work() -> None:
            while True:
                pass

        threading.Thread(target=work, daemon=True).start()

    def open_files(self) -> None:
        """Open files until that is refused; the error is the handler's."""
        while True:
            self.taken.append(os.open(os.devnull, os.O_RDONLY))

    def start(self, count: int) -> None:
        """Start processes that stay."""
        for _ in range(count):
            self.taken.append(subprocess.Popen(["sleep", "100"]))
        self.say(f"started {count}")

    def rights(self) -> None:
        """Show whom it runs as, and that it can gain nothing."""
        status = Path("/proc/self/status").read_text()
        gains = "NoNewPrivs:\t0" in status
        self.say(f"uid={os.getuid()} gid={os.getgid()} gains={gains}")
