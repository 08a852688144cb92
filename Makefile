# make book: from an empty machine to the rendered book.   make test: unit tests and every chapter, quick.
# Needs Python 3.11 (or 3.10 and later) and make. In an environment of your own, conda's for instance,
# say `make book PY=python`: then no .venv is made and nothing is installed.

PYTHON   ?= $(shell command -v python3.11 || command -v python3)
PY       ?= .venv/bin/python
PIPFLAGS ?=
PORT     ?= 8000

# The install is wanted only where the interpreter is ours.
INSTALLED := $(if $(filter .venv/bin/python,$(PY)),.venv/installed)
BUILD     := $(PY) book/_scripts/build.py

.PHONY: book test lint benchmarks serve clean distclean
.DEFAULT_GOAL := book

book: $(INSTALLED)
	$(BUILD) book

test: $(INSTALLED)
	@$(BUILD) test

lint: $(INSTALLED)
	$(PY) -m ruff check .
	$(PY) -m pytest -q tests/test_layers.py

# Tables, never timed tests: each bench_*.py prints its own.
benchmarks: $(INSTALLED)
	@for file in tests/benchmarks/bench_*.py; do \
		[ -e "$$file" ] || { echo "tests/benchmarks holds no bench_*.py"; exit 0; }; \
		echo "== $$file"; $(PY) "$$file" || exit 1; done

serve:
	@test -e _build/html/index.html || { echo "No book yet: run 'make book' first."; exit 1; }
	$(PYTHON) -m http.server --directory _build/html --bind 127.0.0.1 $(PORT)

clean:
	rm -rf _build .cache .pytest_cache .ruff_cache interp.egg-info

distclean: clean
	rm -rf .venv

# torch and torchvision in one call, so that pip picks a pair that fits.
.venv/installed: pyproject.toml
	@test -n "$(PYTHON)" || { echo "No python3.11 and no python3 on the PATH: install Python 3.11."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or later is needed")'
	test -x .venv/bin/python || $(PYTHON) -m venv .venv
	.venv/bin/python -m pip install $(PIPFLAGS) --editable ".[book,test,dev]"
	@touch $@
