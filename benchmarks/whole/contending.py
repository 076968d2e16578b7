"""The contenders of a first load: each a command over the same files, in a folder of its own."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import duckdb

from flows import loading, reference_files, transform, versions
from flows.planning import plan_run
from flows.settings import DBT_PROJECT, Settings, load_settings
from flows.warehouse import connect
from whole.data import Data
from whole.running import BENCH_PYTHON, BENCHMARKS, Ran, podcast_environment, run_pipeline, size, tool, watch

CONTENDERS = BENCHMARKS / "contenders"


def pipeline(data: Data, folder: Path) -> tuple[Ran, int]:
    """`podcast run`, with everything a run does."""
    ran = run_pipeline(folder / "home", data.landing, data.seeds)
    return ran, size(folder / "home" / "warehouse")


def by_hand(data: Data, folder: Path) -> tuple[Ran, int]:
    """The hand-written script."""
    database = folder / "by_hand.duckdb"
    options = ("--landing", data.landing, "--seeds", data.seeds, "--database", database)
    ran = watch([tool("python"), CONTENDERS / "by_hand.py", *options], {}, folder / "run.txt")
    return ran, size(database)


def dbt_build(data: Data, folder: Path) -> tuple[Ran, int]:
    """`dbt build` of the pipeline's own models and data tests, over lines that are loaded before."""
    settings = settings_of(folder / "home", data)
    with connect(settings) as connection:
        versions.enter(connection, settings.reference_hash())
        loading.load_files(connection, plan_run(settings, connection).arrivals, run_id="benchmark")
    command = dbt_command("build", settings, folder)
    ran = watch([*command, "--exclude-resource-type", "unit_test"], dbt_environment(settings), folder / "run.txt")
    return ran, size(settings.warehouse_path)


def plain_dbt(data: Data, folder: Path) -> tuple[Ran, int]:
    """An ordinary dbt project over the files, as a team would begin."""
    project, database = CONTENDERS / "plain_dbt", folder / "plain.duckdb"
    environment = {
        "PLAIN_DATABASE": str(database),
        "PLAIN_LANDING": str(data.landing),
        "PLAIN_SEEDS": str(data.seeds),
        "DBT_LOG_PATH": str(folder / "logs"),
    }
    options = ("--project-dir", project, "--profiles-dir", project, "--target-path", folder / "target")
    ran = watch([tool("dbt"), "build", *options], environment, folder / "run.txt")
    return _noted(ran, database, "main.stg_events", "main.fct_events"), size(database)


def dlt(data: Data, folder: Path) -> tuple[Ran, int]:
    """dlt, loading only."""
    database = folder / "dlt.duckdb"
    command = [BENCH_PYTHON, "-m", "contenders.dlt_load", "--landing", data.landing, "--database", database]
    environment = {"DLT_DATA_DIR": str(folder / "dlt"), "PYTHONPATH": str(BENCHMARKS)}
    ran = watch(command, environment, folder / "run.txt")
    return _noted(ran, database, "landed.events"), size(database)


FIRST_LOADS = {
    "pipeline": pipeline,
    "by hand": by_hand,
    "dbt build, loaded before": dbt_build,
    "dlt, loading only": dlt,
    "plain dbt": plain_dbt,
}
"""By name, in the order in which they take turns."""


def settings_of(home: Path, data: Data) -> Settings:
    """The pipeline's settings for a home and data."""
    os.environ |= podcast_environment(home, data.landing, data.seeds)
    return load_settings()


def dbt_command(command: str, settings: Settings, folder: Path) -> list[str | Path]:
    """One of dbt's commands over the project of the pipeline."""
    return [
        tool("dbt"), command,
        "--project-dir", DBT_PROJECT,
        "--profiles-dir", DBT_PROJECT,
        "--target-path", folder / "target",
        "--vars", json.dumps(settings.dbt_vars(), sort_keys=True),
    ]  # fmt: skip


def dbt_environment(settings: Settings) -> Mapping[str, str]:
    """What the project reads, with a copy of the reference data that stays."""
    kept = settings.home / "staged"
    kept.mkdir(parents=True, exist_ok=True)
    files = {
        f"DBT_PODCAST_{source.name.upper()}_FILES": json.dumps(transform._described(source, kept))  # noqa: SLF001 - the one place that knows
        for source in reference_files.find(settings.seeds)
    }
    before = dict(os.environ)
    with transform._environment(settings, files):  # noqa: SLF001 - likewise
        return {name: value for name, value in os.environ.items() if before.get(name) != value}


def _noted(ran: Ran, database: Path, *tables: str) -> Ran:
    """With the rows of tables."""
    with duckdb.connect(str(database), read_only=True) as connection:
        counts = {
            table: (connection.execute(f"select count(*) from {table}").fetchone() or (0,))[0] for table in tables
        }
    return replace(ran, notes={"rows": counts})
