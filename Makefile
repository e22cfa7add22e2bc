# Each target does its own set-up: a virtual environment in .venv, the package and its development extras.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed

.PHONY: demo test native bench bench-peers figures lint types golden schema crash fuzz schemathesis clean

$(READY): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $(READY)

demo: $(READY)
	$(BIN)/chartbridge demo

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(READY)
	$(BIN)/mypy

# One worker a core; a worker that has nothing left takes over from another.
test: lint types
	$(BIN)/pytest --numprocesses auto --dist worksteal

crash: $(READY)
	$(BIN)/pytest -m crash

# Each target for so many seconds; what is found is kept in build/fuzz and tried first the next time.
FUZZ_SECONDS ?= 60
fuzz: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[fuzz]'
	$(BIN)/python -m tests.fuzz --seconds $(FUZZ_SECONDS)

# The OpenAPI document against a server, for longer than in the tests.
SCHEMATHESIS_SECONDS ?= 600
schemathesis: export SCHEMATHESIS_SECONDS := $(SCHEMATHESIS_SECONDS)
schemathesis: export SCHEMATHESIS_EXAMPLES := 200
schemathesis: $(READY)
	$(BIN)/pytest tests/adapter/clients/test_schemathesis.py

# The packages with their hot path compiled to C, in build/native; again only where a source changed.
native: $(READY)
	$(BIN)/python -m tools.native

# Without a C compiler as plain Python: the table's head says which. SIZE: of the site that the API is asked about;
# ONLY: part of an area's name. docs/benchmarks.md says what each line means.
SIZE ?= 24000
ONLY ?=
bench: $(READY)
	-$(BIN)/python -m tools.native
	PYTHONPATH=build/native $(BIN)/chartbridge bench --size $(SIZE) --only '$(ONLY)'

# The same documents through other Python converters, each in an environment of its own.
bench-peers: $(READY)
	-$(BIN)/python -m tools.native
	PYTHONPATH=build/native:. $(BIN)/python -P -m tools.bench_peers

figures: $(READY)
	$(BIN)/python -m tools.figures

golden: $(READY)
	CHARTBRIDGE_GOLDEN=write $(BIN)/pytest tests/mappings

schema: $(READY)
	$(BIN)/python tools/compile_fhir.py

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist
