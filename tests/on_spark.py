"""All models on Spark, in a process of their own: relations come from Parquet, and every table goes to Parquet.

Takes a folder with `<schema>.<relation>.parquet` of what the models read, and one to write `<schema>.<relation>`
into. Where the cluster and its tables are, the environment says: see `dbt_podcast/profiles.yml`.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from dbt.cli.main import dbtRunner

from flows.settings import DBT_PROJECT

SCHEMAS = ("bronze", "silver", "gold", "ops")
VIEWS = ("bronze.classified_events", "ops.failing_lines", "ops.warehouse_accounting")
"""What is written of the views: those that no table has all rows of."""


def main(inputs: Path, outputs: Path) -> None:
    os.environ["DBT_TARGET_PATH"] = os.environ["DBT_LOG_PATH"] = str(outputs / "dbt")
    dbt("debug", "--connection")
    spark = session()
    for path in sorted(inputs.glob("*.parquet")):
        carry_in(spark, path)
    dbt("build", "--exclude-resource-type", "seed", "test", "unit_test")
    for name in [*tables(spark), *VIEWS]:
        spark.table(name).coalesce(1).write.parquet(str(outputs / name))
    spark.stop()


def dbt(*command: str) -> None:
    """One of dbt's commands; a failed one ends the process, with what dbt says of it."""
    folders = ("--project-dir", str(DBT_PROJECT), "--profiles-dir", str(DBT_PROJECT))
    result = dbtRunner().invoke([*command, "--target", "spark", *folders])
    if not result.success:
        raise SystemExit(f"dbt {command[0]} failed: {result.exception or 'see above'}")


def session() -> Any:
    """The session that dbt has opened, as the profile says."""
    from pyspark.sql import SparkSession

    found = SparkSession.getActiveSession()
    assert found is not None
    return found


def carry_in(spark: Any, path: Path) -> None:
    """The relation anew. (A table cannot be replaced in place, and is dropped first.)"""
    name = path.name.removesuffix(".parquet")
    spark.sql(f"create schema if not exists {name.partition('.')[0]}")
    spark.sql(f"drop table if exists {name}")
    spark.read.parquet(str(path)).write.saveAsTable(name, format="parquet")


def tables(spark: Any) -> list[str]:
    found = ((schema, table) for schema in SCHEMAS for table in spark.catalog.listTables(schema))
    return [f"{schema}.{table.name}" for schema, table in found if table.tableType == "MANAGED"]


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
