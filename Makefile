# Everything works from a fresh clone with Python 3.11: each target sets up what it needs.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
WORKERS ?= 2
JAX_VENV := .venv-jax
JAX_STAMP := $(JAX_VENV)/.installed

PIP_INSTALL := -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: setup demo test test-slow test-jax bench lint format clean

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python $(PIP_INSTALL) -e '.[dev]'
	touch $@

demo: setup
	$(BIN)/python export/demo.py --out build/demo

# A file's tests share what they make, so files are what workers take.
test: setup
	$(BIN)/python -m pytest -m 'not slow' -n $(WORKERS) --dist loadfile

test-slow: setup test-jax
	$(BIN)/python -m pytest -m slow

# The builders need Keras alone: an environment with JAX instead of TensorFlow proves it.
test-jax: $(JAX_STAMP)
	KERAS_BACKEND=jax $(JAX_VENV)/bin/python -m pytest tests/jax_backend.py

$(JAX_STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(JAX_VENV)
	$(JAX_VENV)/bin/python $(PIP_INSTALL) keras jax pillow rich scipy wrapt pytest
	$(JAX_VENV)/bin/python $(PIP_INSTALL) --no-deps -e .
	touch $@

# Times every zoo entry and figure against the stock converter, on a machine that is otherwise idle.
bench: setup
	$(BIN)/python benchmarks/run.py

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf build dist $(VENV) $(JAX_VENV)
