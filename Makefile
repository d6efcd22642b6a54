# SPDX-License-Identifier: GPL-3.0-or-later
#
# The front door. Every target does its own set-up (dev/setup), on a machine that has seen nothing of this yet.

.DEFAULT_GOAL := help
SHELL := /bin/sh
PYTHON := .venv/bin/python
export PATH := $(CURDIR)/.venv/bin:$(PATH):/usr/local/sbin:/usr/sbin:/sbin

LEVELS = lint types docs unit fuzz conformance sanity scenarios cluster crash molecule oldest-core

.PHONY: help
help: ## Show this list
	@echo "make TARGET, where TARGET is one of"
	@sed -n 's/^\([a-z$$()A-Z-]*\):.*## \(.*\)/    \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | sed 's/$$(LEVELS)/LEVEL/' | expand -t 16
	@echo "LEVEL is one of: $(LEVELS)"

.PHONY: demo
demo: ## A rolling update of six simulated nodes of both tools, and a migration [CONTAINERFILE=path] [CONTEXT=directory] [NODES=number]
	@dev/setup lab
	@dev/as-root $(PYTHON) -m lab.demo $(if $(CONTAINERFILE),--containerfile '$(CONTAINERFILE)') $(if $(CONTEXT),--context '$(CONTEXT)') $(if $(NODES),--nodes '$(NODES)')

.PHONY: test
test: ## Every test and gate [LEVELS=unit,lint]
	@dev/setup dev
	@dev/as-root --if-possible $(PYTHON) dev/run_tests.py $(if $(filter command line,$(origin LEVELS)),--levels '$(LEVELS)')

.PHONY: $(LEVELS)
$(LEVELS): ## Only this level of the tests [SECONDS=number, for fuzz]
	@dev/setup dev
	@dev/as-root --if-possible $(PYTHON) dev/run_tests.py --levels $@

# How long `make fuzz SECONDS=…` fuzzes with atheris; a shell's own SECONDS does not count.
ifeq ($(origin SECONDS),command line)
export FUZZ_SECONDS := $(SECONDS)
endif

.PHONY: test-crash
test-crash: ## Rollouts struck at every step, and run again; `make test` takes a sample [CASES=number] [ARGS="--list"]
	@dev/setup dev
	@dev/as-root $(PYTHON) -m crash $(if $(CASES),--cases '$(CASES)') $(ARGS)

.PHONY: test-hosts
test-hosts: ## Checks on real hosts: INVENTORY=file [LIMIT=pattern] [IMAGES=v1,v2] [ALLOW_REBOOT=1] [ARGS="…"]
	@test -n '$(INVENTORY)' || { echo 'usage: make test-hosts INVENTORY=file, see docs/testing-on-hosts.md' >&2; exit 2; }
	@dev/setup dev
	@$(PYTHON) -m hosts --inventory '$(INVENTORY)' --limit '$(or $(LIMIT),all)' --images '$(IMAGES)' $(if $(filter 1 yes true,$(ALLOW_REBOOT)),--allow-reboot) -- $(ARGS)

.PHONY: lab
lab: ## The node lab by hand [ARGS="--help"]
	@dev/setup lab
	@dev/as-root $(PYTHON) -m lab $(ARGS)

.PHONY: bench
bench: ## What a task costs on a node, compared with a plain command, and what a build costs
	@dev/setup dev
	@dev/as-root $(PYTHON) -m lab.bench $(ARGS)

.PHONY: setup
setup: ## The set-up alone: system packages and .venv
	@dev/setup dev

.PHONY: format
format: ## Let ruff format the Python code
	@dev/setup dev
	@.venv/bin/ruff check --fix --quiet . ; .venv/bin/ruff format .

.PHONY: clean
clean: ## Remove what the targets above made in this checkout: .venv, caches and logs
	@if [ -e .lab/lab.json ] && [ -x $(PYTHON) ]; then dev/as-root $(PYTHON) -m lab down; fi
	@rm -rf .venv .cache .lab .ansible .mypy_cache .pytest_cache .ruff_cache .hypothesis dist tests/output changelogs/.plugin-cache.yaml
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
