"""What a verdict shows of what it found: measures of batches, never values of rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import duckdb
import pytest

from flows import blame
from flows.domain import ExpectationResult, Severity

WHOLE = ExpectationResult("e(user_id)", "Every event has its user.", Severity.CRITICAL, False, "2 of 9 fail", "none")  # noqa: FBT003


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    """Two batches, each with one failing row."""
    with duckdb.connect() as opened:
        opened.execute("create schema ops")
        opened.execute(
            "create table ops.looked_at as "
            "from (values ('b1', 'listener-4711', 0.25::double, 'key'), "
            "('b2', 'listener-0815', 0.5, chr(8238) || 'x')) as t (batch_id, user_id, share, names)"
        )
        yield opened


def rows_of(connection: duckdb.DuckDBPyConnection) -> blame.Query:
    return lambda sql: connection.execute(sql).fetchall()


def blamed(
    connection: duckdb.DuckDBPyConnection, judges: str, column: str, shows: list[str] | None = None
) -> dict[str | None, str]:
    suite = {"name": "suite", "meta": {"table": "looked_at", "judges": judges}}
    result: dict[str, Any] = {
        "expectation_config": {"kwargs": {"column": column}},
        "result": {"unexpected_index_query": f"SELECT batch_id, {column} FROM ops.looked_at;"},
    }
    found = blame.by_batch(rows_of(connection), suite, {"meta": {"shows": shows or []}}, WHOLE, result)
    return {one.batch_id: one.observed for one in found}


def test_rows_are_counted_and_not_shown_also_where_each_batch_has_one(connection: duckdb.DuckDBPyConnection) -> None:
    assert blamed(connection, "rows", "user_id") == {"b1": "1 rows fail", "b2": "1 rows fail"}


def test_measures_of_batches_are_shown(connection: duckdb.DuckDBPyConnection) -> None:
    assert blamed(connection, "batches", "share") == {"b1": "share 0.25", "b2": "share 0.5"}


def test_further_measures_are_shown_with_what_cannot_be_printed_made_visible(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    shown = blamed(connection, "batches", "share", shows=["names"])
    assert shown == {"b1": "share 0.25, names key", "b2": "share 0.5, names \\u202ex"}


def test_what_is_shown_has_an_end(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute("update ops.looked_at set names = repeat('<b>', 1000)")
    assert all(len(text) < 310 for text in blamed(connection, "batches", "share", shows=["names"]).values())


def named(connection: duckdb.DuckDBPyConnection, limit: float) -> str:
    suite = {"name": "suite", "meta": {"table": "sources", "judges": "sources", "names": "source"}}
    failing = f"SELECT batch_id, ratio \nFROM ops.sources \nWHERE ratio IS NOT NULL AND NOT (ratio <= {limit});"
    result: dict[str, Any] = {
        "expectation_config": {"kwargs": {"column": "ratio"}},
        "result": {"unexpected_index_query": failing},
    }
    assert blame.by_batch(rows_of(connection), suite, {}, WHOLE, result) == []
    return blame.with_names(rows_of(connection), suite, WHOLE, result).observed


def test_what_no_batch_can_be_blamed_for_is_named_the_worst_first(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute(
        "create table ops.sources as select null::varchar as batch_id, * "
        "from (values ('b/#', 5.0::double), ('a/#', 5.0), ('c/#', 123456.0), ('d/#', 4.0), ('e/#', null), "
        "(chr(27), 4.5)) as t (source, ratio)"
    )
    assert named(connection, 4) == "2 of 9 fail: c/# (1.235e+05), a/# (5), b/# (5), \\u001b (4.5)"
    connection.execute("update ops.sources set source = repeat(source, 1000)")
    assert len(named(connection, 4)) < 310
