# Everything a newcomer needs is here; `make help` lists it.
#
# For pytest runs of your own, keep the test services running in the background:
#     eval "$(make -s services-up)"     sets TEST_DATABASE_URL and TEST_REDIS_URL
#     .venv/bin/pytest tests/promos
#     make services-down

PYTHON ?= python3
ARGS ?=
DEV = @exec $(PYTHON) -m dev

.DEFAULT_GOAL := help
.PHONY: help run test test-quick check format bench quality services-up services-down clean

help: ## List these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

run: ## Set up what is missing, then run the whole system (PORT=, AUSPEX_DATA=)
	$(DEV) run

test: ## Run all tests (ARGS="-k holds" goes to pytest)
	$(DEV) test $(ARGS)

test-quick: ## Run the tests that take seconds
	$(DEV) test -m "not slow" $(ARGS)

check: ## Run every gate: lint, format, types, imports, schema, migrations, lock
	$(DEV) check

format: ## Format and mend what the linter can mend
	$(DEV) format

bench: ## Measure speed (ARGS go to benchmarks/run.py)
	$(DEV) bench $(ARGS)

quality: ## Measure the models on public data (ARGS go to benchmarks/quality.py)
	$(DEV) quality $(ARGS)

services-up: ## Keep PostgreSQL and Redis for tests running; prints their export lines
	$(DEV) services-up

services-down: ## Stop them
	$(DEV) services-down

clean: ## Remove build outputs and caches (never data)
	$(DEV) clean
