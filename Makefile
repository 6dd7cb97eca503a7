# make demo     install what is needed, then generate pictures into ./demo with the bundled model
# make test     the whole quick test suite          make slow      the long tests
# make lint     ruff (format and rules)             make types     mypy --strict
# make format   let ruff rewrite the files          make coverage  the quick tests, with a coverage report
# make serve    parvis serve, at http://127.0.0.1:8000
# make setup    only install, into ./.venv; does nothing when nothing has changed

VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# Idle threads must sleep: spinning ones make small layers many times slower on a machine with few free cores.
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: setup serve demo test slow lint types format coverage
.DELETE_ON_ERROR:

setup: $(STAMP)

demo: $(STAMP)
	$(BIN)/parvis demo --out demo

serve: $(STAMP)
	$(BIN)/parvis serve

test: $(STAMP)
	$(BIN)/python -m pytest

slow: $(STAMP)
	$(BIN)/python -m pytest -m slow

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

coverage: $(STAMP)
	$(BIN)/python -m coverage run -m pytest
	$(BIN)/python -m coverage report

$(STAMP): pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

# PYTHON=... chooses the interpreter; left out, the first that is 3.11 or newer.
$(BIN)/python:
	@for python in $(or $(PYTHON),python3 python3.11 python3.12 python3.13 python3.14); do \
	    "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue; \
	    if ! "$$python" -c 'import ensurepip, venv' 2>/dev/null; then \
	        echo "$$python cannot make virtual environments." >&2; \
	        echo "On Debian or Ubuntu: apt-get install python3-venv; then run make again." >&2; exit 1; fi; \
	    echo "Making $(VENV) with $$python"; "$$python" -m venv $(VENV); exit; \
	done; \
	echo "No Python 3.11 or newer found. Install one (Debian: apt-get install python3 python3-venv)" >&2; \
	echo "or name one: make PYTHON=/path/to/python3.12" >&2; exit 1
