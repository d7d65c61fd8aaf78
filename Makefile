# Every target depends on .venv, so each also works as the first command in a fresh clone.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# What Python compiles is kept, whatever the shell says: without it each of the processes that run the tests compiles all of them anew.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: setup init run dev lint fix contract check unit test integration system worlds mutants bench soak chaos conformance chart pins dist clean

setup: $(STAMP)

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev,bench]'
	touch $@

# Everything anew, and the hooks for git.
init:
	$(MAKE) clean
	$(MAKE) setup
	[ ! -e .git ] || $(BIN)/pre-commit install

run: $(STAMP)
	$(BIN)/connector run

dev: $(STAMP)
	$(BIN)/python -m harness.dev

lint: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

fix: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# docs/asyncapi.yaml, docs/events.schema.json and examples/types.d.ts from the event classes; a test fails while they are stale.
contract: $(STAMP)
	$(BIN)/python -m harness.asyncapi

# Both at once: types are checked by one core, and the tests take what is left.
check: $(STAMP)
	$(MAKE) --no-print-directory -j2 lint unit

# A few tests play worlds for seconds: whoever is done takes over what waits behind them.
unit: $(STAMP)
	$(BIN)/python -m pytest -q -n auto --dist worksteal tests/unit

test: check chart
	tests/with_servers.sh $(BIN)/python -m pytest -q tests/integration tests/system

integration: $(STAMP)
	tests/with_servers.sh $(BIN)/python -m pytest -q tests/integration

system: $(STAMP)
	tests/with_servers.sh $(BIN)/python -m pytest -q tests/system

# MODULES: parts of names (default: all of tests/mutants.toml). SINCE: only lines that changed since that revision of git.
mutants: $(STAMP)
	nice $(BIN)/python -m bench.mutants $(MODULES) $(if $(SINCE),--since $(SINCE))

# One table of all measurements of the services (docs/performance.md).
bench: $(STAMP)
	tests/with_servers.sh $(BIN)/python -m bench.table

# HOURS of a little work: whether memory, threads, files or queues grow.
soak: $(STAMP)
	tests/with_servers.sh $(BIN)/python -m bench.soak --hours $(or $(HOURS),4)

# SEED: the first of them. A failed world is told with the shortest list of faults that was found for it.
worlds: $(STAMP)
	$(BIN)/python -m bench.worlds --runs $(or $(RUNS),10000) --seed $(or $(SEED),1)

chaos: $(STAMP)
	tests/with_servers.sh $(BIN)/python -m bench.chaos

conformance: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[conformance]'
	$(BIN)/python -m pytest -q tests/conformance

# Deploys nothing: what Helm makes of the chart, against the schemas of Kubernetes.
chart: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[chart]'
	$(BIN)/python -m pytest -q tests/unit/deploy/test_helm.py

# What the image installs: the newest that pyproject.toml allows, for its Python (`FROM`), each file by its hash.
PINNED := $(BIN)/uv pip compile --quiet --upgrade --generate-hashes --python-version 3.12 --python-platform linux \
	--no-header --no-annotate --no-emit-index-url
pins: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'uv>=0.9'
	$(PINNED) --extra demo -o requirements.txt pyproject.toml
	echo 'setuptools>=77' | $(PINNED) -o requirements-build.txt -

# Wheel and sdist in dist/, the same bytes from the same commit, and dist/sbom.cdx.json: what the wheel brings along.
dist: $(STAMP)
	SOURCE_DATE_EPOCH=$${SOURCE_DATE_EPOCH:-$$(git log -1 --format=%ct)} $(BIN)/python -m harness.dist dist
	SOURCE_DATE_EPOCH=$${SOURCE_DATE_EPOCH:-$$(git log -1 --format=%ct)} $(BIN)/python -m harness.sbom dist

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
