"""Serves the app by gunicorn with four web workers, as the README has it: ``python four_workers.py PORT``."""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":
    options = ["-w", "4", "-k", "uvicorn_worker.UvicornWorker", "-b", f"127.0.0.1:{sys.argv[1]}"]
    paths = ["--pythonpath", os.path.dirname(os.path.abspath(__file__))]
    command = [sys.executable, "-m", "gunicorn", *options, *paths, "four_workers:app"]
    os.execv(sys.executable, command)

from counter import App  # beside this script

from htagweb import Runner

app = Runner(App)
