"""The tables that Spark has, and how the working database sees the files of each."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from flows.errors import TransformError
from flows.handover import SCHEMAS

if TYPE_CHECKING:
    import duckdb
    from pyspark.sql import SparkSession
    from pyspark.sql.types import DataType

UNSIGNED = "key_hash"
"""The column whose 64 bits have a sign on Spark, which has no other whole numbers."""

DAY = "partition_day"
"""The column that Spark's tables alone have, where no other one is the day of a row."""

_TYPES = {
    "string": "varchar",
    "binary": "blob",
    "timestamp_ntz": "timestamp",
    "timestamp": "timestamp",
    "tinyint": "tinyint",
    "smallint": "smallint",
    "int": "integer",
    "bigint": "bigint",
    "boolean": "boolean",
    "date": "date",
    "float": "float",
    "double": "double",
}
"""By the name of a type on Spark, the one of the working database."""


@dataclass(frozen=True)
class Table:
    """A table of Spark's, and the folder with its files."""

    name: str
    folder: Path
    columns: tuple[tuple[str, str], ...]
    """Names and types, these as the working database calls them."""


def has_session() -> bool:
    """Whether a session is open in this process."""
    from pyspark.sql import SparkSession

    return SparkSession.getActiveSession() is not None


def hush() -> None:
    """Keep what the library would log of an error to itself: it quotes rows, and the error is raised anyway."""
    from pyspark.logger import PySparkLogger

    for name in ("SQLQueryContextLogger", "DataFrameQueryContextLogger"):
        PySparkLogger.getLogger(name).setLevel(logging.CRITICAL + 1)


def session() -> SparkSession:
    """The session that dbt has opened, as its profile says. Raises `TransformError` where there is none."""
    from pyspark.sql import SparkSession

    found = SparkSession.getActiveSession()
    if found is None:
        raise TransformError("Spark has no session; nothing was published.")
    return found


def find_all(orders: Mapping[str, Sequence[str]]) -> list[Table]:
    """The tables that models have built there, which are those whose files are its own.

    The columns come in the order that `orders` has for a table: Spark puts the one that it has partitions by last.
    """
    spark = session()
    return [
        _ordered(_table(name), orders.get(name, ()))
        for schema in SCHEMAS
        for found in spark.catalog.listTables(schema)
        if found.tableType == "MANAGED" and (name := f"{schema}.{found.name}")
    ]


def show(connection: duckdb.DuckDBPyConnection, tables: Iterable[Table]) -> None:
    """Give the working database a view of each, in place of what is there; belongs into a transaction."""
    for table in tables:
        _drop_table(connection, table.name)
        connection.execute(f"create or replace view {table.name} as {select(table)}")


def drop(tables: Iterable[Table]) -> None:
    """Remove tables of Spark's that no build shall go on from."""
    for table in tables:
        session().sql(f"drop table if exists {table.name}")


def _ordered(table: Table, order: Sequence[str]) -> Table:
    places = {name: place for place, name in enumerate(order)}
    columns = sorted(table.columns, key=lambda column: places.get(column[0], len(places)))
    return replace(table, columns=tuple(columns))


def _table(name: str) -> Table:
    spark = session()
    described = {row.col_name: row.data_type for row in spark.sql(f"describe table extended {name}").collect()}
    fields = spark.table(name).schema.fields
    columns = tuple((field.name, _type(field.dataType)) for field in fields if field.name != DAY)
    return Table(name, Path(described["Location"].removeprefix("file:")), columns)


def _type(of: DataType) -> str:
    text = str(of.simpleString())
    if text.startswith("decimal"):
        return text
    if text.startswith("array<"):
        return f"{_TYPES[text.removeprefix('array<').removesuffix('>')]}[]"
    return _TYPES[text]


def select(table: Table) -> str:
    """A select of all rows; of a table without any file, of none."""
    if not any(table.folder.rglob("*.parquet")):
        nothing = ", ".join(f'cast(null as {_seen_as(name, type_)}) as "{name}"' for name, type_ in table.columns)
        return f"select {nothing} where false"
    columns = ", ".join(f'{_value(name, type_)} as "{name}"' for name, type_ in table.columns)
    files = quoted(table.folder / "**" / "*.parquet")
    return f"select {columns} from read_parquet({files}, hive_partitioning = true)"


def _seen_as(name: str, type_: str) -> str:
    return "ubigint" if name == UNSIGNED else type_


def _value(name: str, type_: str) -> str:
    """The column with the type that the other engine gives it."""
    if name == UNSIGNED:
        return f'cast(case when "{name}" < 0 then cast("{name}" as hugeint) + {2**64} else "{name}" end as ubigint)'
    return f'cast("{name}" as {type_})'


def names(table: Table) -> list[str]:
    """The columns as Spark has them, in its order, the one that it alone has included."""
    return list(session().table(table.name).columns)


def as_there(table: Table) -> str:
    """What is selected of the table of this name in the working database, so that it has the types of Spark's."""
    return ", ".join(f'{_value_there(name, type_)} as "{name}"' for name, type_ in table.columns)


def _value_there(name: str, type_: str) -> str:
    return as_signed(f'"{name}"') if name == UNSIGNED else f'cast("{name}" as {type_})'


def as_signed(number: str) -> str:
    """A number of 64 bits without a sign, as Spark has these bits."""
    return f"cast(case when {number} >= {2**63} then cast({number} as hugeint) - {2**64} else {number} end as bigint)"


def _drop_table(connection: duckdb.DuckDBPyConnection, name: str) -> None:
    schema, table = name.split(".")
    found = connection.execute(
        "select 1 from duckdb_tables() where database_name = current_database() and schema_name = ? and table_name = ?",
        [schema, table],
    ).fetchone()
    if found:
        connection.execute(f"drop table {name}")


def quoted(path: Path) -> str:
    """A path as a text of SQL."""
    return "'" + str(path).replace("'", "''") + "'"
