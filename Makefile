# Two commands do everything on a fresh machine: `make quickstart` and `make test`. `make` alone lists the rest.
SHELL := /bin/bash
.DEFAULT_GOAL := help

PYTHONS := 3.13 3.12 3.11
SANDBOX := sandbox

export ANSIBLE_HOME := $(CURDIR)/.cache/ansible
export ANSIBLE_COLLECTIONS_PATH := $(CURDIR)/.cache/collections
export ANSIBLE_LOCALHOST_WARNING := false
export ANSIBLE_INVENTORY_UNPARSED_WARNING := false
export ANSIBLE_DISPLAY_SKIPPED_HOSTS := false
export ANSIBLE_DISPLAY_OK_HOSTS := false
export PATH := $(CURDIR)/.venv/bin:$(PATH)

# Upstream's archives beside the repo are taken when nobody says where they are.
ifndef KUBEFLOW_MIRROR
ifneq ($(wildcard ../shared/mirror),)
export KUBEFLOW_MIRROR := $(abspath ../shared/mirror)
endif
endif

# More arguments for every playbook: make site ARGS="--check --diff", make quickstart ARGS="-e kubeflow_version=v1.10.2".
export ARGS
PLAY = ansible-playbook --inventory inventories/$(SANDBOX) $(ARGS)

.PHONY: help run-env dev-env quickstart sandbox sandbox-down site plan status test test-all fresh lint sanity unit integration molecule bench docs clean

help: ## list these targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 16

run-env:
	@scripts/venv.sh .venv requirements-run.txt $(PYTHONS)
	@scripts/collections.sh

dev-env:
	@scripts/venv.sh .venv requirements-dev.txt $(PYTHONS)
	@scripts/venv.sh .venv-2.16 requirements-2.16.txt 3.11
	@scripts/collections.sh

quickstart: ## a sandbox on this machine, the whole platform on it, and its health
	@scripts/quickstart.sh

sandbox: run-env ## only the sandbox
	$(PLAY) mlplatform.kubeflow.sandbox

sandbox-down: run-env ## remove the sandbox: no process and no file of it stays
	$(PLAY) mlplatform.kubeflow.sandbox --extra-vars sandbox_state=absent

site plan status: run-env ## site, plan, status: one of these playbooks on the sandbox
	$(PLAY) mlplatform.kubeflow.$@

test: dev-env ## everything that CI runs
	@python scripts/check.py

lint sanity unit integration molecule: dev-env ## lint, sanity, unit, integration, molecule: only that part of the tests
	@python scripts/check.py $@

test-all: dev-env ## the tests with everything that takes long (every fault, 20 kills), first runs from nothing, the benchmark
	@scripts/chromium.sh
	@KUBEFLOW_EXHAUSTIVE=1 python scripts/check.py
	@scripts/fresh.sh 26.03 v1.10.2
	@$(MAKE) --no-print-directory bench

fresh: ## make quickstart in a clean clone with an empty cache, for both releases (half an hour)
	@scripts/fresh.sh 26.03 v1.10.2

bench: dev-env ## install, no-op and backup beside kubectl, kubernetes.core and rclone
	@scripts/mariadb.sh
	@scripts/rclone.sh
	@PYTHONPATH=$(ANSIBLE_COLLECTIONS_PATH) python tests/benchmarks/bench.py

docs: dev-env ## write the README of every role from its argument specs
	@python scripts/role_docs.py

clean: ## remove what was built in this folder; the cache of your home stays
	rm -rf .venv .venv-2.16 .cache .ansible tests/output inventories/results
