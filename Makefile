# make demo: the bundled trio at work. make test: lint, types, tests. Each sets itself up.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
INSTALLED_DEV := $(VENV)/.installed-dev

.PHONY: demo test test-slow lint types clean

demo: $(INSTALLED)
	$(BIN)/trimix-cpp demo

test: lint types
	$(BIN)/python -m pytest

# What needs PyTorch: equality with transformers, llama.cpp's own converter.
test-slow: $(INSTALLED_DEV)
	$(BIN)/python -m pip install -q -e '.[dev,train]'
	$(BIN)/python -m pytest -m slow

lint: $(INSTALLED_DEV)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(INSTALLED_DEV)
	$(BIN)/python tools/typecheck.py

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# llama-cpp-python compiles llama.cpp here: minutes, once.
$(INSTALLED): pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install -e .
	touch $@

$(INSTALLED_DEV): pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install -e '.[dev]'
	touch $@ $(INSTALLED)

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache
