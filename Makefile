# `make test` is for everybody, the rest for those who work on mailcanary.
SHELL := /bin/sh
VENV := .venv
PY := $(VENV)/bin/python
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	if command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then echo $$p; break; fi; done)
# How often the long proofs repeat: small in `make test`, full in `make prove`.
PROOFS ?= 1

.PHONY: help demo test prove bench check format dashboards locks tools environment dev-environment clean

help:
	@echo 'make demo    watch mailcanary watch a Microsoft 365 that breaks, until Ctrl-C (FOR=60s: squeezed into that time)'
	@echo 'make test    run every test (PEERS=install installs the real mail servers by apt first)'
	@echo 'make check   linter, types, laws of architecture, formatting'
	@echo 'make bench   what it costs and how exact it is, as docs/performance.md has it (half an hour)'
	@echo 'make dashboards  write the dashboards of Grafana anew'
	@echo 'make prove   the tests with the full counts of the long proofs'

tools:
	@if [ -z '$(PYTHON)' ]; then \
		echo 'mailcanary needs Python 3.11 or newer: install the package python3 (Debian, Ubuntu: apt install python3 python3-venv; macOS: brew install python)' >&2; exit 1; fi
	@if ! $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null; then \
		echo 'mailcanary needs the module venv: install the package python3-venv (Debian, Ubuntu: apt install python3-venv)' >&2; exit 1; fi

environment: $(VENV)/.installed
dev-environment: $(VENV)/.installed-dev

$(VENV)/.installed: requirements.lock pyproject.toml | tools
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	@$(PY) -m pip --version >/dev/null 2>&1 || $(PY) -m ensurepip --upgrade >/dev/null
	$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements.lock
	$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --no-index -e .
	@touch $@

$(VENV)/.installed-dev: requirements-dev.lock $(VENV)/.installed
	$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements-dev.lock
	@touch $@

demo: environment
	@$(VENV)/bin/mailcanary demo $(if $(FOR),--for $(FOR))

test: dev-environment
	@if [ "$$CI" = true ] || [ '$(PEERS)' = install ]; then sh tests/peers-install.sh; fi
	MAILCANARY_PROOFS=$(PROOFS) $(PY) -m pytest -q

prove:
	$(MAKE) test PROOFS=1000

bench: dev-environment
	$(PY) -m tests.bench

check: dev-environment
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

format: dev-environment
	$(VENV)/bin/ruff check --fix
	$(VENV)/bin/ruff format

dashboards: dev-environment
	$(PY) -m grafana

# Needs uv. The lock files hold versions and hashes and name no host.
locks:
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate pyproject.toml --group build -o requirements.lock
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate pyproject.toml --group build --group test --group check -o requirements-dev.lock

clean:
	rm -rf $(VENV) tests/node_modules .mypy_cache .ruff_cache .pytest_cache .hypothesis
