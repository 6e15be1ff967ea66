# The two commands that matter: make demo, make test. Each sets up what it needs.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
SELECT := not slow
# set-up is done when this file is newer than what it depends on
READY  := $(VENV)/.ready

.PHONY: setup demo test slow explore cases reference fuzz soak lint types contract check lock bench clean

setup: $(READY)

$(READY): constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "stixbridge needs Python 3.11 or newer; try make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

demo: setup
	$(BIN)/stixbridge demo

# everything but the slow suites, in parallel; prints the CPU seconds of each suite
test: setup
	$(BIN)/python -m pytest -n auto -m "$(SELECT)"

# write the expected output of tests/cases anew; read the diff
cases: setup
	PYTHONPATH=tests $(BIN)/python -m cases.write

# kill, fault and differential suites; SHORTER=5 for a fifth of the kills and examples
SHORTER ?= 1
slow: setup
	SHORTER=$(SHORTER) $(BIN)/python -m pytest -n auto -m slow

# the generated tests with examples that no run had before; what fails becomes an example of its own
explore: setup
	EXPLORE=1 $(BIN)/python -m pytest -n auto -m "slow or not slow" tests/conversion/test_laws.py tests/conversion/test_every_type.py \
	  tests/pipeline/test_incremental.py tests/conversion/test_pattern.py tests/conversion/test_original_objects.py

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	.ci/commit-messages

types: setup
	$(BIN)/mypy

contract: setup
	$(BIN)/lint-imports

check: lint types contract test

# write the pages and the JSON Schema that come from the code
reference: setup
	$(BIN)/python -m stixbridge.mapping.reference > docs/mapping.md
	$(BIN)/python -m stixbridge.enrich.rules.reference > docs/rules.md
	$(BIN)/python -m stixbridge.config.reference > docs/configuration.md
	$(BIN)/python -m stixbridge.cli.reference > docs/cli.md
	$(BIN)/stixbridge schema > src/stixbridge/config/stixbridge.schema.json

# coverage-guided fuzzing of the reader and the pattern parser: make fuzz SECONDS=600
SECONDS ?= 60
fuzz: setup
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r tests/fuzz/requirements.txt
	PYTHONPATH=tests $(BIN)/python -m fuzz.run --seconds $(SECONDS)

# an hour of runs against every server, with faults and kills at random: writes docs/reliability.md
SOAK ?= 3600
soak: setup
	PYTHONPATH=tests $(BIN)/python -m soak.run --seconds $(SOAK)

bench: setup
	$(BIN)/python -m benchmarks

# pin the newest versions that pyproject.toml allows; review the diff
lock: setup
	$(BIN)/python -m piptools compile --quiet --strip-extras --allow-unsafe --generate-hashes --no-header \
	  --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --no-annotate --upgrade \
	  --output-file constraints.txt requirements.in

clean:
	rm -rf $(VENV) demo-out .mypy_cache .ruff_cache .pytest_cache .hypothesis
