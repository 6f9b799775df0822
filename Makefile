# Every target creates .venv and installs what it needs on first use.

PYTHON ?= python3
BIN := .venv/bin

.PHONY: help demo test test-oldest lint format bench docs linkcheck package clean

help:
	@echo "make demo    fit Iris, digits and MNIST next to scikit-learn, draw two pictures"
	@echo "make test    lint, types, import contract and the test suite"
	@echo "make lint    ruff, mypy and import-linter only"
	@echo "make format  let ruff rewrite the code"
	@echo "make bench   time against scikit-learn, intelex and torch.optim.LBFGS"
	@echo "make docs    build the HTML documentation into docs/_build/html"
	@echo "make linkcheck  follow every link within it, to the anchor"
	@echo "make package build wheel and source archive, install each, try it"
	@echo "make test-oldest  the test suite with the oldest versions that are allowed"

# One stamp a set of extras; a stamp is renewed when pyproject.toml changes.
.venv/.installed-%: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[$*]'
	touch $@

demo: .venv/.installed-datasets,plot
	$(BIN)/python examples/demo.py

# The examples of a page go on from one another. All other tests run in two processes, with a thread
# each.
PAGES := docs README.md CONTRIBUTING.md

test: export OMP_NUM_THREADS = 1
test: lint
	$(BIN)/python -m pytest --cov --cov-fail-under=0 --cov-report= $(PAGES)
	$(BIN)/python -m pytest --cov --cov-append -n 2 tests

# Old packages next to new ones warn of each other.
OLD_WARNINGS := -W default::DeprecationWarning -W default::pytest.PytestDeprecationWarning \
	-W default::pytest.PytestUnraisableExceptionWarning

test-oldest:
	test -x .venv-oldest/bin/python || $(PYTHON) -m venv .venv-oldest
	.venv-oldest/bin/python -m pip install --quiet --constraint tests/oldest.txt --editable '.[dev]'
	.venv-oldest/bin/python -m pytest $(OLD_WARNINGS) $(PAGES)
	OMP_NUM_THREADS=1 .venv-oldest/bin/python -m pytest -n 2 $(OLD_WARNINGS) tests

lint: .venv/.installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: .venv/.installed-dev
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: .venv/.installed-bench
	$(BIN)/python -m benchmarks.suite

docs: .venv/.installed-docs
	$(BIN)/python -m sphinx -W --keep-going -b html docs docs/_build/html

linkcheck: docs
	$(BIN)/linkchecker --config docs/linkcheckerrc docs/_build/html/index.html

package: .venv/.installed-dev
	rm -rf dist build/environment
	$(BIN)/python -m build
	$(PYTHON) -m venv build/environment
	for archive in dist/*.whl dist/*.tar.gz; do \
		build/environment/bin/python -m pip install --quiet --force-reinstall --no-deps $$archive && \
		build/environment/bin/python -m pip install --quiet $$archive && \
		(cd build && environment/bin/python ../tests/smoke.py environment) || exit 1; \
	done

clean:
	rm -rf .venv .venv-oldest build dist docs/_build docs/auto_examples docs/_generated docs/api/generated docs/api/backreferences docs/sg_execution_times.rst demo-output .mypy_cache .pytest_cache .ruff_cache
