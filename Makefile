# Everything runs in .venv, made from requirements.lock; nothing is installed outside it.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Twice quiet: only errors.
PIP := $(BIN)/pip -qq --disable-pip-version-check
COMPILE := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate

.PHONY: help
help: ## Show this help
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-17s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "syncer needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	@echo "Set-up 1/3: a virtual environment in $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@echo "Set-up 2/3: installing $$(grep -c '^[a-z].*==' requirements.lock) packages, PostgreSQL among them: a minute or two"
	@# The lock is whole, so nothing is resolved: pip's resolver would look past a pin for name[extra].
	@$(PIP) install --no-deps --require-hashes -r requirements.lock
	@echo "Set-up 3/3: syncer itself"
	@$(PIP) install --no-deps --no-build-isolation --no-index -e .
	@found=$$($(BIN)/pip check --disable-pip-version-check 2>/dev/null) || { echo "$$found"; exit 1; }
	@touch $@

.PHONY: setup
setup: $(READY) ## Make the virtual environment

.PHONY: demo
demo: $(READY) ## See it work: simulator, PostgreSQL, two syncs, the drift between
	@$(BIN)/syncer demo

.PHONY: sync
sync: $(READY) ## One run with your credentials (ZENLAYER_ACCESS_KEY_ID, ..._SECRET)
	@$(BIN)/syncer sync

.PHONY: test
test: $(READY) ## The whole test suite, on the embedded PostgreSQL
	@# What pytest compiles of 130 modules is kept, also where the environment forbids it.
	env -u PYTHONDONTWRITEBYTECODE $(BIN)/pytest -q -n 4

.PHONY: dashboards-check
dashboards-check: $(READY) ## Rows and time of every panel on a year of history: a minute
	SYNCER_TEST_YEAR=1 $(BIN)/pytest -q -s tests/deploy/test_grafana.py

.PHONY: lint
lint: $(READY) ## ruff, mypy, import rules, migrations
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/syncer db upgrade --sql | \
	  $(BIN)/squawk --pg-version 15 -e prefer-robust-stmts -e require-timeout-settings -e prefer-bigint-over-int -e prefer-text-field

.PHONY: schema
schema: $(READY) ## Write migrations/schema.sql and views.md: what all migrations come to; and the JSON Schemas
	$(BIN)/python -m tests.store.schema_sql
	$(BIN)/python -m tests.cli.schemas

.PHONY: build
build: $(READY) ## The wheel and the source archive, in dist/
	$(BIN)/python -m hatchling build

.PHONY: install-systemd
install-systemd: ## Program, units and settings on this server (DESTDIR, PREFIX, PYTHON)
	@DESTDIR='$(DESTDIR)' PREFIX='$(PREFIX)' PYTHON='$(PYTHON)' deploy/systemd/install.sh

.PHONY: install-cron
install-cron: ## The same for a server without systemd: a cron job and its user
	@DESTDIR='$(DESTDIR)' PREFIX='$(PREFIX)' PYTHON='$(PYTHON)' deploy/systemd/install.sh cron

.PHONY: uninstall-systemd uninstall-cron
uninstall-cron: uninstall-systemd ## Remove what was installed; PURGE=1: with data and settings
uninstall-systemd: ## The same
	@DESTDIR='$(DESTDIR)' PREFIX='$(PREFIX)' deploy/systemd/uninstall.sh $(if $(PURGE),--purge)

.PHONY: lock
lock: $(READY) ## Renew requirements.lock and its parts in deploy/ (needs uv)
	printf 'hatchling\neditables\n' > $(VENV)/build.in
	$(COMPILE) --extra embedded --extra fast --extra dev pyproject.toml $(VENV)/build.in -o requirements.lock
	$(COMPILE) --extra embedded --extra fast --extra distributed -c requirements.lock pyproject.toml -o deploy/run.lock
	echo hatchling | $(COMPILE) -c requirements.lock - -o deploy/build.lock

.PHONY: clean
clean: ## Remove what make made
	rm -rf $(VENV) dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
