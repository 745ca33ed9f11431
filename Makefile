# Two commands for a fresh machine: `make demo` and `make test`. Everything else is for developers.
SHELL := /bin/bash
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
STAMP := .venv/.complete
export PYTHONUTF8 := 1

.PHONY: help setup demo test serve bench lint types layers data docs docs-check rules-report check lock chromium clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 12

setup: $(STAMP) ## make .venv with everything pinned; leaves .venv/bin/qingdan

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "需要 Python 3.11 或更新版本（当前 $(PYTHON)）"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: setup ## check, group and report a month of 2,000 made-up lists
	$(BIN)/qingdan demo run

serve: setup ## the page and the API on http://127.0.0.1:8000
	$(BIN)/qingdan serve

test: setup chromium ## all tests; what this machine cannot run is skipped by name
	$(BIN)/python -m pytest -n auto --dist loadgroup $(TESTS)

chromium:
	@command -v chromium >/dev/null || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    echo "安装 chromium（浏览器测试用）"; \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-noto-cjk >/dev/null; \
	  fi; } || echo "未能安装 chromium：浏览器测试将被跳过"

bench: setup ## every speed budget, as ratios within one run
	@for file in benchmarks/*.py; do [ "$$(basename $$file)" = __init__.py ] || { echo "== $$file"; $(BIN)/python -m benchmarks.$$(basename $$file .py) || exit 1; }; done

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

layers: setup
	$(BIN)/lint-imports

data: setup ## every shipped pack against its manifest
	$(BIN)/qingdan packs verify

docs: setup ## write the generated pages
	$(BIN)/python -m qc_rules.catalogue

docs-check: setup ## the generated pages are up to date; that the examples of docs/ hold is among the tests
	$(BIN)/python -m qc_rules.catalogue --check
	$(BIN)/python -m api.demo.rules_report --check

rules-report: setup ## per rule: planted mistakes found, missed, false alarms on 5,000 clean lists
	$(BIN)/python -m api.demo.rules_report

check: lint types layers data docs-check

lock: ## pin the dependencies anew (hashes, no addresses)
	$(BIN)/pip-compile -q --extra dev --extra benchmark --generate-hashes --allow-unsafe --strip-extras \
	  --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-header --no-annotate \
	  -o requirements.lock pyproject.toml

clean:
	rm -rf .venv var
