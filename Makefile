# Each target sets itself up in .venv on its first call; nothing is needed beforehand but Python 3.11 or newer.
# A machine without an NVIDIA GPU is served best by torch's CPU build: see CONTRIBUTING.md.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet
SETTINGS := Makefile pyproject.toml constraints.txt hatch_build.py
PAGE := $(shell find web \( -name node_modules -o -name dist \) -prune -o -type f -print)

# Pins what is installed and, by the second name in newer versions of pip, what packages are built with.
export PIP_CONSTRAINT := constraints.txt
export PIP_BUILD_CONSTRAINT := constraints.txt

.PHONY: help serve test lint bench docs
.DEFAULT_GOAL := help

help:
	@echo "make serve   the live page and its API on http://127.0.0.1:8000; ARGS='--port 9000' adds options"
	@echo "make test    build and check the page, run all tests; ARGS='-k bundle' picks some"
	@echo "make lint    formatting, lint, types, and which module may import which"
	@echo "make bench   every claim about speed, as a ratio to a peer in the same run"
	@echo "make docs    the documentation, into docs/_build/html"

serve: $(VENV)/.serve
	$(BIN)/vocaffect serve $(ARGS)

test: $(VENV)/.dev
	$(BIN)/python hatch_build.py
	$(BIN)/python hatch_build.py check
	$(BIN)/python -m pytest -n auto $(ARGS)

lint: $(VENV)/.dev
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

bench: $(VENV)/.dev
	@set -e; for script in benchmarks/[a-z]*.py; do echo "== $$script"; $(BIN)/python $$script $(ARGS); done

docs: $(VENV)/.docs
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html
	@echo "open docs/_build/html/index.html"

# What recognising and serving need, and the page; no torch.
$(VENV)/.serve: $(SETTINGS) $(PAGE) | $(BIN)/python
	$(INSTALL) -e .
	@touch $@

# Everything else needs training and the tools as well.
$(VENV)/.dev: $(SETTINGS) | $(BIN)/python
	$(INSTALL) -e '.[train,encoders,tune,track,cluster,postgres,dev]'
	@touch $@ $(VENV)/.serve

# The page is not part of the documentation, so it is not built for it.
$(VENV)/.docs: $(SETTINGS) | $(BIN)/python
	VOCAFFECT_SKIP_PAGE=1 $(INSTALL) -e '.[docs]'
	@touch $@

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
