"""Checksums: what makes them differ, what does not, and that they are what their definition says."""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Any

import duckdb
import pytest
from checksum_rows import COLUMNS, EPOCH, LEAP, ROWS

from flows import checksums
from flows.checksums import DUCKDB, SPARK, Sums

OTHERS: dict[str, Any] = {
    "name": "b", "line": b"\x00", "is_valid": False, "seconds": 8, "total": 8, "key_hash": 2**63 + 1,
    "day": date(2024, 3, 1), "seen_at": LEAP + timedelta(microseconds=1), "share": 1e-323, "codes": ["a,b"],
}  # fmt: skip
"""By column, what the last row has otherwise, by as little as can be."""


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        yield connection


def sums(
    connection: duckdb.DuckDBPyConnection, rows: Any = ROWS, columns: checksums.Columns = COLUMNS
) -> checksums.Sums:
    described = ", ".join(f'"{name}" {type_}' for name, type_ in columns)
    connection.execute(f"create or replace table t ({described})")
    if rows:
        connection.executemany(f"insert into t values ({', '.join('?' * len(columns))})", rows)
    return checksums.read(connection.execute(checksums.query("t", columns, DUCKDB)).fetchall()[0], columns)


def one(connection: duckdb.DuckDBPyConnection, type_: str, value: Any) -> Sums:
    return sums(connection, [(value,)], (("value", type_),))


def first_bits(text: bytes) -> int:
    return int(digest(text)[:15], 16)


def digest(text: bytes) -> str:
    return hashlib.md5(text, usedforsecurity=False).hexdigest()


def as_text(value: Any) -> bytes:  # noqa: PLR0911
    """What the definition says of a value, in another language."""
    match value:
        case bytes():
            return value
        case bool():
            return str(value).lower().encode()
        case float() if math.isnan(value):
            return b"nan"
        case float():
            return str(struct.unpack(">q", struct.pack(">d", value))[0]).encode()
        case datetime():
            return str((value - EPOCH) // timedelta(microseconds=1)).encode()
        case date():
            return str((value - date(1970, 1, 1)).days).encode()
        case list():
            return ",".join("-" if one is None else digest(one.encode()) for one in value).encode()
        case int():
            return str(value - 2**64 if 2**63 <= value < 2**64 else value).encode()
        case _:
            return str(value).encode()


def test_they_are_what_their_definition_says(connection: duckdb.DuckDBPyConnection) -> None:
    numbers = [[None if value is None else first_bits(as_text(value)) for value in row] for row in ROWS]
    whole = sum(first_bits(",".join("-" if n is None else str(n) for n in row).encode()) for row in numbers)
    values = [[n for n in column if n is not None] for column in zip(*numbers, strict=True)]
    expected = {name: (len(found), sum(found)) for (name, _), found in zip(COLUMNS, values, strict=True)}
    assert sums(connection) == Sums(len(ROWS), whole, expected)


def test_the_order_of_rows_makes_no_difference(connection: duckdb.DuckDBPyConnection) -> None:
    assert sums(connection) == sums(connection, ROWS[::-1])


@pytest.mark.parametrize("name", [name for name, _ in COLUMNS])
def test_a_value_that_is_another_is_found_in_its_column(connection: duckdb.DuckDBPyConnection, name: str) -> None:
    changed = [OTHERS[name] if name == column else value for (column, _), value in zip(COLUMNS, ROWS[-1], strict=True)]
    found = checksums.differences("gold.t", sums(connection), sums(connection, [*ROWS[:-1], changed]))
    assert [(f.relation, f.where) for f in found] == [("gold.t", f"column {name}")]


@pytest.mark.parametrize(
    ("type_", "value", "other"),
    [
        ("varchar", "", None), ("integer", 0, None), ("varchar[]", [], None), ("varchar[]", [], [None]),
        ("varchar[]", [""], [None]), ("varchar[]", ["a", "b"], ["b", "a"]), ("double", 0.0, -0.0),
        ("double", 0.1 + 0.2, 0.3), ("double", math.nan, None), ("double", math.inf, -math.inf), ("blob", b"", None),
    ],
)  # fmt: skip
def test_values_that_are_nearly_the_same_differ(
    connection: duckdb.DuckDBPyConnection, type_: str, value: Any, other: Any
) -> None:
    assert one(connection, type_, value) != one(connection, type_, other)


def test_the_width_and_the_sign_of_a_number_make_no_difference(connection: duckdb.DuckDBPyConnection) -> None:
    widths = ("tinyint", "integer", "bigint", "hugeint", "decimal(38,0)")
    assert len({str(one(connection, type_, -7)) for type_ in widths}) == 1
    for unsigned, signed in ((2**64 - 1, -1), (2**63, -(2**63)), (2**63 - 1, 2**63 - 1)):
        assert one(connection, "ubigint", unsigned) == one(connection, "bigint", signed)


def test_rows_that_have_changed_a_value_with_each_other_are_found(connection: duckdb.DuckDBPyConnection) -> None:
    columns = (("user_id", "varchar"), ("country", "varchar"))
    ours = sums(connection, [("u1", "DE"), ("u2", "FR")], columns)
    theirs = sums(connection, [("u1", "FR"), ("u2", "DE")], columns)
    assert ours.columns == theirs.columns
    assert [f.where for f in checksums.differences("gold.t", ours, theirs)] == ["which values stand in one row"]


def test_a_difference_names_table_column_and_both_values() -> None:
    ours, theirs = Sums(2, 9, {"a": (2, 255), "b": (1, 3)}), Sums(1, 9, {"a": (2, 16), "c": (1, 3)})
    assert [str(found) for found in checksums.differences("gold.t", ours, theirs)] == [
        "gold.t, rows: 2 in DuckDB, 1 on Spark",
        "gold.t, column a: checksum ff of 2 values in DuckDB, checksum 10 of 2 values on Spark",
        "gold.t, column b: checksum 3 of 1 values in DuckDB, no such column on Spark",
        "gold.t, column c: no such column in DuckDB, checksum 3 of 1 values on Spark",
    ]
    assert checksums.differences("gold.t", ours, ours) == []


def test_a_table_without_rows_has_sums(connection: duckdb.DuckDBPyConnection) -> None:
    assert sums(connection, []) == Sums(0, 0, {name: (0, 0) for name, _ in COLUMNS})


def test_types_that_engines_write_differently_are_known_as_such() -> None:
    known = (
        "varchar",
        "blob",
        "boolean",
        "bigint",
        "ubigint",
        "hugeint",
        "decimal(38,0)",
        "date",
        "timestamp",
        "double",
    )
    assert [type_ for type_ in (*known, "varchar[]") if not checksums.is_known(type_)] == []
    unknown = ("decimal(18,3)", "float", "integer[]", "struct(a integer)", "timestamp with time zone", "json")
    assert [type_ for type_ in unknown if checksums.is_known(type_)] == []


def test_names_stand_in_what_the_engine_takes_for_names() -> None:
    """In double quotes they would be texts on Spark."""
    sql = checksums.query("gold.t", COLUMNS, SPARK)
    assert all(f"`{name}`" in sql for name, _ in COLUMNS)
    assert '"' not in sql
