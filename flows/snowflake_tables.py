"""How tables and rows of the working database are written for Snowflake, and those of Snowflake for it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import duckdb

    from flows.handover import Columns

THERE = {
    "bigint": "number(19, 0)",
    "ubigint": "number(20, 0)",
    "integer": "number(10, 0)",
    "smallint": "number(5, 0)",
    "hugeint": "number(38, 0)",
    "double": "float",
    "blob": "binary",
    "timestamp": "timestamp_ntz",
    "varchar[]": "array",
}
"""By the name of a type of the working database, the one that Snowflake has for it; others are called alike."""

IN_FILES = {"ubigint": "cast({} as decimal(20, 0))", "hugeint": "cast({} as decimal(38, 0))"}
"""How a column is written into Parquet that Snowflake would not read as it is."""

SENT = {
    "timestamp": "date_part(epoch_microsecond, {})",
    "blob": "hex_encode({})",
    "varchar[]": "cast({} as varchar)",
}
"""How Snowflake sends a column: what drivers read each in their own way, as a number or a text."""

TAKEN = {
    "timestamp": "make_timestamp(cast({} as bigint))",
    "blob": "unhex({})",
    "varchar[]": "from_json({}, '[\"varchar\"]')",
}
"""How the working database reads what was sent so."""


def create(relation: str, columns: Columns, *, how: str) -> str:
    """The statement that makes a table of these columns there."""
    return f"{how} {relation} ({', '.join(f'{name} {THERE.get(type_, type_)}' for name, type_ in columns)})"


def write_files(connection: duckdb.DuckDBPyConnection, into: Path, columns: Columns, rows: str, file_bytes: str) -> int:
    """The rows as Parquet files of a folder of their own; how many these are."""
    written = ", ".join(f'{IN_FILES.get(type_, "{}").format(_quoted(name))} as "{name}"' for name, type_ in columns)
    path = str(into).replace("'", "''")
    done = connection.execute(
        f"copy (select {written} from ({rows})) to '{path}' (format parquet, file_size_bytes '{file_bytes}')"
    )
    return int(done.fetchall()[0][0])


def file_address(path: Path) -> str:
    """A file of this machine, as PUT is given it."""
    escaped = str(path).replace("\\", "\\\\").replace("'", "\\'")
    return f"'file://{escaped}'"


def copy_statement(relation: str, there: str) -> str:
    """The statement that loads all files below a place of a stage, by the names of their columns, and removes them."""
    return (
        f"copy into {relation} from {there} match_by_column_name = case_insensitive purge = true "
        "file_format = (type = parquet use_logical_type = true binary_as_text = false)"
    )


def sent(columns: Columns) -> str:
    """What is selected there."""
    return ", ".join(f"{SENT.get(type_, '{}').format(name)} as {name}" for name, type_ in columns)


def taken(columns: Columns, names: Sequence[str]) -> str:
    """What is selected here of what has come, under the names that it has come with."""
    pairs = zip(columns, names, strict=True)
    return ", ".join(f"cast({TAKEN.get(type_, '{}').format(_quoted(name))} as {type_})" for (_, type_), name in pairs)


def _quoted(name: str) -> str:
    return f'"{name}"'
