# Everything here works on a bare machine with Python 3.11 or newer, pip and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# One thread a test process: two processes on two cores, and results that do not depend on the machine's size.
TEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help tutorial serve test test-quick test-gpu contract lint format bench bench-quick bench-gpu clean

help: ## Show these targets.
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Tuningfork needs Python 3.11 or newer; say which with: make PYTHON=/path/to/python3.12 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[plot]'
	@touch $@

$(VENV)/.installed-dev: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[plot,dev]'
	@touch $@ $(VENV)/.installed

tutorial: $(VENV)/.installed ## Tune a model on fifteen examples and watch it generalize (KEEP=1 keeps the server).
	@$(BIN)/tuningfork tutorial

serve: $(VENV)/.installed ## Start a server that stays.
	@$(BIN)/tuningfork serve

test: $(VENV)/.installed-dev ## Run the whole suite (all but the tests that need a GPU).
	$(TEST) -m "not gpu"

test-quick: $(VENV)/.installed-dev ## Run what takes seconds.
	$(TEST) -m "not gpu and not slow and not acceptance and not contract"

test-gpu: $(VENV)/.installed-dev ## Compare a GPU with the CPU (needs one, and torch's build for it).
	CUBLAS_WORKSPACE_CONFIG=:4096:8 $(BIN)/python -m pytest -m gpu

contract: $(VENV)/.installed-dev ## Run Google's SDKs and other clients, unmodified, against a live server.
	$(TEST) -m contract

lint: $(VENV)/.installed-dev ## Check style, types and layering.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.installed-dev ## Rewrite the sources in the house style.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.installed-dev ## Measure all, beside peers in their own environments; writes docs/performance.md.
	-$(BIN)/python bench/peers.py
	$(BIN)/python bench/training_step.py
	$(BIN)/python bench/many_jobs.py
	$(BIN)/python bench/tutorial_job.py
	$(BIN)/python bench/decode.py
	$(BIN)/python bench/prefix.py
	$(BIN)/python bench/service_overhead.py
	$(BIN)/python bench/many_models.py
	$(BIN)/python bench/report.py --show
	$(BIN)/python bench/report.py

bench-quick: $(VENV)/.installed-dev ## Measure the main comparisons in some five minutes, with the peers that are there, without vLLM.
	$(BIN)/python bench/training_step.py --quick
	$(BIN)/python bench/many_jobs.py --quick
	$(BIN)/python bench/tutorial_job.py --quick
	$(BIN)/python bench/decode.py --quick --only transformers

bench-gpu: $(VENV)/.installed-dev ## Measure what needs a GPU, beside peers in their own environments.
	$(BIN)/python bench/gpu.py --device cuda

clean: ## Remove what the other targets made.
	rm -rf $(VENV) bench/.peers .tutorial .contract .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
