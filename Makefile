# Two commands for a newcomer: `make demo` and `make test`. Each sets itself up.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: setup demo test campaign lint types format check bench protos drift lock clean
.DEFAULT_GOAL := test

setup: .venv/ready

.venv/ready: requirements.txt pyproject.toml tools/setup.sh
	@PYTHON="$(PYTHON)" sh tools/setup.sh
	@touch $@

demo: setup
	@$(BIN)/veilmatch demo

test: setup
	@sh tools/browser.sh
	@# The members that tests start are processes of their own: none of them should compile us again.
	@$(BIN)/python -m compileall -q crypto policy evidence transport node coordinator cli proto/gen
	@$(BIN)/pytest -n auto --dist loadfile

# Hundreds of simulated federations, a hundred thousand hostile messages, millions of rows: hours on two cores.
campaign: setup
	@$(BIN)/pytest -n auto --dist loadfile -m campaign --timeout 36000

lint: setup
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports
	@$(BIN)/python tools/walls.py

types: setup
	@$(BIN)/mypy

format: setup
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

# What CI runs: lint, import walls, types, stub drift, tests.
check: lint types drift
	@$(MAKE) --no-print-directory test

bench: setup
	@$(BIN)/pytest benchmarks --benchmark-enable --benchmark-disable-gc

protos: setup
	@$(BIN)/python tools/protos.py proto/gen

drift: setup
	@$(BIN)/python tools/protos.py --check proto/gen

# Hashes for every platform and Python that pyproject.toml allows; no registry's name is written.
lock: setup
	@$(BIN)/uv pip compile pyproject.toml --group dev --all-extras --universal --python-version 3.11 \
		--generate-hashes --no-annotate --custom-compile-command "make lock" --output-file requirements.txt --quiet

clean:
	rm -rf .venv .mypy_cache .ruff_cache .hypothesis dist
