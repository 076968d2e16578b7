"""What readers have on Spark's side, over files that lie as Spark's tables do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from flows import spark_published
from flows.errors import PublishError
from flows.spark_tables import quoted

TABLES = ("gold.fact_listens", "gold.dim_podcasts", "ops.runs")


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute("attach ':memory:' as published; create schema published.gold; create schema published.ops")
        connection.execute("create schema gold; create schema ops")
        connection.execute("create table published.ops.runs as select 'r1' as run_id")
        connection.execute("create view gold.dim_podcasts as select null::varchar as podcast_id where false")
        connection.execute("create table published.gold.dim_podcasts as from gold.dim_podcasts")
        connection.execute("create table published.gold.fact_listens (listen_id integer, event_date date)")
        (tmp_path / "tables" / "dim_podcasts").mkdir(parents=True)
        listen(connection, tmp_path, 1, "2026-01-01")
        listen(connection, tmp_path, 2, "2026-01-02")
        yield connection


def listen(connection: duckdb.DuckDBPyConnection, place: Path, listen_id: int, day: str) -> None:
    """A row, in the published copy and in a partition of the table that Spark has."""
    row = f"select {listen_id} as listen_id, date '{day}' as event_date"
    connection.execute(f"insert into published.gold.fact_listens {row}")
    into = quoted(place / "tables" / "fact_listens")
    options = "format parquet, partition_by (event_date), append, filename_pattern 'part-{uuid}'"
    connection.execute(f"copy ({row}) to {into} ({options})")


def publish(connection: duckdb.DuckDBPyConnection, place: Path) -> None:
    built = {f"gold.{name}": place / "tables" / name for name in ("fact_listens", "dim_podcasts")}
    spark_published.publish(connection, place / "published", built, TABLES, "published")


def rows(connection: duckdb.DuckDBPyConnection, folder: Path, table: str) -> list[tuple[object, ...]]:
    files = quoted(folder.joinpath(*table.split("."), "**", "*.parquet"))
    return connection.execute(f"select * from read_parquet({files}, hive_partitioning = true) order by all").fetchall()


def test_readers_find_all_tables_and_no_file_is_copied(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    publish(connection, tmp_path)
    current = tmp_path / "published" / "current"
    for table in TABLES:
        assert rows(connection, current, table) == connection.execute(f"from published.{table} order by all").fetchall()
    assert [row[0] for row in rows(connection, current, "gold.fact_listens")] == [1, 2]
    made, public = ({path.stat().st_ino for path in place.rglob("part-*")} for place in (tmp_path / "tables", current))
    assert made == public
    assert len(made) == 2


def test_whoever_reads_the_publication_before_can_go_on(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    publish(connection, tmp_path)
    root = tmp_path / "published"
    before = (root / "current").resolve()
    listen(connection, tmp_path, 3, "2026-01-02")
    for path in (tmp_path / "tables").rglob("*2026-01-01*/*.parquet"):
        path.unlink()  # as Spark overwrites a day
    connection.execute("delete from published.gold.fact_listens where listen_id = 1")
    publish(connection, tmp_path)

    assert [row[0] for row in rows(connection, root / "current", "gold.fact_listens")] == [2, 3]
    assert [row[0] for row in rows(connection, before, "gold.fact_listens")] == [1, 2]
    publish(connection, tmp_path)
    assert not before.exists()
    assert len(list(root.iterdir())) == 3, "the link, what it leads to, and the one before"


def test_what_has_not_all_rows_is_not_made_public(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    publish(connection, tmp_path)
    root = tmp_path / "published"
    before, found = (root / "current").resolve(), sorted(root.iterdir())
    connection.execute("insert into published.gold.fact_listens values (9, null)")
    with pytest.raises(PublishError, match=r"gold\.fact_listens has 2 rows instead of 3\. The last published state"):
        publish(connection, tmp_path)
    assert (root / "current").resolve() == before
    assert sorted(root.iterdir()) == found


def test_a_file_system_without_links_gets_copies(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("os.link", refuse)
    publish(connection, tmp_path)
    assert len(rows(connection, tmp_path / "published" / "current", "gold.fact_listens")) == 2
