# Two commands for a newcomer: `make demo` and `make test`. Each sets itself up.
PYTHON ?= python3
BIN := .venv/bin
# What a release has of times is its commit's: whoever builds it again gets the same bytes.
EPOCH = SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct)

.PHONY: setup demo test campaign lint types format check bench benchmarks protos drift lock wheel sbom bundle audit clean
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
	@# Tests are compiled once and for all, too, also where the environment says that nothing is kept.
	@# One worker more than cores: real processes and lines that are cut are waited for.
	@PYTHONDONTWRITEBYTECODE= $(BIN)/pytest -n $$(($$(nproc) + 1)) --dist loadfile

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

# Minutes; `veilmatch bench full` takes hours (docs/benchmarks.md).
bench: setup
	@$(BIN)/veilmatch bench --out dist/bench

# Single modules, and what has no experiment.
benchmarks: setup
	@$(BIN)/pytest benchmarks --benchmark-enable --benchmark-disable-gc

protos: setup
	@$(BIN)/python tools/protos.py proto/gen

drift: setup
	@$(BIN)/python tools/protos.py --check proto/gen

# Hashes for every platform and Python that pyproject.toml allows; no registry's name is written.
COMPILE = $(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-annotate \
	--custom-compile-command "make lock" --quiet
# What is deployed, and what builds the wheel, are parts of what everybody tests with.
lock: setup
	@$(COMPILE) pyproject.toml --group dev --all-extras --output-file requirements.txt
	@$(COMPILE) pyproject.toml --all-extras --constraint requirements.txt --output-file deploy/requirements.txt
	@echo hatchling | $(COMPILE) - --constraint requirements.txt --output-file deploy/build-requirements.txt

# A release (docs/release.md), into dist/.
wheel: setup
	@$(EPOCH) $(BIN)/python -m hatchling build --target wheel --directory dist

sbom: setup
	@$(EPOCH) $(BIN)/python tools/sbom.py dist

# For machines that reach no registry; this one has to.
bundle: setup wheel sbom
	@$(BIN)/python tools/bundle.py dist

# Known vulnerabilities of what requirements.txt pins; needs a network, so CI does not.
audit: setup
	@$(BIN)/pip-audit --requirement requirements.txt --require-hashes --disable-pip --strict --progress-spinner off

clean:
	rm -rf .venv .mypy_cache .ruff_cache .hypothesis dist
