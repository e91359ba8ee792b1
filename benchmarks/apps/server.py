"""Serves the app as users of this project and of htagweb 1.0.0 and 0.60.3 do: ``python server.py PORT``."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from importlib.util import find_spec

from counter import App  # beside this script

from htagweb import Runner

if __name__ == "__main__":
    if find_spec("htagweb.fifo"):
        # The releases have their sockets below /tmp and, when they start, kill every process that
        # has a PID file there. Here they get a directory of their own, so that they meet only themselves.
        AsyncStream = import_module("htagweb.fifo").AsyncStream
        AsyncStream.FOLDER = os.getcwd()
    Runner(App, host="127.0.0.1", port=int(sys.argv[1])).run()
