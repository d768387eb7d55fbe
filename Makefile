# Everything sets itself up: `make demo` and `make test` work on a fresh machine with Python 3.10 or newer.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# PyTorch first, and this version: it satisfies every requirement that follows, so that pip does not also fetch a newer
# build with gigabytes of CUDA. For the smallest download where PyPI's build is the CUDA one:
#   make setup TORCH="torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu"
# and for a GPU: make setup TORCH=torch
TORCH ?= torch==2.13.0

# Tables and reports: from which results, for which pairs ("--pair qwen-coder"; empty: the paper's), what else.
RESULTS ?= results/paper
PAIRS ?=
ARGS ?=

# The demo: every method on every built-in task, for one pair of each of the paper's scenarios.
DEMO ?= results/demo
DEMO_PAIRS ?= --pair complementary --pair forgetting --pair capacity
DEMO_METHODS ?= draft,assistant,speculative,average,cosd-rule,cosd-tree,co-llm
DEMO_METHODS_OF_THREE ?= draft,assistant,speculative,average,cosd-rule,cosd-tree
DEMO_LIMIT ?= 20

# Two processes with one thread each: small models gain nothing from more, and would wait for each other.
JOBS ?= 2
ONE_THREAD := OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive
PYTEST := $(ONE_THREAD) $(BIN)/python -m pytest -n $(JOBS)

TABLES := table2 table3 table5 table6 table7 table8 figure2 swapped pair1-all

.PHONY: setup demo test test-slow check format golden bench report tables clean $(TABLES)

setup: $(READY)

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "cosd-eval needs Python 3.10 or newer: make setup PYTHON=python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -c 'import torch' 2>/dev/null || $(BIN)/python -m pip install --quiet $(TORCH)
	$(BIN)/python -m pip install --quiet -e '.[dev]'
	touch $@

demo: $(READY)
	$(BIN)/cosd-eval run $(DEMO_PAIRS) --tasks builtin --methods $(DEMO_METHODS) --limit $(DEMO_LIMIT) \
		--out $(DEMO) --batch-size 20 --confirm-run-unsafe-code
	$(BIN)/cosd-eval run --pair builtin-trio --tasks builtin --methods $(DEMO_METHODS_OF_THREE) --limit $(DEMO_LIMIT) \
		--out $(DEMO) --batch-size 20 --confirm-run-unsafe-code
	$(BIN)/cosd-eval table scores --results $(DEMO)

test: $(READY)
	$(PYTEST)

test-slow: $(READY)
	$(ONE_THREAD) $(BIN)/python -m pytest -m slow

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(TABLES): $(READY)
	$(BIN)/cosd-eval table $@ --results $(RESULTS) $(PAIRS) --published $(ARGS)

tables: $(TABLES)

report: $(READY)
	$(BIN)/cosd-eval report --results $(RESULTS) --output $(RESULTS)/report.html $(ARGS)

# On purpose only: rewrites the exact counts that the regression test holds every change to. Look at the difference.
golden: $(READY)
	COSD_REWRITE_GOLDEN=1 $(ONE_THREAD) $(BIN)/python -m pytest tests/golden
	git --no-pager diff --stat -- tests/golden

bench: $(READY)
	$(BIN)/cosd-eval bench $(ARGS)

clean:
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
