# Two commands do all the set-up: `make demo` and `make test`.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# A part of the tests: make test TESTS=tests/faults
TESTS ?=
# Tests start hundreds of processes; each would compile the package anew.
unexport PYTHONDONTWRITEBYTECODE
# Twice as many processes as two cores, since many tests wait; one thread each. A file of tests runs in one of them.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 4 --dist loadfile --no-loadscope-reorder

.PHONY: demo check unit test test-all lint docs bench lowest clean

# Makes the demo dataset, runs the main job on it, checks the shards and draws the contact sheet.
demo: $(INSTALLED)
	rm -rf demo/ffpp demo/out
	$(BIN)/forgeprep demo demo/ffpp
	$(BIN)/forgeprep run ffpp --root demo/ffpp --out demo/out --stages crop,mask,noise,similarity --frames 16 --shard-size 320
	$(BIN)/forgeprep verify demo/out
	$(BIN)/forgeprep inspect demo/out --sheet demo/sheet.png

# While you work: lint, types, and the tests of single modules, side by side; under a minute.
check: $(INSTALLED)
	$(MAKE) --jobs 2 --output-sync lint unit

# Two processes: each imports torch and all else for seconds, and none of these tests waits.
unit: $(INSTALLED)
	$(PYTEST) --numprocesses 2 tests/unit

test: $(INSTALLED)
	$(PYTEST) -m "not long" $(TESTS)

# Those too that show again, or in the large, what another test shows.
test-all: $(INSTALLED)
	$(PYTEST) $(TESTS)

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The site, in docs/_build/html.
docs: $(INSTALLED)
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html

bench: $(INSTALLED)
	$(BIN)/python benchmarks/all.py

# The lowest versions that pyproject.toml allows, in an environment of their own.
lowest:
	tools/lowest.sh lowest-direct $(PYTHON)

# The virtual environment, with the versions that were tested; made again when the dependencies change. pip compiles with
# one core, and the tests of all packages too; a few files of packages are templates, which cannot be compiled.
$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt --editable '.[train,align,dev]'
	$(BIN)/python -m compileall -qq -j 0 -x '/tests?/' $(VENV)/lib || true
	touch $@

clean:
	rm -rf $(VENV) demo dist docs/_build docs/reference .mypy_cache .pytest_cache .ruff_cache .hypothesis
