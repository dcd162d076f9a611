# Every target sets itself up: a virtual environment in .venv, installed once from lock.txt.
PYTHON ?= python3
VENV ?= .venv
# Exact versions; empty (make LOCK=): the newest ones that setup.py allows.
LOCK ?= lock.txt
BIN := $(VENV)/bin
# Wheels alone, so that nothing is compiled; but `promise`, of pure Python, has none.
WHEELS = $(shell sed -n '/^promise==/d; s/==.*//p' $(LOCK) | paste -s -d , -)
LOCKED = --constraint=$(LOCK) --only-binary=$(WHEELS)
PIP = $(BIN)/pip install --quiet --disable-pip-version-check --no-compile \
  $(if $(LOCK),$(LOCKED),--upgrade --upgrade-strategy eager) --editable
# Bytecode on all cores, which pip would write on one.
COMPILE = $(BIN)/python -m compileall -q -j 0 $(VENV)/lib >/dev/null || true
UNFIT = { echo "error: not installed: $(or $(LOCK),setup.py) does not fit $(PYTHON), or a package" \
  "cannot be fetched: use Python 3.11 to 3.13 (make PYTHON=python3.12), or the newest" \
  "versions (make LOCK=)"; exit 2; }
CONFIG ?= configs/digits_ga.py
CHROMIUM ?= $(shell which chromium chromium-browser google-chrome 2>/dev/null | head -n 1)

.PHONY: help demo test test-all test-data test-colabs colabs test-page has-chromium \
  test-processes test-slurm test-kills test-smokes test-surroundings test-torch test-newest \
  test-pythons bench gpu-report docs lock lint format clean

help:
	@echo "make demo    poison, retrain, certify and report on digits (minutes, two cores)"
	@echo "make test    lint and the tests: minutes, as CI runs them"
	@echo "make test-all   with the long ones, twice as many minutes"
	@echo "make test-data DATA_DIR=FOLDER   the loaders and a short attack on MNIST and CIFAR-10"
	@echo "make test-colabs   execute every colab;  make colabs: and write its .ipynb"
	@echo "make test-page   the pages of runs and the docs in Chromium (apt install chromium)"
	@echo "make test-processes   runs of two and four processes, killed at random: 20 minutes"
	@echo "make test-kills  SIGKILL at 1,000 moments of runs: hours;  make test-surroundings: full disks"
	@echo "make test-smokes  the smoke run of every config (DATA_DIR=FOLDER): an hour"
	@echo "make test-torch   PyTorch's modules beside the networks here: minutes"
	@echo "make test-slurm   a run under Slurm, whose daemons it starts (Debian, as root)"
	@echo "make gpu-report  rates of an accelerator, into docs/gpu.md (DATA_DIR=FOLDER)"
	@echo "make bench   speed ratios, side by side in one run, into bench.json"
	@echo "make lint    ruff and the type checker;  make format: ruff's fixes and layout"
	@echo "make docs    the documentation as a site, docs/_build/html"
	@echo "make test-newest   the tests with the newest versions, in .venv-newest"
	@echo "make test-pythons   the same under Python 3.11, 3.12 and 3.13, each in its environment"
	@echo "make VENV=.venv-newest LOCK= lock   these become lock.txt"
	@echo "make clean   remove .venv and .venv-*"

demo: $(VENV)/installed
	$(BIN)/python main.py --config=$(CONFIG)

test: lint
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -q -m "not long" tests

# Those, too, that `make test` has no time for.
test-all: has-chromium lint
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -q tests
	$(MAKE) test-page docs

# MNIST and CIFAR-10 as TFDS prepares them: make test-data DATA_DIR=FOLDER
test-data: $(VENV)/installed_test
	PACD_DATA_DIR=$(DATA_DIR) $(BIN)/python -m pytest -q tests/heavy/real_data.py

# Every colab top to bottom, under three minutes each; `colabs` keeps what they show.
test-colabs: $(VENV)/installed_colabs
	$(BIN)/python tests/heavy/run_colabs.py

colabs: $(VENV)/installed_colabs
	$(BIN)/python tests/heavy/run_colabs.py --write

# The pages of tiny runs and the site in a browser: the system's, or make CHROMIUM=PATH.
test-page: has-chromium $(VENV)/installed_page docs
	CHROMIUM=$(CHROMIUM) $(BIN)/python -m pytest -q tests/heavy/docs_site.py tests/heavy/page.py

has-chromium:
	@test -f "$(CHROMIUM)" -a -x "$(CHROMIUM)" || \
	  { echo "error: no Chromium found: apt install chromium, or make CHROMIUM=PATH"; exit 2; }

