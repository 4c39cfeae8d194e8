# make run    set up, then train and compare three models     make test    set up, then run every test
# Each target installs what it needs into .venv, at the versions in constraints.txt; a second call installs nothing.

# Any Python from 3.11 to 3.14; the first that is found. Another one: make PYTHON=/path/to/python3.13
PYTHON ?= $(shell for name in python3 python3.14 python3.13 python3.12 python3.11 python; do \
  if $$name -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 15))' 2>/dev/null; \
  then echo $$name; break; fi; done)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet install -c constraints.txt
TORCH_CPU := https://download.pytorch.org/whl/cpu
SPEEDS := reading ngram scale smoothing networks vocabulary scoring report
RUN_OPTIONS ?= --budget 45s

.DEFAULT_GOAL := help
.PHONY: help run test lint format bench clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(VENV)/installed  ## install, then compare n-gram, LSTM and GPT on the embedded corpus (three minutes)
	$(BIN)/lmbench run --models ngram,lstm,gpt $(RUN_OPTIONS)

test: $(VENV)/installed-test  ## install what the tests need, then run them all
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist loadfile

lint: $(VENV)/installed-dev  ## formatter, linter and type checker
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(VENV)/installed-dev  ## let the formatter and the linter mend what they can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/installed-test  ## speed measurements (tests/benchmarks)
	@for name in $(SPEEDS); do echo "$$name"; $(BIN)/python tests/benchmarks/$$name.py || exit 1; done

clean:  ## remove the environment, caches and builds; results stay
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# torch goes first and alone: a machine with Linux and no NVIDIA driver takes the small CPU build, where it is offered.
$(VENV)/installed: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "lmbench needs Python 3.11 to 3.14, and none was found. Install one," \
	  "or name it: make PYTHON=/path/to/python3.12" >&2; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 15))' || { echo "lmbench needs" \
	  "Python 3.11 to 3.14, and $(PYTHON) is another version. Name one: make PYTHON=/path/to/python3.12" >&2; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "$(PYTHON) cannot make a virtual" \
	  "environment; on Debian and Ubuntu install the package python3-venv." >&2; exit 2; }
	@echo "Installing into $(VENV) (once; torch is the large part) ..." >&2
	@if test "$$(uname -s)" = Linux && ! command -v nvidia-smi >/dev/null \
	  && $(BIN)/python -c 'import urllib.request as r; r.urlopen("$(TORCH_CPU)/torch/", timeout=5)' 2>/dev/null; \
	  then $(PIP) --extra-index-url $(TORCH_CPU) torch; else $(PIP) torch; fi
	@$(PIP) hatchling editables
	@$(PIP) --no-build-isolation -e .
	@touch $@

$(VENV)/installed-test: $(VENV)/installed
	@$(PIP) --no-build-isolation -e '.[test]'
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed-test
	@$(PIP) --no-build-isolation -e '.[dev]'
	@touch $@
