"""This project and htagweb 1.0.0, measured side by side: ``python -m benchmarks``."""
