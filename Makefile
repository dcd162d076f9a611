# Every target sets itself up: a virtual environment in .venv, installed once.
PYTHON ?= python3
BIN := .venv/bin
CONFIG ?= configs/digits_ga.py

.PHONY: help demo test test-all test-data test-colabs colabs test-processes test-slurm bench docs lint \
  format clean

help:
	@echo "make demo    poison, retrain, certify and report on digits (minutes, two cores)"
	@echo "make test    lint and the tests: minutes, as CI runs them"
	@echo "make test-all   with the long ones, twice as many minutes"
	@echo "make test-data DATA_DIR=FOLDER   the loaders and a short attack on MNIST and CIFAR-10"
	@echo "make test-colabs   execute every colab;  make colabs: and write its .ipynb"
	@echo "make test-processes   runs of two and four processes, killed at random: 20 minutes"
	@echo "make test-slurm   a run under Slurm, whose daemons it starts (Debian, as root)"
	@echo "make bench   speed ratios, side by side in one run, into bench.json"
	@echo "make lint    ruff and the type checker;  make format: ruff's fixes and layout"
	@echo "make docs    the documentation as a site, docs/_build/html"
	@echo "make clean   remove .venv"

demo: .venv/installed
	$(BIN)/python main.py --config=$(CONFIG)

test: lint
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -q -m "not long" tests

# Those, too, that `make test` has no time for.
test-all: lint
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -q tests

# MNIST and CIFAR-10 as TFDS prepares them: make test-data DATA_DIR=FOLDER
test-data: .venv/installed_test
	PACD_DATA_DIR=$(DATA_DIR) $(BIN)/python -m pytest -q tests/heavy/real_data.py

# Every colab top to bottom, under three minutes each; `colabs` keeps what they show.
test-colabs: .venv/installed_colabs
	$(BIN)/python tests/heavy/run_colabs.py

colabs: .venv/installed_colabs
	$(BIN)/python tests/heavy/run_colabs.py --write

# Real processes on this machine, compared with one, and killed at random moments.
test-processes: .venv/installed_test
	$(BIN)/python -m pytest -q -s tests/heavy/processes_runs.py

# Slurm's daemons on this machine, a run of the smoke config requeued in mid-run.
test-slurm: .venv/installed
	BIN=$(BIN) tests/heavy/slurm_run.sh

bench: .venv/installed_bench
	$(BIN)/python -m pacd_jax.bench

docs: .venv/installed_docs
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

lint: .venv/installed_test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyrefly check

format: .venv/installed_test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv

.venv/installed: setup.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "error: $(PYTHON) is older than 3.11: use make PYTHON=python3.12, say"; exit 2; }
	@echo "Installing into .venv (about a minute)"
	@$(PYTHON) -m venv .venv || \
	  { echo "error: $(PYTHON) cannot make virtual environments: install its venv package"; exit 2; }
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable .
	@touch $@

.venv/installed_test: .venv/installed
	@echo "Installing the test tools into .venv"
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@

.venv/installed_colabs: .venv/installed_test
	@echo "Installing what executes notebooks into .venv"
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[test,colabs]'
	@touch $@

.venv/installed_docs: .venv/installed
	@echo "Installing what builds the documentation into .venv"
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[docs]'
	@touch $@

.venv/installed_bench: .venv/installed
	@echo "Installing PyTorch, which the benchmark measures against, into .venv"
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[bench]'
	@touch $@
