# `make up` and `make test` do all the set-up on a fresh machine; the second time they are quick.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help up test check soak bench clean

help: ## Say what there is
	@sed -n 's/^\([a-z]*\):.*## /  make \1 \t/p' Makefile

up: ## Install, and run mcp-compose.yaml in the foreground (ENGINE=process: without containers)
	@scripts/up

test: ## Install, bring an engine and the clients, check the code, run every test
	@scripts/test

check: ## Lint and type-check
	@scripts/install dev && scripts/check

soak: ## Run the long rows whole (hours at worst)
	@scripts/soak

bench: ## Measure, and print the table
	@scripts/bench

clean: ## Remove what was installed here
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
