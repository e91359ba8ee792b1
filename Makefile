# Everything a person or CI runs. Each target sets up what it needs.

PYTHON ?= python3
BIN := .venv/bin

.PHONY: run test check system bench chaos clean

run: .venv/run.stamp ## serve examples/main.py on http://localhost:8000
	$(BIN)/python examples/main.py

test: check system ## every check and every test
	$(BIN)/pytest -n 3 --dist loadfile --ignore tests/documents

check: .venv/dev.stamp ## lint, types, layers, documents
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -q tests/documents

bench: .venv/dev.stamp system ## measure beside the peers, under 10 minutes; writes benchmarks/results.md
	$(BIN)/python -m benchmarks

chaos: .venv/dev.stamp system ## the long run of the fault suite; writes its tables into docs/reliability.md
	$(BIN)/python -m tests.chaos $(if $(SEED),--seed $(SEED)) --faults 200 --minutes 30 --write

system: ## Chromium and Redis for the tests, through the system's package manager
	tests/install-system-packages

clean:
	rm -rf .venv .bench .mypy_cache .ruff_cache .pytest_cache

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/run.stamp: pyproject.toml | .venv/bin/python
	$(BIN)/pip install --quiet --disable-pip-version-check -e ".[embedded]"
	touch $@

.venv/dev.stamp: pyproject.toml | .venv/bin/python
	$(BIN)/pip install --quiet --disable-pip-version-check -e ".[dev]"
	touch $@ .venv/run.stamp
