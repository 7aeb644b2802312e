# `make` tells what there is. Everything lives in .venv; nothing is installed outside it, except by test-real.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

VENV ?= .venv
BIN := $(VENV)/bin
PYTHON ?= $(shell for python in python3.13 python3.12 python3.11 python3; do \
  if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then echo $$python; break; fi; done)
STATE ?= state
WORKERS ?= auto
TESTS ?= tests

RUN := $(VENV)/.installed-to-run
DEV := $(VENV)/.installed-to-develop

.PHONY: help
help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: install
install: $(DEV)  ## everything into .venv, pinned by constraints.txt

.PHONY: serve
serve: $(RUN)  ## run the server with a database of its own in ./state, and print a `tailscale up` line
	@HEADSCALE_STATE_DIR='$(abspath $(STATE))' exec $(BIN)/headscale-saas serve --join-line

.PHONY: check
check: $(DEV)  ## formatter, linter, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

.PHONY: test
test: $(DEV)  ## everything but official clients; TESTS=path for a part
	$(BIN)/pytest -n $(WORKERS) -m 'not real' $(TESTS)

.PHONY: test-real
test-real: $(DEV)  ## official clients in network namespaces (root; installs packages, builds the clients once)
	scripts/install-packages
	scripts/install-clients
	$(BIN)/pytest -m real tests/real || { status=$$?; ((status == 5)) || exit $$status; }

.PHONY: test-postgres
test-postgres: $(DEV)  ## the tests on the oldest PostgreSQL and on Debian's
	scripts/test-postgres

.PHONY: test-fresh
test-fresh:  ## `make serve` and `make test` in a bare Debian, and the Dockerfile's steps (root)
	scripts/test-fresh

.PHONY: bench
bench: $(DEV)  ## what it costs: Markdown here, all figures in build/bench.json (some 40 minutes)
	@$(BIN)/python bench/transport_write.py
	@$(BIN)/python -m bench.run

.PHONY: docs
docs: $(DEV)  ## write the pages that are made from the source
	$(BIN)/python -m headscale_saas.config.reference > docs/configuration.md

.PHONY: format
format: $(DEV)  ## let the formatter and the linter change what they can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.PHONY: constraints
constraints: $(DEV)  ## write what is installed now to constraints.txt
	@{ head -1 constraints.txt; $(BIN)/pip freeze --exclude-editable; } > constraints.new
	@mv constraints.new constraints.txt

.PHONY: clean
clean:  ## remove what was installed and made; ./state stays
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis src/*.egg-info
	find src tests bench -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true

$(BIN)/python:
	@[[ -n '$(PYTHON)' ]] || { echo 'Python 3.11 or newer is needed.' >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo 'venv is needed: on Debian, install python3-venv.' >&2; exit 1; }

$(RUN): pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(DEV): pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $(RUN) $@
