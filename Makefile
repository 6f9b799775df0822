# Every target creates .venv and installs what it needs on first use.

PYTHON ?= python3
BIN := .venv/bin

.PHONY: help demo test lint format bench docs clean

help:
	@echo "make demo    fit Iris, digits and MNIST next to scikit-learn, draw two pictures"
	@echo "make test    lint, types, import contract and the test suite"
	@echo "make lint    ruff, mypy and import-linter only"
	@echo "make format  let ruff rewrite the code"
	@echo "make bench   time against scikit-learn, intelex and torch.optim.LBFGS"
	@echo "make docs    build the HTML documentation into docs/_build/html"

# One stamp a set of extras; a stamp is renewed when pyproject.toml changes.
.venv/.installed-%: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[$*]'
	touch $@

demo: .venv/.installed-datasets,plot
	$(BIN)/python examples/demo.py

test: lint
	$(BIN)/python -m pytest

lint: .venv/.installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: .venv/.installed-dev
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: .venv/.installed-bench
	$(BIN)/python -m benchmarks

docs: .venv/.installed-docs
	$(BIN)/python -m sphinx -W --keep-going -b html docs docs/_build/html

clean:
	rm -rf .venv build dist docs/_build docs/auto_examples docs/sg_execution_times.rst demo-output .mypy_cache .pytest_cache .ruff_cache
