# Every target sets up what it needs. See README.md.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help demo down test check soak bench bench-full lock generate clean
help:            ## what can be made
	@grep -hE '^[a-z-]+: .*##|^[a-z-]+:  *##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 16

$(STAMP): requirements.lock pyproject.toml
	@echo "── virtual environment ($(VENV))"
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed; set PYTHON=/path/to/python3")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: $(STAMP)   ## the main job, end to end, on a real kube-apiserver; stays up until `make down`
	@$(BIN)/python -m hack.demo up
down: $(STAMP)   ## end what `make demo` left running
	@$(BIN)/python -m hack.demo down
test: $(STAMP)   ## all tests (≤ 10 min; the control plane is built once)
	@$(BIN)/python -m hack.controlplane build
	@$(BIN)/python -m hack.objectstore
	@$(BIN)/python -m pytest -n 2 --dist loadscope -m "not soak" tests
check: $(STAMP)  ## format, lint, types, import contracts, generated files fresh
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/python -m hack.generate --check
soak: $(STAMP)   ## what is too long for `make test`
	@$(BIN)/python -m hack.controlplane build
	@$(BIN)/python -m pytest -m soak --timeout=3600 tests
bench: $(STAMP)  ## a table, and build/bench.json (≤ 10 min)
	@$(BIN)/python -m hack.bench
bench-full: $(STAMP)  ## the long benchmarks
	@$(BIN)/python -m hack.bench --full
generate: $(STAMP)  ## write crds/ and hack/emulator/COVERAGE.md anew
	@$(BIN)/ruff format -q .
	@$(BIN)/python -m hack.generate
lock: $(STAMP)   ## write requirements.lock anew from pyproject.toml
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --no-emit-index-url --no-annotate --all-extras --python-version 3.11 pyproject.toml hack/build-requirements.in -o requirements.lock
clean: down      ## remove the virtual environment and build/
	@rm -rf $(VENV) build
