"""The checksums of a Parquet file by Spark, in a process of its own; takes its path and its columns as JSON."""

from __future__ import annotations

import json
import sys

from pyspark.sql import SparkSession

from flows import checksums


def main(path: str, columns: str) -> None:
    settings = {"spark.sql.session.timeZone": "UTC", "spark.sql.timestampType": "TIMESTAMP_NTZ"}
    spark = SparkSession.builder.config(map=settings).getOrCreate()
    spark.sql("set spark.sql.ansi.enabled = false")  # as dbt does before each statement
    sql = checksums.query(f"parquet.`{path}`", json.loads(columns), checksums.SPARK)
    found = spark.sql(sql).collect()[0]
    sys.stdout.write(json.dumps([None if value is None else str(value) for value in found]))
    spark.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
