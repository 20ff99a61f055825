# Two commands on a new machine: `make run` (the release flow on the embedded data) and `make test`.
# Both build .venv first when requirements.lock or pyproject.toml changed.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

# Found on the PATH; recipes quote it, since the checkout may lie in a folder whose name has spaces.
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export VIRTUAL_ENV := $(CURDIR)/.venv
export PREFECT_HOME := $(CURDIR)/.prefect

# Learners and statistics are measured, and repeat bit for bit, on one thread.
export OMP_NUM_THREADS := 1

# Nothing here reports home.
export DO_NOT_TRACK := true
export DVC_NO_ANALYTICS := 1
export GX_ANALYTICS_ENABLED := false
export MLFLOW_DISABLE_TELEMETRY := true
export PREFECT_SERVER_ANALYTICS_ENABLED := false

# Without compiled modules every start takes seconds longer.
unexport PYTHONDONTWRITEBYTECODE

# uv reads no pip settings; what they say about sources of packages is meant for uv as well.
ifdef PIP_FIND_LINKS
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)
endif
ifdef PIP_INDEX_URL
export UV_DEFAULT_INDEX ?= $(PIP_INDEX_URL)
endif

READY := .venv/.lock.stamp

.PHONY: run test check bench bench-chaos bench-gates up lock clean clean-all help

run: $(READY) ## Release: data to production model, on the embedded data
	grandmodel run $(ARGS)

up: $(READY) ## Keep the servers and schedules running on loopback
	grandmodel up $(ARGS)

test: $(READY) ## Run the tests in three processes (ARGS="-k name", ARGS="-n 0" for one)
	python -m pytest -n 3 --dist loadfile --no-loadscope-reorder $(ARGS)

check: $(READY) ## Lint, formatting, types, import direction
	ruff check .
	ruff format --check .
	mypy
	lint-imports

bench: $(READY) .venv/.bench.stamp ## Measure ticks, features, environments, orchestration (about 15 minutes)
	python -m benchmarks.ticks
	python -m benchmarks.features
	python -m benchmarks.environment
	python -m benchmarks.orchestration

bench-chaos: $(READY) ## Kills, full disks, races and outages on both databases (about 15 minutes)
	python -m benchmarks.chaos

bench-gates: $(READY) ## Measure how often the gates err, on 300 simulated markets (over an hour on two cores)
	python -m benchmarks.gate_study
	python -m benchmarks.experiments

# torch's own CUDA packages stay out of the lock: each machine's torch wheel names the ones it needs.
lock: .venv/bin/uv ## Resolve requirements.in into requirements.lock (ARGS=--upgrade)
	uv pip compile requirements.in --python-version 3.11 --no-annotate --no-header --quiet \
	    --output-file requirements.lock $(ARGS)
	sed -i.bak -E -e 's/^(torch==[^+ ]+)\+.*/\1/' -e '/^(nvidia-|cuda-|triton==)/d' requirements.lock
	rm requirements.lock.bak

clean: ## Remove what the stages made and all caches; the ledger and the registries stay
	rm -rf artifacts build *.egg-info .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name .venv -prune -o -name .git -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

clean-all: clean ## Remove also the environment, the ledger and the registries
	rm -rf .venv .prefect .dvc/cache .dvc/tmp runs state mlartifacts mlruns mlflow.db*

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile

.venv/.bench.stamp: benchmarks/requirements.txt $(READY)
	@python -m pip install --quiet -r benchmarks/requirements.txt
	@touch $@

$(READY): requirements.lock pyproject.toml | .venv/bin/python
	@echo "Installing the locked packages into .venv"
	@{ python -m pip install --quiet uv && uv pip install --quiet --compile-bytecode -r requirements.lock; } || { \
	    echo "uv does not install here; pip takes its place, in about two minutes"; \
	    python -m pip install --quiet -r requirements.lock; }
	@python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

.venv/bin/uv: | .venv/bin/python
	python -m pip install --quiet uv

.venv/bin/python:
	@for candidate in "$(PYTHON)" python3.11 python3; do \
	    if "$$candidate" -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then \
	        exec "$$candidate" -m venv .venv; \
	    fi; \
	done; \
	echo "GrandModel needs Python 3.11 or newer with venv; none was found as python3.11 or python3." >&2; \
	echo "On Debian: apt-get install python3-venv. Elsewhere: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; \
	exit 1
