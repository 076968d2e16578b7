"""Notes of what models changed, read as what the published copy lacks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from flows import unpublished, warehouse
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
    unpublished.forget_file(connection)
    assert not unpublished.is_last_published(connection, path)
