"""Apache Spark beside the working database: its tables, what is carried to them, and what is seen of them.

Where `PODCAST_ENGINE` is `spark`, the tables of bronze, silver and gold are Spark's, in Parquet files; ledger, raw
lines, reference data and verdicts stay in the working database. What the models of a layer read of these is carried to
Spark before they are built, and afterwards the working database has a view of each table's files. So gates, evidence,
reports and publishing read one catalog, whichever engine has built what is in it. The only module that knows Spark.
"""

from __future__ import annotations

import os
import re
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from flows.domain import Layer
from flows.errors import SettingsError, TransformError
from flows.settings import EMBEDDED
from flows.warehouse import transaction

if TYPE_CHECKING:
    import duckdb
    from pyspark.sql import SparkSession
    from pyspark.sql.types import DataType

    from flows.settings import Settings

SCHEMAS = ("bronze", "silver", "gold", "ops")

BUILT = (Layer.BRONZE, Layer.SILVER, Layer.GOLD)
"""The layers that Spark builds."""

CARRIED = {
    "ops.batches": "select * from ops.batches",
    "ops.pending_reference_changes": "select * from ops.pending_reference_changes",
    "silver.users": "select * from silver.users",
    "silver.episodes": "select * from silver.episodes",
    "silver.users_history": "select * from silver.users_history",
    "silver.episodes_history": "select * from silver.episodes_history",
}
"""By relation, what the models of a layer read that Spark does not build."""

RAW_LINES = {
    "bronze.raw_events": """
        select * from bronze.raw_events where batch_id in (select batch_id from ops.batches where pending)
    """,
}
"""Of the raw lines, those of the batches that a run works on: models read no others."""

UNSIGNED = "key_hash"
"""The column whose 64 bits have a sign on Spark, which has no other whole numbers."""

NOTES = {
    "ops.unpublished_models": {"relation": "string", "strategy": "string", "unique_key": "string"},
    "ops.unpublished_keys": {UNSIGNED: "bigint", "event_at": "timestamp_ntz"},
    "ops.unpublished_listening": {"user_id": "string", "episode_id": "string", "event_date": "date"},
}
"""What the models note of what they change (flows/unpublished.py), by relation its columns and types on Spark."""

ERROR_KIND = re.compile(r"\[[A-Z][A-Z0-9_.]+\]|SQLSTATE: \w{5}|\(line \d+, pos \d+\)")
"""What an error of Spark's says of itself before it quotes anything, and where in the SQL it is."""

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


def folder(settings: Settings) -> Path:
    """Where Spark's tables and its catalog are, on a disk that all of its machines have at this path."""
    return settings.spark_warehouse or settings.home / "warehouse" / "spark"


def is_at_one(connection: duckdb.DuckDBPyConnection, settings: Settings) -> bool:
    """Whether the tables of the layers are as the last build left them, and of the engine that builds them now.

    Not where a build was cut off, which on Spark can leave a part of a table, where one of the two was restored or
    removed, and where the engine was another: all of them have to be built anew then.
    """
    token = connection.execute("select token from ops.spark_builds").fetchall()
    if settings.engine == EMBEDDED:
        return not token
    path = _token_file(settings)
    return token == [(path.read_text(encoding="utf-8") if path.is_file() else None,)]


@contextmanager
def building(connection: duckdb.DuckDBPyConnection, settings: Settings, layer: Layer) -> Iterator[None]:
    """The tables of a layer are written; when it ends as it should, working database and tables are at one again.

    Where they were not before, everything is being built anew, and they are when that has come to the last layer.
    """
    were_at_one = is_at_one(connection, settings)
    path = _token_file(settings)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    yield
    if not were_at_one and layer is not BUILT[-1]:
        return
    token = uuid.uuid4().hex
    with transaction(connection):
        connection.execute("delete from ops.spark_builds")
        connection.execute("insert into ops.spark_builds values (?)", [token])
    path.write_text(token, encoding="utf-8")


