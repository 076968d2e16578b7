"""All models on a standalone cluster of Spark: the rows of DuckDB, after a first load and after what changes it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from conftest import Home
from engine_world import ALONE, OF_EACH_RUN, Stage, World, assert_floors, compared
from growth.cluster import start_cluster
from spark_installed import skip_unless_installed

from flows.settings import PROJECT_ROOT

pytestmark = [pytest.mark.engines, pytest.mark.timeout(3600)]

SESSION = (
    "--driver-memory 1g --conf spark.executor.memory=640m --conf spark.driver.host=127.0.0.1 "
    "--conf spark.ui.enabled=false --conf spark.sql.shuffle.partitions=2 pyspark-shell"
)


def build(master: str, tables: Path, inputs: Path, outputs: Path) -> None:
    """All models, made of the relations in one folder, on a cluster that keeps its tables in another."""
    environment = os.environ | {
        "DBT_PODCAST_SPARK_MASTER": master,
        "DBT_PODCAST_SPARK_WAREHOUSE": str(tables),
        "PYSPARK_SUBMIT_ARGS": SESSION,
        "PYTHONPATH": str(PROJECT_ROOT),
        "SPARK_LOCAL_IP": "127.0.0.1",
    }
    command = [sys.executable, str(PROJECT_ROOT / "tests" / "on_spark.py"), str(inputs), str(outputs)]
    done = subprocess.run(
        command, env=environment, cwd=outputs, capture_output=True, text=True, timeout=1700, check=False
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, prefect: None) -> Iterator[World]:  # noqa: ARG001
    skip_unless_installed()
    folder = tmp_path_factory.mktemp("engines")
    with pytest.MonkeyPatch.context() as patch, start_cluster(folder / "cluster") as cluster:
        tables = folder / "spark"
        tables.mkdir()
        yield World(Home(folder / "home", patch), tables, partial(build, cluster.address, tables), hashes="bigint")


@pytest.fixture(scope="module")
def first(world: World) -> Stage:
    return world.first()


@pytest.fixture(scope="module")
def later(world: World, first: Stage) -> Stage:
    return world.later(first)


def test_the_first_load_gives_the_rows_of_duckdb(first: Stage) -> None:
    assert first.differing(compared(first)) == []
    assert_floors(first)


def test_what_changes_gives_the_rows_of_duckdb(first: Stage, later: Stage) -> None:
    assert later.differing([name for name in compared(later) if name not in OF_EACH_RUN]) == []
    assert_floors(later)
    facts = "select interaction_id from gold.fact_user_interactions"
    assert set(first.query(facts)) - set(later.query(facts)), "nothing has left"
    assert set(later.query(facts)) - set(first.query(facts)), "nothing has come"


def test_a_day_that_lost_its_only_event_is_gone(world: World, first: Stage, later: Stage) -> None:
    day = ALONE[:10]
    on_that_day = f"select 1 from gold.fact_user_interactions where event_date = '{day}'"
    assert (len(first.query(on_that_day)), len(later.query(on_that_day))) == (1, 0)
    left = [*world.folder.rglob(f"partition_day={day}"), *world.folder.rglob(f"event_date={day}")]
    assert left == []


def test_no_sql_for_spark_has_double_quotes(later: Stage) -> None:
    """They would be texts there, not names: dbt's adapter switches off the mode in which they are names."""
    compiled = list((later.there / "dbt" / "compiled").rglob("models/**/*.sql"))
    assert len(compiled) > 40
    found = [path.name for path in compiled if '"' in re.sub(r"--.*|'[^']*'", "", path.read_text())]
    assert found == []
