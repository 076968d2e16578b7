# Needs Python 3.11 to 3.13 and make, nothing else.
PYTHON ?= python3
VENV := .venv
BENCH_VENV := .venv-bench
SNOWFLAKE_VENV := .venv-snowflake
EMULATOR_VENV := .venv-emulator
BIN := $(VENV)/bin
# Compiled bytecode halves the start of every command; some machines switch it off.
unexport PYTHONDONTWRITEBYTECODE
# Usage statistics stay off, also for the tools a developer calls by hand from here.
export DO_NOT_TRACK := 1
# For make kill.
KILLS ?= 1000
SEED ?= 1

.PHONY: help setup setup-spark setup-dask run ui test test-unit test-long test-engines test-engines-short bench bench-reporting bench-reference bench-marts bench-latency bench-engines bench-loading kill lint lock clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

$(VENV)/uv.stamp: requirements/uv.lock
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11, 3.12 or 3.13 is needed, this is " + sys.version.split()[0] + "; name another with make PYTHON=python3.12 ...") if not (3, 11) <= sys.version_info[:2] <= (3, 13) else None'
	@echo "Setting up $(VENV) (once)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.lock
	@touch $@

$(VENV)/run.stamp: requirements/run.lock pyproject.toml | $(VENV)/uv.stamp
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes --compile-bytecode -r requirements/run.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/dev.stamp: requirements/dev.lock $(VENV)/run.stamp
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes --compile-bytecode -r requirements/dev.lock
	@touch $@

