"""Moving over to Spark and back: every table equal, and no run that has more to do than what is new."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import duckdb
import pytest
from checksum_rows import COLUMNS, ROWS
from engine_place import FEWEST, SAMPLE, Place, assert_same, corrections, land, on_spark
from spark_installed import skip_unless_installed

from flows import checksums
from flows.settings import PROJECT_ROOT
from flows.spark_tables import as_signed

pytestmark = [pytest.mark.engines, pytest.mark.timeout(3600)]

ALTERED = """
import sys
from flows import spark
fill = spark.fill
def fill_otherwise(connection, settings, table, filling):
    if table.name == "gold.dim_users":
        filling = filling.replace(" country", " upper(concat(country, '!'))")
    fill(connection, settings, table, filling)
spark.fill = fill_otherwise
"""
"""A copy that has every row, and in one column of one table something else."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    skip_unless_installed()
    return on_spark(tmp_path_factory.mktemp("migration") / "home", "local[2]")


def query(place: Place, sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(place.home / "warehouse" / "podcast.duckdb")) as connection:
        return connection.execute(sql).fetchall()


def layouts(place: Place) -> list[tuple[Any, ...]]:
    """Every table and view of the working database with its columns."""
    return query(
        place,
        """
        select table_schema, table_name, table_type, list((column_name, data_type) order by column_name)
        from information_schema.tables inner join information_schema.columns using (table_schema, table_name)
        where table_schema in ('bronze', 'silver', 'gold', 'ops')
        group by all order by all
        """,
    )


def moved(place: Place, engine: str) -> dict[str, int]:
    """The rows of each table that has been moved."""
    found = json.loads(place.podcast("migrate", "--to", engine, "--json", engine="duckdb"))
    assert (found["engine"], found["is_moved"]) == (engine, True)
    assert all(table["is_equal"] and int(table["checksum"], 16) >= 0 for table in found["tables"])
    return {table["relation"]: table["rows"] for table in found["tables"]}


def run_with(place: Place, names: list[Path], engine: str) -> None:
    """A run over files that have landed, which works on these and on no other batch."""
    status = place.run(engine=engine)
    assert status["status"] == "passed"
    assert status["published_batches"] + len(status["quarantined"]) == len(names)
    loaded = dict(query(place, "select filename, row_count from ops.batches"))
    assert status["run"]["lines"] == sum(loaded[str(name)] for name in names)
    assert status["warehouse"]["lines"] == sum(loaded.values()) > status["run"]["lines"]


def land_samples(place: Place, names: list[Path]) -> None:
    for name in names:
        land(place, name, (SAMPLE / name).read_bytes())


def refused(place: Place, engine: str, *, within: str | None = None) -> str:
    done = place.start("migrate", "--to", engine, engine="duckdb", within=within)
    assert done.returncode == 1, done.stderr
    assert "nothing was switched" in done.stderr
    return str(done.stderr)


def kill_while_copying(place: Place) -> None:
    """End the command at once when a part of the tables is copied."""
    files = place.home / "warehouse" / "spark" / "tables" / "gold.db" / "dim_users"
    with subprocess.Popen(
        [place.python.with_name("podcast"), "migrate", "--to", "spark"],
        env=place.environment("duckdb"), cwd=place.ran_in,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        end = time.monotonic() + 600
        while not any(file.stat().st_size > 2000 for file in files.glob("*.parquet")):
            assert process.poll() is None, "it ended before it was killed"
            assert time.monotonic() < end
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)


def test_moving_over_and_back_copies_every_row_and_rebuilds_none(place: Place) -> None:
    files = sorted(path.relative_to(SAMPLE) for path in SAMPLE.rglob("*") if path.is_file())
    early, late, last = files[:3], files[3:5], files[5:]
    land_samples(place, early)
    assert place.run(engine="duckdb")["status"] == "passed"
    before, published = layouts(place), place.published()

    # a copy that is not equal, and one that was cut off: the tables of before go on
    assert "gold.dim_users, column country: checksum" in refused(place, "spark", within=ALTERED)
    kill_while_copying(place)
    assert layouts(place) == before
    assert place.run(engine="duckdb")["status"] == "nothing_new"

    copied = moved(place, "spark")
    assert copied["gold.fact_user_interactions"] >= 1000
    assert {name for name in FEWEST if name not in ("silver.users", "silver.episodes")} <= set(copied)
    assert {name for name, rows in copied.items() if name in published and rows != len(published[name])} == set()
    assert place.run()["status"] == "nothing_new"
    assert json.loads(place.podcast("migrate", "--to", "spark", "--json")) == {
        "engine": "spark", "is_moved": False, "tables": [],
    }  # fmt: skip

    # an increment on Spark
    land_samples(place, late)
    land(place, Path("corrections.ndjson"), corrections(place))
    run_with(place, [*late, Path("corrections.ndjson")], "spark")
    on_spark = place.published()
    assert [row for row in on_spark["gold.fact_user_interactions"] if 77 in row]

    # back, where the tables are not yet what Spark has
    ((view,),) = query(place, "select sql from duckdb_views() where schema_name = 'gold' and view_name = 'dim_users'")
    query(
        place,
        "create or replace view gold.dim_users as from (" + view.rstrip("; \n").partition(" AS ")[2] + ") limit 1",
    )
    assert "gold.dim_users, rows: 1 in DuckDB" in refused(place, "duckdb")
    query(place, view.replace("CREATE VIEW", "create or replace view"))
    moved(place, "duckdb")
    assert layouts(place) == before
    assert place.published() == on_spark
    assert place.run(engine="duckdb")["status"] == "nothing_new"

    # an increment by DuckDB
    land_samples(place, last)
    run_with(place, last, "duckdb")
    by_both = place.published()

    # all of it by DuckDB alone
    place.podcast("run", "--full-refresh", engine="duckdb")
    assert_same(by_both, place.published())


def test_spark_and_duckdb_work_out_the_same_sums(place: Place, tmp_path: Path) -> None:
    """Of everything that they could write differently."""
    there = [(name, "bigint" if type_ == "ubigint" else type_) for name, type_ in COLUMNS]
    there = [(name, "decimal(38,0)" if type_ == "hugeint" else type_) for name, type_ in there]
    with duckdb.connect() as connection:
        connection.execute(f"create table t ({', '.join(f'{name} {type_}' for name, type_ in COLUMNS)})")
        connection.executemany(f"insert into t values ({', '.join('?' * len(COLUMNS))})", ROWS)
        here = connection.execute(checksums.query("t", COLUMNS, checksums.DUCKDB)).fetchall()[0]
        values = [as_signed(name) if type_ == "ubigint" else name for name, type_ in COLUMNS]
        casts = [f"cast({value} as {type_}) as {name}" for value, (name, type_) in zip(values, there, strict=True)]
        connection.execute(f"copy (select {', '.join(casts)} from t) to '{tmp_path}/t.parquet'")
    done = subprocess.run(
        [sys.executable, str(PROJECT_ROOT / "tests" / "on_spark_sums.py"), f"{tmp_path}/t.parquet", json.dumps(there)],
        env=place.environment("spark") | {"PYTHONPATH": str(PROJECT_ROOT)}, cwd=tmp_path,
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    found = checksums.read(json.loads(done.stdout), there)
    assert checksums.differences("t", checksums.read(here, COLUMNS), found) == []