# Real processes on this machine, compared with one, and killed at random moments.
test-processes: $(VENV)/installed_test
	$(BIN)/python -m pytest -q -s tests/heavy/processes_runs.py

# SIGKILL at random moments, and what the runs leave; started again, it goes on: hours.
test-kills: $(VENV)/installed
	$(BIN)/python tests/heavy/kills.py --kills=$(or $(KILLS),1000)

# docs/pytorch.md, and its modules beside the networks that their weights are of.
test-torch: $(VENV)/installed_test $(VENV)/installed_bench
	$(BIN)/python tests/heavy/torch_models.py

# Full disks, read-only folders and clocks that jump, at moments of every stage.
test-surroundings: $(VENV)/installed
	$(BIN)/python tests/heavy/failing_folder.py

# The smoke run of every config, each under two minutes, then under other JAX settings.
test-smokes: $(VENV)/installed
	$(BIN)/python tests/heavy/smokes.py --data_dir=$(DATA_DIR)
	$(BIN)/python tests/heavy/smokes.py --data_dir=$(DATA_DIR) --settings=strict

# Slurm's daemons on this machine, a run of the smoke config requeued in mid-run.
test-slurm: $(VENV)/installed
	BIN=$(BIN) tests/heavy/slurm_run.sh

bench: $(VENV)/installed_bench
	$(BIN)/python -m pacd_jax.bench

# MNIST as TFDS prepares it: make gpu-report DATA_DIR=FOLDER
gpu-report: $(VENV)/installed
	$(BIN)/python -m pacd_jax.bench.gpu_report --data_dir=$(DATA_DIR)

docs: $(VENV)/installed_docs
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

# The same with the newest versions that setup.py allows, in an environment of its own.
test-newest:
	rm -f .venv-newest/installed*
	$(MAKE) VENV=.venv-newest LOCK= test

# And under each Python: make test-pythons PYTHONS="3.12 3.13"
test-pythons:
	for version in $(or $(PYTHONS),3.11 3.12 3.13); do \
	  rm -f .venv-$$version/installed*; \
	  $(MAKE) PYTHON=python$$version VENV=.venv-$$version LOCK= test || exit 1; \
	done

# The versions in VENV become the tested ones: make VENV=.venv-newest LOCK= lock.
lock: $(VENV)/installed_colabs $(VENV)/installed_docs $(VENV)/installed_page
	@{ echo "# Versions that the tests passed with (Python 3.11): the Makefile installs these."; \
	  echo "# Written by make lock."; \
	  $(BIN)/pip freeze --disable-pip-version-check --exclude-editable; } > lock.txt

lint: $(VENV)/installed_test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyrefly check

format: $(VENV)/installed_test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) .venv-*

$(VENV)/bin/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "error: $(PYTHON) is older than 3.11: use make PYTHON=python3.12, say"; exit 2; }
	@$(PYTHON) -m venv $(VENV) || \
	  { echo "error: $(PYTHON) cannot make virtual environments: install its venv package"; exit 2; }

$(VENV)/installed: setup.py $(LOCK) | $(VENV)/bin/pip
	@echo "Installing into $(VENV) (about a minute)"
	@$(PIP) . || $(UNFIT)
	@$(COMPILE)
	@touch $@

$(VENV)/installed_test: setup.py $(LOCK) | $(VENV)/bin/pip
	@echo "Installing the package and the test tools into $(VENV) (about two minutes)"
	@$(PIP) '.[test]' || $(UNFIT)
	@$(COMPILE)
	@touch $(VENV)/installed $@

$(VENV)/installed_docs: $(VENV)/installed
	@echo "Installing what builds the documentation into $(VENV)"
	@$(PIP) '.[docs]' || $(UNFIT)
	@$(COMPILE)
	@touch $@

$(VENV)/installed_colabs: $(VENV)/installed_test
	@echo "Installing what executes notebooks into $(VENV)"
	@$(PIP) '.[test,colabs]' || $(UNFIT)
	@$(COMPILE)
	@touch $@

$(VENV)/installed_page: $(VENV)/installed_test
	@echo "Installing what drives a browser into $(VENV)"
	@$(PIP) '.[test,page]' || $(UNFIT)
	@$(COMPILE)
	@touch $@

$(VENV)/installed_bench: $(VENV)/installed
	@echo "Installing PyTorch, which the benchmark measures against, into $(VENV)"
	@$(PIP) '.[bench]' || $(UNFIT)
	@$(COMPILE)
	@touch $@
