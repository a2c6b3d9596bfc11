# Everything a contributor or a new user runs. Each target makes .venv first, and again only when pyproject.toml
# or constraints.txt changed, so the second time works offline.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Test files run beside each other: most of their time is waiting for processes. 0: one after another.
WORKERS ?= auto

.PHONY: demo test check bench bench-scaling examples format clean help

help:            ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/'

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Plimsoll needs Python 3.11 or newer; try: make PYTHON=python3.11"; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $(STAMP)

demo: $(STAMP)   ## serve the sentiment example on this machine
	@$(BIN)/plimsoll up examples/sentiment/service.yaml

test: $(STAMP) examples  ## all tests; prints what it skipped and how to get it
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

examples: $(STAMP) ## train and export the models that the examples serve
	@$(BIN)/python examples/digits/train.py --if-missing

check: $(STAMP)  ## format, lint, types, import rules, generated files
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python scripts/check_generated.py
	@$(BIN)/python scripts/generate_chart.py

format: $(STAMP) ## format and mend what ruff can
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: $(STAMP)  ## side-by-side benchmarks; prints tables with ratios
	@$(BIN)/python bench/run.py

# Recorded traffic is looked for in the folder that PLIMSOLL_TRACES names (bench/README.md lists the files).
bench-scaling: $(STAMP)  ## scaling policies on recorded traffic, beside each other and beside the oracle
	@$(BIN)/python bench/scaling.py

clean:
	rm -rf $(VENV) dist build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache

upgrade:         ## take the newest versions of every dependency and write them to constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade --upgrade-strategy eager -e '.[dev]'
	{ head -1 constraints.txt; $(BIN)/python -m pip freeze --exclude-editable; } > constraints.new && mv constraints.new constraints.txt
