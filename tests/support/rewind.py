"""A server that loses its last writes when it is told to, as one does that fails over or loses its disk."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.support.processes import BrokerServer

ALWAYS = ("--appendonly", "yes", "--appendfsync", "always", "--auto-aof-rewrite-percentage", "0")


class ForgetfulServer(BrokerServer):
    """Goes back to how it was at ``mark``: nothing else can lose an exact part of what was acknowledged."""

    def __init__(self, kind: str, directory: Path) -> None:
        super().__init__(kind, directory, *ALWAYS)
        self._data = directory / "appendonlydir"
        self._copy = directory / "copy"

    def mark(self) -> None:
        """Remember what it has now."""
        shutil.rmtree(self._copy, ignore_errors=True)
        shutil.copytree(self._data, self._copy)

    def go_back(self) -> None:
        """``kill -9`` it and start it with what it had at the mark."""
        self.kill()
        shutil.rmtree(self._data)
        shutil.copytree(self._copy, self._data)
        self.start()
