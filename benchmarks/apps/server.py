"""The server script of both contestants: each is started as its own users start it.

``python server.py PORT`` with the interpreter of the contestant. The directory
is the first of ``sys.path``, and holds nothing but the app.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from importlib.util import find_spec

from counter import App  # type: ignore[import-not-found]  # beside this script

from htagweb import Runner

if __name__ == "__main__":
    if find_spec("htagweb.fifo"):
        # 1.0.0 has its sockets below /tmp and, when it starts, kills every process that has a
        # PID file there. Here it gets a directory of its own, so that it meets only itself.
        AsyncStream = import_module("htagweb.fifo").AsyncStream
        AsyncStream.FOLDER = os.getcwd()
    Runner(App, host="127.0.0.1", port=int(sys.argv[1])).run()
