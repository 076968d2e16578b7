"""Notes of what models changed, read as what the published copy lacks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from flows import spare, unpublished, warehouse
from flows.unpublished import Anew, Replacement

KEYS = Replacement("ops.unpublished_keys", (("key_hash", "key_hash"), ("timestamp", "event_at")))


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute(warehouse.TABLES)
        yield connection


def note(connection: duckdb.DuckDBPyConnection, *builds: tuple[str | None, str | None, str | None]) -> None:
    connection.executemany("insert into ops.unpublished_models values (?, ?, ?)", builds)


def test_a_table_whose_rows_were_replaced_each_time_lacks_these(connection: duckdb.DuckDBPyConnection) -> None:
    note(connection, *[("silver.cleansed_events", "replace_touched_keys", "")] * 2)
    note(connection, ("gold.fact_listens", "replace_touched_listening", "user_id,episode_id"))
    found = unpublished.changes(connection)
    by_listener = Replacement("ops.unpublished_listening", (("user_id", "user_id"), ("episode_id", "episode_id")))
    assert found.tables == {"silver.cleansed_events": KEYS, "gold.fact_listens": by_listener}
    assert not found.everything


def test_one_build_that_made_it_anew_makes_it_anew(connection: duckdb.DuckDBPyConnection) -> None:
    replaced, anew = ("silver.cleansed_events", "replace_touched_keys", ""), ("silver.cleansed_events", None, None)
    note(connection, replaced, anew, replaced)
    assert unpublished.changes(connection).tables == {"silver.cleansed_events": Anew()}


@pytest.mark.parametrize(
    "build", [("replace_pending_batches", ""), ("append", ""), ("replace_touched_listening", ""), ("unheard_of", "a")]
)
def test_a_strategy_that_notes_no_rows_makes_it_anew(
    connection: duckdb.DuckDBPyConnection, build: tuple[str, str]
) -> None:
    note(connection, ("gold.mart", *build))
    assert unpublished.changes(connection).tables == {"gold.mart": Anew()}


def test_a_note_of_no_relation_is_about_everything(connection: duckdb.DuckDBPyConnection) -> None:
    note(connection, ("gold.mart", None, None), (None, None, None))
    assert unpublished.changes(connection).everything


def test_the_condition_names_rows_by_all_columns_and_none_by_null(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute("create table t as from (values (1, 'x'), (1, 'y'), (2, 'x'), (null, 'x')) t(a, b)")
    connection.execute("create table notes as from (values (1, 'x'), (null, 'x'), (2, 'z')) notes(c, b)")
    condition = Replacement("notes", (("a", "c"), ("b", "b"))).condition("t")
    assert connection.execute(f"from t where {condition}").fetchall() == [(1, "x")]


def test_a_file_is_that_of_the_last_publication_until_it_is_touched(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    path = tmp_path / "published.duckdb"
    assert not unpublished.is_last_published(connection, path)
    path.write_bytes(b"rows")
    assert not unpublished.is_last_published(connection, path)
    note(connection, ("gold.mart", None, None))
    unpublished.settle(connection, path)
    assert unpublished.is_last_published(connection, path)
    assert unpublished.changes(connection) == unpublished.Changes({})
    path.write_bytes(b"ROWS")
    assert not unpublished.is_last_published(connection, path)
    unpublished.settle(connection, path)
    assert unpublished.is_last_published(connection, path)
    unpublished.forget_files(connection)
    assert not unpublished.is_last_published(connection, path)


def test_the_spare_lacks_what_the_last_publication_brought_too(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    path = tmp_path / "published.duckdb"
    path.write_bytes(b"rows")
    note(connection, ("silver.cleansed_events", "replace_touched_keys", ""))
    connection.execute("insert into ops.unpublished_keys values (1, '2024-01-01')")
    unpublished.settle(connection, path)
    note(connection, ("gold.dim_dates", None, None))
    connection.execute("insert into ops.unpublished_keys values (2, '2024-01-01')")
    assert unpublished.changes(connection).tables == {"gold.dim_dates": Anew()}
    assert not unpublished.changes(connection, since_spare=True).has_more_anew_than(unpublished.changes(connection))
    lacking = unpublished.changes(connection, since_spare=True).tables
    assert lacking["gold.dim_dates"] == Anew()
    events = lacking["silver.cleansed_events"]
    assert isinstance(events, Replacement)
    connection.execute("create table t as select unnest([1, 2, 3]) as key_hash, timestamp '2024-01-01' as timestamp")
    assert connection.execute(f"select key_hash from t where {events.condition('t')} order by 1").fetchall() == [
        (1,), (2,),
    ]  # fmt: skip
    unpublished.settle(connection, path)
    assert unpublished.changes(connection, since_spare=True).tables == {"gold.dim_dates": Anew()}
    assert unpublished.changes(connection, since_spare=True).has_more_anew_than(unpublished.changes(connection))


def test_a_publication_of_everything_leaves_a_spare_that_lacks_everything(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    path = tmp_path / "published.duckdb"
    path.write_bytes(b"rows")
    note(connection, (None, None, None))
    unpublished.settle(connection, path)
    assert unpublished.changes(connection) == unpublished.Changes({})
    assert unpublished.changes(connection, since_spare=True).everything


def test_a_spare_is_that_of_the_last_publication_until_it_is_touched(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    path = tmp_path / "published.duckdb"
    path.write_bytes(b"rows")
    unpublished.settle(connection, path)
    assert not unpublished.is_spare_whole(connection, path)
    spare.path_beside(path).write_bytes(b"rows of before")
    assert not unpublished.is_spare_whole(connection, path)
    unpublished.settle(connection, path)
    assert unpublished.is_spare_whole(connection, path)
    spare.path_beside(path).write_bytes(b"ROWS OF BEFORE")
    assert not unpublished.is_spare_whole(connection, path)
