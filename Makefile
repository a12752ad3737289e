# Every target sets up what it needs. The two commands of a fresh machine: `make demo` and `make test`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest
# Processes that run tests side by side; a file stays in one of them, with what it started.
WORKERS ?= 2

.DEFAULT_GOAL := help
.PHONY: help install demo test coverage tools lint format schemas docs bench soak fuzz mutate build clean

help:            ## what the targets do
	@grep -E '^[a-z]+: .*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1\t/' | expand -t 12

# A marker file per set of packages: installed once, again when pyproject.toml changes.
$(VENV)/bin/pip:
	@$(PYTHON) -m venv $(VENV) 2>/dev/null || { \
	  rm -rf $(VENV); \
	  apt-get install -y -qq python3-venv >/dev/null 2>&1 && $(PYTHON) -m venv $(VENV); } || { \
	  echo "cannot make a virtual environment: install the package python3-venv" >&2; exit 1; }
	@$(BIN)/pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'

$(VENV)/.demo: pyproject.toml | $(VENV)/bin/pip
	@echo "installing mlkit and what the example needs"
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-compile --editable '.[server,onnx]' --group example
	@touch $@

$(VENV)/.test: pyproject.toml | $(VENV)/bin/pip
	@echo "installing mlkit and what the tests need"
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[server,oras,onnx,otel,cosign,scan]' --group test --group lint --group example
	@touch $@ $(VENV)/.demo

install: $(VENV)/.test   ## a virtual environment with everything

demo: $(VENV)/.demo      ## the main job on real data, in under two minutes
	@$(BIN)/python examples/digits/demo.py
	@$(BIN)/python examples/rollback/demo.py

tools: $(VENV)/.test     ## real registries and clients for the tests, where they can be had
	@$(BIN)/python -m tests.support.install_tools

lint: $(VENV)/.test      ## style, types and the plan of the house
	$(BIN)/ruff check src tests examples
	$(BIN)/ruff format --check src tests examples
	$(BIN)/mypy
	$(BIN)/lint-imports

test: $(VENV)/.test tools lint   ## everything that must hold
	$(PYTEST) -n $(WORKERS) --dist loadfile $(ARGS)

coverage: $(VENV)/.test tools   ## branches of the store, the extractor, the wire and the parsers that their own tests take
	@rm -rf .cache/coverage && mkdir -p .cache/coverage
	$(BIN)/python -m coverage run -m pytest -n $(WORKERS) --dist loadfile tests/archive tests/content tests/registry tests/spec $(ARGS)
	@$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m tests.support.coverage_of_rooms

format: $(VENV)/.test    ## rewrite the code in the house's style
	$(BIN)/ruff check --fix src tests examples
	$(BIN)/ruff format src tests examples

schemas: $(VENV)/.test   ## write schemas/ from the models
	$(BIN)/python -m tests.support.schemas

docs: $(VENV)/.test      ## write the generated parts of docs/
	$(BIN)/python -m tests.support.reference_docs

bench: $(VENV)/.test tools   ## speed and memory, as ratios to peers and limits in the same run
	$(BIN)/python -m tests.benchmarks.run $(ARGS)

soak: $(VENV)/.test      ## the long runs of what `make test` runs a slice of
	MLKIT_TEST_SCALE=20 $(PYTEST) -m soak $(ARGS)

fuzz: $(VENV)/.test      ## properties with many more examples than in `make test`, and every parser for a minute
	@$(BIN)/pip install --quiet --disable-pip-version-check --group fuzz || true
	MLKIT_TEST_SCALE=50 $(PYTEST) -m hypothesis
	$(BIN)/python -m tests.fuzz.run $(ARGS)

mutate: $(VENV)/.test    ## change the code in one place at a time: some test must notice
	@$(BIN)/pip install --quiet --disable-pip-version-check --group mutate
	$(BIN)/python -m tests.mutation.run $(ARGS)

build: $(VENV)/bin/pip   ## a wheel and a source distribution in dist/
	@$(BIN)/pip install --quiet --disable-pip-version-check 'build>=1.2'
	$(BIN)/python -m build

clean:           ## everything that can be made again
	rm -rf $(VENV) dist .cache .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis mutants
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
