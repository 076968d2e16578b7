"""How Spark looks up the rows that an increment replaces: by a hash, never each row beside each other one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from spark_installed import skip_unless_installed

from flows import transform
from flows.settings import load_settings

pytestmark = [pytest.mark.engines, pytest.mark.timeout(600)]

QUIET = "--conf spark.ui.enabled=false --conf spark.driver.host=127.0.0.1"
LEAVES = "(held.key_hash in (select key_hash from touched) and held.at in (select event_at from touched))"
LOOK = """
import json, sys
from pyspark.sql import SparkSession
spark = SparkSession.builder.master("local[1]").getOrCreate()
spark.sql("create table held using parquet as select nullif(id, 7) as key_hash, id as at from range(1000)")
spark.sql("create table touched using parquet as select id as key_hash, id as event_at from range(10)")
found = spark.sql(f"select at from held where {sys.argv[1]}")
plan = found._jdf.queryExecution().executedPlan().toString()
print(json.dumps({"plan": plan, "rows": sorted(row["at"] for row in found.collect())}))
"""


@pytest.mark.short
def test_rows_that_stay_are_found_by_a_hash_and_those_without_a_key_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    skip_unless_installed()
    monkeypatch.setenv("PODCAST_HOME", str(tmp_path / "home"))
    settings = load_settings()
    settings.warehouse_path.parent.mkdir(parents=True)
    stays = transform._inline(settings, f"spark_stays({json.dumps(LEAVES)})", "duckdb")
    done = subprocess.run(
        [sys.executable, "-c", LOOK, stays], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=True,
        env=os.environ | {"SPARK_LOCAL_IP": "127.0.0.1", "PYSPARK_SUBMIT_ARGS": f"{QUIET} pyspark-shell"},
    )  # fmt: skip
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["rows"] == [7, *range(10, 1000)]
    assert "HashJoin" in found["plan"]
    assert "NestedLoop" not in found["plan"]
