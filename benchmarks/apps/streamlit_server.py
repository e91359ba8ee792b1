"""Serves the page with Streamlit: ``python streamlit_server.py PORT``."""

from __future__ import annotations

import os
import sys
from pathlib import Path

if __name__ == "__main__":
    page = str(Path(__file__).with_name("streamlit_page.py"))
    options = ["--server.address", "127.0.0.1", "--server.port", sys.argv[1], "--server.headless", "true"]
    options += ["--browser.gatherUsageStats", "false"]
    os.execv(sys.executable, [sys.executable, "-m", "streamlit", "run", page, *options])
