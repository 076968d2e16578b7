"""Apache Spark as the engine that builds the layers (flows/engines.py): its tables, what it is given, and what is seen.

Its tables are Parquet files, and the working database has a view of the files of each. Only the modules whose
names begin with `spark` know Spark.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from flows import handover, spark_gates, spark_published, spark_tables
from flows.errors import SettingsError, TransformError
from flows.settings import DBT_PROJECT
from flows.spark_tables import UNSIGNED, Table, quoted, session
from flows.warehouse import transaction

if TYPE_CHECKING:
    import duckdb

    from flows.domain import Layer
    from flows.handover import Build
    from flows.settings import Settings

gate_source = spark_gates.gate_source

NOTES = {
    "ops.unpublished_models": {"relation": "string", "strategy": "string", "unique_key": "string"},
    "ops.unpublished_keys": {UNSIGNED: "bigint", "event_at": "timestamp_ntz"},
    "ops.unpublished_listening": {"user_id": "string", "episode_id": "string", "event_date": "date"},
}
"""What the models note of what they change (flows/unpublished.py), by relation its columns and types on Spark."""

ERROR_KIND = re.compile(r"\[[A-Z][A-Z0-9_.]+\]|SQLSTATE: \w{5}|\(line \d+, pos \d+\)")
"""What an error of Spark's says of itself before it quotes anything, and where in the SQL it is."""


def folder(settings: Settings) -> Path:
    """Where Spark's tables and its catalog are, on a disk that all of its machines have at this path."""
    return settings.spark_warehouse or settings.home / "warehouse" / "spark"


def mark(settings: Settings) -> str | None:
    """That of the build which its tables are of; none where a build was cut off, or there was none."""
    path = _mark_file(settings)
    return path.read_text(encoding="utf-8") if path.is_file() else None


def set_mark(settings: Settings, token: str | None) -> None:
    """The build that its tables are of from now on."""
    path = _mark_file(settings)
    path.parent.mkdir(parents=True, exist_ok=True)
    if token:
        path.write_text(token, encoding="utf-8")
    else:
        path.unlink(missing_ok=True)


def take_over(connection: duckdb.DuckDBPyConnection, settings: Settings, tables: Iterable[Table]) -> None:
    """These tables take the place of those of the working database, all at once, and both are at one."""
    token = handover.new_mark()
    set_mark(settings, token)  # one that the database does not have counts for nothing
    with transaction(connection):
        spark_tables.show(connection, tables)
        handover.set_mark(connection, token)


def clear(settings: Settings) -> None:
    """Remove its tables and its catalog, of which none are in use; needs a process without a session."""
    set_mark(settings, None)
    for name in ("tables", "metastore", "carried"):
        shutil.rmtree(folder(settings) / name, ignore_errors=True)
    folder(settings).mkdir(parents=True, exist_ok=True)


def _mark_file(settings: Settings) -> Path:
    return folder(settings) / "build"


def refuse_missing(_settings: Settings, *, asked_by: str = "PODCAST_ENGINE=spark") -> None:
    """Raise `SettingsError` where what Spark needs is not installed."""
    if not find_spec("pyspark") or not find_spec("dbt.adapters.spark"):
        raise SettingsError(f"{asked_by} needs the extra [spark]: make setup-spark, or pip install '.[spark]'")
    if not os.environ.get("JAVA_HOME") and not shutil.which("java"):
        raise SettingsError(f"{asked_by} needs Java 17 or 21: install it, or set JAVA_HOME.")


def publish(connection: duckdb.DuckDBPyConnection, settings: Settings, tables: Sequence[str], catalog: str) -> None:
    """Make these tables public in the folder that its readers have. Raises `PublishError`."""
    built = {table.name: table.folder for table in spark_tables.find_all({})}
    spark_published.publish(connection, folder(settings) / "published", built, tables, catalog)


def environment(settings: Settings, tag: str = "podcast") -> dict[str, str]:  # noqa: ARG001 - it keeps no such history
    """What dbt's profile reads, by the names of variables."""
    return {
        "DBT_PODCAST_SPARK_MASTER": settings.spark_master,
        "DBT_PODCAST_SPARK_WAREHOUSE": str(folder(settings)),
        "DBT_PODCAST_SPARK_LOGGING": str(DBT_PROJECT / "log4j2.properties"),
    }


def without_values(text: str) -> str:
    """Of an error of Spark's what it is and where, since nothing of a row may come into a log; any other as it is."""
    return _kinds(text) or text


def _kinds(text: str) -> str:
    return " ".join(dict.fromkeys(ERROR_KIND.findall(text)))


@contextmanager
def in_words() -> Iterator[None]:
    """Say what Spark or the way to it raises as a `TransformError`."""
    try:
        yield
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in ("pyspark", "py4j"):
            raise
        said = _kinds(str(error)) or type(error).__name__
        raise TransformError(f"Spark failed, and nothing was switched: {said}") from None


def carry_in(
    connection: duckdb.DuckDBPyConnection, settings: Settings, layer: Layer, *, without_rows: bool = False
) -> None:
    """Give Spark what the models of a layer read from the working database, as it is now, or of what columns it is."""
    for schema in handover.SCHEMAS:
        session().sql(f"create schema if not exists {schema}")
    for relation, rows in handover.carried_before(layer, without_rows=without_rows).items():
        _carry(connection, folder(settings) / "carried" / relation, relation, rows)
    for relation, columns in NOTES.items():
        described = ", ".join(f"{name} {type_}" for name, type_ in columns.items())
        session().sql(f"drop table if exists {relation}")
        session().sql(f"create table {relation} ({described}) using parquet")


def _carry(connection: duckdb.DuckDBPyConnection, into: Path, relation: str, rows: str) -> None:
    """The rows as a table of Spark's that is nothing but the files, of which several executors can read several."""
    write_files(connection, into, rows)
    spark = session()
    spark.sql(f"drop table if exists {relation}")
    spark.sql(f"create table {relation} using parquet location {quoted(into)}")


def fill(connection: duckdb.DuckDBPyConnection, settings: Settings, table: Table, filling: str) -> None:
    """Give a table of Spark's the rows that the working database has in it, by the statement for that."""
    into = folder(settings) / "carried" / f"copied.{table.name}"
    write_files(connection, into, f"select {spark_tables.as_there(table)} from {table.name}")
    rows = str(into).replace("`", "``")
    session().sql(filling.replace("{rows}", f"parquet.`{rows}`"))
    shutil.rmtree(into)


def first_row(sql: str) -> Sequence[object]:
    """The one row that a query gives on Spark."""
    row: Sequence[object] = session().sql(sql).collect()[0]
    return row


def write_files(connection: duckdb.DuckDBPyConnection, into: Path, rows: str) -> None:
    """The rows as Parquet files of a folder of their own, in place of what it has."""
    shutil.rmtree(into, ignore_errors=True)
    into.parent.mkdir(parents=True, exist_ok=True)
    connection.execute(f"copy ({rows}) to {quoted(into)} (format parquet, per_thread_output true)")


def carry_out(connection: duckdb.DuckDBPyConnection, _settings: Settings, build: Build) -> None:
    """Give the working database a view of each of Spark's tables, in place of what is there, and the notes."""
    tables = spark_tables.find_all({model.relation: model.columns for model in build.models})
    with transaction(connection):
        for table in tables:
            if table.name in NOTES:
                connection.execute(f"insert into {table.name} {spark_tables.select(table)}")
        spark_tables.show(connection, [table for table in tables if table.name not in NOTES])