def settle(connection: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    """Where it is not Spark that has built what is published, none of its tables are in use any more."""
    if settings.engine == EMBEDDED:
        connection.execute("delete from ops.spark_builds")


def _token_file(settings: Settings) -> Path:
    return folder(settings) / "build"


def refuse_missing(settings: Settings) -> None:
    """Raise `SettingsError` where Spark is to be used, and what it needs is not installed."""
    if settings.engine == EMBEDDED:
        return
    if not find_spec("pyspark") or not find_spec("dbt.adapters.spark"):
        raise SettingsError("PODCAST_ENGINE=spark needs the extra [spark]: make setup-spark, or pip install '.[spark]'")
    if not os.environ.get("JAVA_HOME") and not shutil.which("java"):
        raise SettingsError("PODCAST_ENGINE=spark needs Java 17 or 21: install it, or set JAVA_HOME.")


def without_values(text: str) -> str:
    """Of an error of Spark's what it is and where, since nothing of a row may come into a log; any other as it is."""
    kinds = ERROR_KIND.findall(text)
    return " ".join(dict.fromkeys(kinds)) if kinds else text


def has_session() -> bool:
    """Whether a session is open in this process."""
    from pyspark.sql import SparkSession

    return SparkSession.getActiveSession() is not None


def session() -> SparkSession:
    """The session that dbt has opened, as its profile says. Raises `TransformError` where there is none."""
    from pyspark.sql import SparkSession

    found = SparkSession.getActiveSession()
    if found is None:
        raise TransformError("Spark has no session; nothing was published.")
    return found


def carry_in(connection: duckdb.DuckDBPyConnection, settings: Settings, layer: Layer) -> None:
    """Give Spark what the models of a layer read from the working database, as it is now."""
    relations = CARRIED | RAW_LINES if layer is Layer.BRONZE else {"ops.batches": CARRIED["ops.batches"]}
    for schema in SCHEMAS:
        session().sql(f"create schema if not exists {schema}")
    for relation, rows in relations.items():
        _carry(connection, folder(settings) / "carried" / relation, relation, rows)
    for relation, columns in NOTES.items():
        described = ", ".join(f"{name} {type_}" for name, type_ in columns.items())
        session().sql(f"drop table if exists {relation}")
        session().sql(f"create table {relation} ({described}) using parquet")


def _carry(connection: duckdb.DuckDBPyConnection, into: Path, relation: str, rows: str) -> None:
    """The rows as a table of Spark's that is nothing but the files, of which several executors can read several."""
    shutil.rmtree(into, ignore_errors=True)
    into.parent.mkdir(parents=True, exist_ok=True)
    connection.execute(f"copy ({rows}) to {_quoted(into)} (format parquet, per_thread_output true)")
    spark = session()
    spark.sql(f"drop table if exists {relation}")
    spark.sql(f"create table {relation} using parquet location {_quoted(into)}")


def carry_out(connection: duckdb.DuckDBPyConnection, orders: Mapping[str, Sequence[str]]) -> None:
    """Give the working database a view of each of Spark's tables, in place of what is there, and the notes.

    The columns come in the order that `orders` has for a table: Spark puts the one that it has partitions by last.
    """
    tables = [_ordered(table, orders.get(table.name, ())) for table in _tables()]
    with transaction(connection):
        for table in tables:
            if table.name in NOTES:
                connection.execute(f"insert into {table.name} {_select(table)}")
                continue
            _drop_table(connection, table.name)
            connection.execute(f"create or replace view {table.name} as {_select(table)}")


def _tables() -> list[Table]:
    spark = session()
    return [
        _table(f"{schema}.{found.name}")
        for schema in SCHEMAS
        for found in spark.catalog.listTables(schema)
        if found.tableType == "MANAGED"
    ]


def _ordered(table: Table, order: Sequence[str]) -> Table:
    places = {name: place for place, name in enumerate(order)}
    columns = sorted(table.columns, key=lambda column: places.get(column[0], len(places)))
    return replace(table, columns=tuple(columns))


def _table(name: str) -> Table:
    spark = session()
    described = {row.col_name: row.data_type for row in spark.sql(f"describe table extended {name}").collect()}
    fields = spark.table(name).schema.fields
    columns = tuple((field.name, _type(field.dataType)) for field in fields if field.name != "partition_day")
    return Table(name, Path(described["Location"].removeprefix("file:")), columns)


def _type(of: DataType) -> str:
    text = str(of.simpleString())
    if text.startswith("decimal"):
        return text
    if text.startswith("array<"):
        return f"{_TYPES[text.removeprefix('array<').removesuffix('>')]}[]"
    return _TYPES[text]


def _select(table: Table) -> str:
    """A select of all rows; of a table without any file, of none."""
    if not any(table.folder.rglob("*.parquet")):
        nothing = ", ".join(f'cast(null as {_seen_as(name, type_)}) as "{name}"' for name, type_ in table.columns)
        return f"select {nothing} where false"
    columns = ", ".join(f'{_value(name, type_)} as "{name}"' for name, type_ in table.columns)
    files = _quoted(table.folder / "**" / "*.parquet")
    return f"select {columns} from read_parquet({files}, hive_partitioning = true)"


def _seen_as(name: str, type_: str) -> str:
    return "ubigint" if name == UNSIGNED else type_


def _value(name: str, type_: str) -> str:
    """The column with the type that the other engine gives it."""
    if name == UNSIGNED:
        return f'cast(case when "{name}" < 0 then cast("{name}" as hugeint) + {2**64} else "{name}" end as ubigint)'
    return f'cast("{name}" as {type_})'


def _drop_table(connection: duckdb.DuckDBPyConnection, name: str) -> None:
    schema, table = name.split(".")
    found = connection.execute(
        "select 1 from duckdb_tables() where database_name = current_database() and schema_name = ? and table_name = ?",
        [schema, table],
    ).fetchone()
    if found:
        connection.execute(f"drop table {name}")


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"
