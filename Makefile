# Everything works on a fresh clone: each target sets up its own environment first.
PYTHON  ?= python3
VENV    ?= .venv
BIN      = $(VENV)/bin
STAMP    = $(VENV)/.installed
LOWEST   = .venv-lowest
PIP      = $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.DEFAULT_GOAL := help
.PHONY: help setup run test lowest lint bench pages site dist clean

help:            ## what the targets do
	@grep -E '^[a-z]+: .*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12

setup: $(STAMP)  ## create .venv and install ntkgap with its development tools

$(STAMP): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing ntkgap into $(VENV) ..."
	@$(PIP) torch==2.13.0
	@$(PIP) torch==2.13.0 -e '.[dev]'
	@touch $(STAMP)

run: $(STAMP)    ## measure the promises on embedded data -> runs/quick/report.html
	$(BIN)/ntkgap run

test: $(STAMP)   ## the whole test suite
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

lowest:          ## the core's tests with the lowest versions that pyproject.toml allows
	@test -x $(LOWEST)/bin/python || $(PYTHON) -m venv $(LOWEST)
	@$(LOWEST)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints-lowest.txt \
		-e '.[dask]' pytest pytest-timeout pytest-xdist hypothesis psutil
	$(LOWEST)/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder \
		tests/linalg tests/theory tests/models tests/kernels tests/practice

lint: $(STAMP)   ## style, types, words, and which package may import which
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/python tests/words.py
	$(BIN)/mypy

bench: $(STAMP)  ## speed and robustness, each against a peer or a limit
	$(BIN)/python benchmarks/run_all.py

pages: $(STAMP)  ## fill the results pages from their published files
	$(BIN)/python docs/results/build.py

site: $(STAMP)   ## the documentation -> docs/_build/html/index.html
	@$(PIP) -e '.[docs]'
	$(BIN)/python -m pytest -n 0 tests/test_formulas.py
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html

dist: $(STAMP)   ## wheel and sdist -> dist, and a look at what is in them
	@$(PIP) -e '.[release]'
	rm -rf dist
	$(BIN)/python -m build --no-isolation
	$(BIN)/python tests/release.py dist

clean:           ## remove what the targets made
	rm -rf $(VENV) $(LOWEST) runs dist docs/_build docs/generated .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
