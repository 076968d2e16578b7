"""From DuckDB's warehouse to another engine and back: what the models read, and whether they give the same rows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import duckdb

MADE_BY_SPARK = {"partition_day"}
"""Columns by which Spark finds rows, and that are no part of a table."""

RECORDS = """
    select * replace (
        case when status = 'published' and batch_id in ({worked_on}) then 'loaded' else status end as status,
        batch_id in ({worked_on}) as pending
    )
    from ops.batches
"""
"""The ledger as the models find it in a run that works on all that came about in some runs."""

VERSIONS = "select * replace (seen_at > '{after}' as pending) from ops.reference_versions"
WORKED_ON = "select batch_id from ops.batch_transitions where changed_at > '{after}'"


def carry_out(warehouse: Path, folder: Path, *, after: str, hashes: str = "bigint") -> None:
    """Write what models read, as a run finds it that has all to do since a time (UTC), as Parquet files.

    `hashes` is the type that the hashes of keys have there.
    """
    folder.mkdir()
    queries = {
        "bronze.raw_events": "from bronze.raw_events",
        "bronze.users": "from silver.users",
        "bronze.episodes": "from silver.episodes",
        "ops.batches": RECORDS.format(worked_on=WORKED_ON.format(after=after)),
        "ops.reference_versions": VERSIONS.format(after=after),
        "ops.unpublished_models": "from ops.unpublished_models where false",
        "ops.unpublished_keys": f"select key_hash::{hashes} key_hash, event_at from ops.unpublished_keys where false",
        "ops.unpublished_listening": "from ops.unpublished_listening where false",
    }
    with duckdb.connect(str(warehouse), read_only=True) as connection:
        for name, query in queries.items():
            connection.execute(f"copy ({query}) to '{folder / name}.parquet' (format parquet)")


@dataclass(frozen=True)
class Compared:
    """One relation on both engines: its rows, and how many of either the other has not."""

    name: str
    rows: int
    only_here: int
    only_there: int

    @property
    def is_same(self) -> bool:
        return not self.only_here and not self.only_there


def compare(warehouse: Path, there: Path, names: list[str]) -> list[Compared]:
    """Row by row, in whatever order; every column of ours has to be there, and no further one.

    Of doubles 13 digits are compared: engines differ in the last bit of a quotient of decimals.
    """
    with duckdb.connect(str(warehouse), read_only=True) as connection:
        connection.execute("set timezone = 'UTC'")
        return [_compare(connection, name, f"read_parquet('{there / name}/*.parquet')") for name in names]


def relations(warehouse: Path, schema: str) -> list[str]:
    """All tables and views of a schema."""
    with duckdb.connect(str(warehouse), read_only=True) as connection:
        found = connection.execute("select table_name from information_schema.tables where table_schema = ?", [schema])
        return sorted(f"{schema}.{name}" for (name,) in found.fetchall())


def _compare(connection: duckdb.DuckDBPyConnection, name: str, there: str) -> Compared:
    ours, theirs = _columns(connection, name), _columns(connection, there)
    assert set(ours) == set(theirs) - MADE_BY_SPARK, name
    here = f"select {', '.join(_signed(column, type_, theirs[column]) for column, type_ in ours.items())} from {name}"
    other = f"select {', '.join(_alike(column, type_, theirs[column]) for column, type_ in ours.items())} from {there}"
    counts = [
        connection.execute(f"select count(*) from ({query})").fetchall()[0][0]
        for query in (here, f"{here} except all {other}", f"{other} except all {here}")
    ]
    return Compared(name, *counts)


def _columns(connection: duckdb.DuckDBPyConnection, relation: str) -> dict[str, str]:
    return {name: type_ for name, type_, *_ in connection.execute(f"describe select * from {relation}").fetchall()}


def _signed(column: str, type_: str, there: str) -> str:
    """A number of 64 bits without a sign, as an engine reads it that has none."""
    if type_ == there == "DOUBLE":
        return _digits(column)
    if type_ != "UBIGINT" or there != "BIGINT":
        return column
    bits = f"case when {column} >> 63 = 1 then {column}::hugeint - 18446744073709551616 else {column} end"
    return f"cast({bits} as bigint) as {column}"


def _alike(column: str, type_: str, there: str) -> str:
    """Whole numbers may be of another width there; what is not is compared as it is, so that a wrong type is found."""
    if type_ == there == "DOUBLE":
        return _digits(column)
    is_whole = type_ in ("INTEGER", "BIGINT", "HUGEINT") or there == "DECIMAL(38,0)"
    return f"cast({column} as {type_}) as {column}" if is_whole else column


def _digits(column: str) -> str:
    return f"format('{{:.12e}}', {column}) as {column}"