# In two steps, since pyspark is built from its sources, by what the first step installs.
$(VENV)/spark.stamp: requirements/spark.lock | $(VENV)/run.stamp
	@sed -n '/^setuptools==/,/^ *# via/p' requirements/spark.lock \
	  | $(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes --compile-bytecode -r -
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes --no-build-isolation-package pyspark -r requirements/spark.lock
	@touch $@

$(VENV)/dask.stamp: requirements/dask.lock | $(VENV)/run.stamp
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes --compile-bytecode -r requirements/dask.lock
	@touch $@

# In an environment of its own: what the pipeline runs with stays as it is.
$(BENCH_VENV)/bench.stamp: requirements/bench.lock | $(VENV)/uv.stamp
	@$(PYTHON) -m venv $(BENCH_VENV)
	@$(BIN)/uv pip install --quiet --python $(BENCH_VENV)/bin/python --require-hashes --compile-bytecode -r requirements/bench.lock
	@touch $@

$(SNOWFLAKE_VENV)/snowflake.stamp: requirements/snowflake.lock pyproject.toml | $(VENV)/uv.stamp
	@$(PYTHON) -m venv $(SNOWFLAKE_VENV)
	@$(BIN)/uv pip install --quiet --python $(SNOWFLAKE_VENV)/bin/python --require-hashes --compile-bytecode -r requirements/snowflake.lock
	@$(BIN)/uv pip install --quiet --python $(SNOWFLAKE_VENV)/bin/python --no-deps --no-build-isolation --editable .
	@touch $@

$(EMULATOR_VENV)/emulator.stamp: requirements/emulator.lock | $(VENV)/uv.stamp
	@$(PYTHON) -m venv $(EMULATOR_VENV)
	@$(BIN)/uv pip install --quiet --python $(EMULATOR_VENV)/bin/python --require-hashes --compile-bytecode -r requirements/emulator.lock
	@touch $@

setup: $(VENV)/run.stamp ## install the pinned packages into .venv

run: setup ## run the pipeline over data/landing
	@$(BIN)/podcast run

setup-spark: $(VENV)/spark.stamp ## and what PODCAST_ENGINE=spark needs, but for Java 17 or 21

setup-dask: $(VENV)/dask.stamp ## and what PODCAST_LOADING=dask needs

ui: setup ## Prefect server, worker, deployments and the site on 127.0.0.1; Ctrl-C stops all
	@$(BIN)/podcast ui

test: $(VENV)/dev.stamp ## lint, types and all tests
	@$(MAKE) --no-print-directory lint
	@$(BIN)/pytest
	@echo "Not run here, as they need Java and more packages: the tests of Spark, Snowflake and Dask (make test-engines-short, or all of them, for hours: make test-engines)"

test-unit: $(VENV)/dev.stamp ## the fast tests only
	@$(BIN)/pytest tests/unit

test-long: $(VENV)/dev.stamp ## a kill at every named step, random histories of faults and decisions, and random listening, for an hour or more
	@$(BIN)/python tests/kills/harness.py
	@$(BIN)/pytest tests/properties/test_recovery.py tests/properties/test_sessions.py --hypothesis-profile=long --timeout=0

test-engines-short: $(VENV)/dev.stamp $(VENV)/spark.stamp $(VENV)/dask.stamp setup-snowflake ## of those of the next line, one whole run with each of them
	@$(BIN)/pytest -m "engines and short"

test-engines: $(VENV)/dev.stamp $(VENV)/spark.stamp $(VENV)/dask.stamp setup-snowflake ## Spark and Dask on clusters of this machine, the first of which needs Java 17, and an emulated Snowflake
	@$(BIN)/pytest -m engines --numprocesses=0

bench: setup $(BENCH_VENV)/bench.stamp ## the whole pipeline beside a hand-written script, plain dbt and dlt; hours, or BENCH="--events 100000"
	@$(BIN)/python benchmarks/whole_pipeline.py $(BENCH)

bench-reporting: setup ## what the report of a run costs after 10, 100 and 1,000 runs
	@$(BIN)/python benchmarks/reporting.py

bench-reference: setup ## what 1 and 5 million users cost as reference data, as Parquet and as CSV parts
	@$(BIN)/python benchmarks/reference.py

bench-marts: setup ## what gold costs with 1 and 4 million events, made anew and with ten thousand new ones
	@$(BIN)/python benchmarks/marts.py

bench-latency: setup ## how long a file takes from its landing to its rows in the published copy, ten times
	@$(BIN)/python benchmarks/latency.py

bench-engines: setup $(VENV)/spark.stamp $(BENCH_VENV)/bench.stamp ## whole runs on DuckDB and on Spark with 1, 5 and 20 million events; hours, or BENCH="--events 100000"
	@$(BIN)/python benchmarks/engines.py $(BENCH)

bench-loading: setup $(VENV)/dask.stamp $(BENCH_VENV)/bench.stamp ## loading a million events by the run, by processes and by workers of Dask
	@$(BIN)/python benchmarks/loading.py

kill: $(VENV)/dev.stamp ## kill the pipeline KILLS=1000 times (SEED=1) and count what is lost; about 6 seconds each
	@$(BIN)/python tests/kills/harness.py --kills $(KILLS) --seed $(SEED)

.PHONY: setup-snowflake
setup-snowflake: $(SNOWFLAKE_VENV)/snowflake.stamp $(EMULATOR_VENV)/emulator.stamp ## what Snowflake as the engine needs, in .venv-snowflake, and an emulator of it for the tests

lint: $(VENV)/dev.stamp ## ruff, mypy, the import rules and sqlfluff
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports
	@$(BIN)/sqlfluff lint --disable-progress-bar dbt_podcast

lock: $(VENV)/uv.stamp ## pin again (versions and hashes, no addresses)
	@for name in run dev; do \
	  $(BIN)/uv pip compile --quiet --generate-hashes --universal --no-strip-extras --no-header \
	    --python-version 3.11 $$( [ $$name = dev ] && echo --group dev ) pyproject.toml -o requirements/$$name.lock; done
	@$(BIN)/uv pip compile --quiet --generate-hashes --universal --no-strip-extras --no-header --python-version 3.11 \
	  --constraint requirements/run.lock --group pyproject.toml:bench -o requirements/bench.lock
	@$(BIN)/uv pip compile --quiet --generate-hashes --universal --no-strip-extras --no-header --python-version 3.11 \
	  --constraint requirements/run.lock --extra spark pyproject.toml -o requirements/spark.lock
	@$(BIN)/uv pip compile --quiet --generate-hashes --universal --no-strip-extras --no-header --python-version 3.11 \
	  --constraint requirements/run.lock --extra dask pyproject.toml -o requirements/dask.lock
	@cp requirements/run.lock requirements/snowflake.lock # what is in it already stays, where it can
	@$(BIN)/uv pip compile --quiet --generate-hashes --universal --no-strip-extras --no-header --python-version 3.11 \
	  --extra snowflake pyproject.toml -o requirements/snowflake.lock
	@$(BIN)/uv pip compile --quiet --generate-hashes --universal --no-strip-extras --no-header --python-version 3.11 \
	  --group pyproject.toml:emulator -o requirements/emulator.lock

clean: ## remove .venv and everything the pipeline made
	@rm -rf $(VENV) $(BENCH_VENV) $(SNOWFLAKE_VENV) $(EMULATOR_VENV) data/benchmarks data/warehouse data/quarantine data/site data/lineage data/dbt data/gx data/prefect data/metrics \
	  data/mask.key data/api.token data/watcher.lock
