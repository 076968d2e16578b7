"""Snowflake as the engine that builds the layers (flows/engines.py): its session, what goes there, and what comes back.

What models read goes there as Parquet, through a stage and COPY; of the raw lines those of all batches stay there. The
working database has tables of the same columns, and gets the rows back that a build has changed, as Arrow. The modules
whose names begin as this one's are the only ones that know Snowflake.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from flows import handover, snowflake_lock, snowflake_tables
from flows.errors import PublishError, TransformError
from flows.snowflake_gates import gate_source
from flows.snowflake_session import (
    NO_SUCH_TABLE,
    environment,
    execute,
    in_words,
    make_databases,
    make_schemas,
    refuse_missing,
    session,
    tag,
    without_values,
)
from flows.warehouse import transaction

__all__ = [
    "carry_in",
    "carry_out",
    "environment",
    "gate_source",
    "mark",
    "publish",
    "refuse_missing",
    "set_mark",
    "without_values",
]

if TYPE_CHECKING:
    import duckdb

    from flows.domain import Layer
    from flows.handover import Build
    from flows.settings import Settings

NOTES = {
    "ops.unpublished_models": {"relation": "varchar", "strategy": "varchar", "unique_key": "varchar"},
    "ops.unpublished_keys": {"key_hash": "number(20, 0)", "event_at": "timestamp_ntz"},
    "ops.unpublished_listening": {"user_id": "varchar", "episode_id": "varchar", "event_date": "date"},
}
"""What the models note of what they change (flows/unpublished.py), by relation its columns and types on Snowflake."""

MARK = "ops.builds"
STAGE = "ops.carried"
LEAVING = f"batch_id in (select batch_id from ops.batches where pending) or {handover.NOT_KEPT}"
"""Of the raw lines that are there, those that leave before others come."""

FILE_BYTES = "200MB"
"""Of a file on its way: several are loaded side by side."""


def mark(settings: Settings) -> str | None:
    """That of the build which its tables are of; none where a build was cut off, or there was none."""
    from snowflake.connector.errors import ProgrammingError

    with in_words():
        try:
            row = session(settings).cursor().execute(f"select max(token) from {MARK}").fetchone()
        except ProgrammingError as error:
            if error.errno != NO_SUCH_TABLE:
                raise
            return None
    return row[0] if row else None


def set_mark(settings: Settings, token: str | None) -> None:
    """The build that its tables are of from now on."""
    make_schemas(settings, MARK.partition(".")[0])
    statements = [
        f"create table if not exists {MARK} (token varchar)",
        f"delete from {MARK}",
        *([f"insert into {MARK} values ('{token}')"] if token else []),
    ]
    execute(settings, *statements)


def carry_in(
    connection: duckdb.DuckDBPyConnection, settings: Settings, layer: Layer, *, without_rows: bool = False
) -> None:
    """Give Snowflake what the models of a layer read from the working database, as it is now, or of what columns it is.

    Raw lines of batches that a run works on take the place of those that it had of these. All others stay, but for
    those that were pruned here, and those of batches that the ledger has not.
    """
    tag(settings, f"carry in {layer}")
    _carry(connection, settings, handover.carried_before(layer, without_rows=without_rows))
    for relation, types in NOTES.items():
        described = ", ".join(f"{name} {type_}" for name, type_ in types.items())
        execute(settings, f"create or replace table {relation} ({described})")


def carry_lines(connection: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    """Have the raw lines there of every batch that has them here."""
    ledger = "ops.batches"
    _carry(connection, settings, {ledger: handover.CARRIED[ledger], **handover.RAW_LINES})


def _carry(connection: duckdb.DuckDBPyConnection, settings: Settings, relations: Mapping[str, str]) -> None:
    snowflake_lock.confirm(settings)  # before every layer, so that no two workers write the same tables
    make_schemas(settings, *handover.SCHEMAS)
    execute(settings, f"create or replace stage {STAGE}")  # without what a run that was cut off has left
    for relation, rows in relations.items():
        columns = handover.described(connection, relation)
        if relation in handover.RAW_LINES:
            made = snowflake_tables.create(relation, columns, how="create table if not exists")
            execute(settings, made, f"delete from {relation} where {LEAVING}")
        else:
            execute(settings, snowflake_tables.create(relation, columns, how="create or replace table"))
        _copy(connection, settings, relation, columns, rows)


def _copy(
    connection: duckdb.DuckDBPyConnection,
    settings: Settings,
    relation: str,
    columns: handover.Columns,
    rows: str,
) -> None:
    """Load rows into a table there, every one of them. Raises `TransformError` where some have not arrived."""
    folder = settings.home / "warehouse" / "carried" / f"{relation}-{uuid.uuid4().hex}"
    there = f"@{STAGE}/{folder.name}/"
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        sent = snowflake_tables.write_files(connection, folder, columns, rows, FILE_BYTES)
        if not sent:
            return
        with in_words():
            cursor = session(settings).cursor()
            for path in sorted(folder.glob("*.parquet")):
                cursor.execute(f"put {snowflake_tables.file_address(path)} {there} auto_compress = false")
            loaded = cursor.execute(snowflake_tables.copy_statement(relation, there)).fetchall()
            names = [column.name.lower() for column in cursor.description]
        arrived = sum(row[names.index("rows_loaded")] for row in loaded)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if arrived != sent:
        raise TransformError(
            f"Of {sent:,} rows of {relation} {arrived:,} have arrived on Snowflake; nothing was published. Run again."
        )


def carry_out(connection: duckdb.DuckDBPyConnection, settings: Settings, build: Build) -> None:
    """Bring the tables of the working database to what this build has left there, and take the notes of the models.

    Tables that each build makes anew come first: by some of them, rows of the others are found.
    """
    tag(settings, f"carry out {build.layer}")
    models = sorted((m for m in build.models if m.layer is build.layer), key=lambda m: m.strategy is not None)
    with transaction(connection), in_words():
        for relation in NOTES:
            _take(connection, settings, relation, "true")
        anew = _anew(connection)
        here, there = (
            ({}, {}) if build.is_whole or None in anew else (build.leaving("duckdb"), build.leaving("snowflake"))
        )
        for model in models:
            relation = model.relation
            if relation in here and relation not in anew and _is_as_there(connection, settings, relation):
                connection.execute(f"delete from {relation} as held where {here[relation]}")
                _take(connection, settings, relation, there[relation])
            else:
                _make_anew(connection, settings, build, relation)
                _take(connection, settings, relation, "true")


def _anew(connection: duckdb.DuckDBPyConnection) -> set[str | None]:
    """The relations that a build since the last publication has made anew, by its notes; none among them for all."""
    found = connection.execute("select relation from ops.unpublished_models where strategy is null").fetchall()
    return {relation for (relation,) in found}


def _is_as_there(connection: duckdb.DuckDBPyConnection, settings: Settings, relation: str) -> bool:
    """Whether the working database has a table of this name, of the columns that it has there."""
    if handover.kind(connection, relation) != "BASE TABLE":
        return False
    cursor = session(settings).cursor().execute(f"select * from {relation} limit 0")
    here = {name for name, _ in handover.described(connection, relation)}
    return here == {column.name.lower() for column in cursor.description}


def _make_anew(connection: duckdb.DuckDBPyConnection, settings: Settings, build: Build, relation: str) -> None:
    """The table of the working database without a row; as it is, where it has the right columns."""
    if _is_as_there(connection, settings, relation):
        columns: handover.Columns = handover.described(connection, relation)
    else:
        columns = build.layouts()[relation]
    if handover.kind(connection, relation) == "VIEW":
        connection.execute(f"drop view {relation}")
    described = ", ".join(f'"{name}" {type_}' for name, type_ in columns)
    connection.execute(f"create or replace table {relation} ({described})")


def fill(connection: duckdb.DuckDBPyConnection, settings: Settings, relation: str) -> None:
    """Give a table there the rows that the working database has, in place of its own."""
    execute(settings, f"delete from {relation}")
    _copy(connection, settings, relation, handover.described(connection, relation), f"select * from {relation}")


def fetch(connection: duckdb.DuckDBPyConnection, settings: Settings, relation: str, *, into: str) -> None:
    """Add all rows of a table there to one here of the same columns."""
    with in_words():
        _take(connection, settings, relation, "true", into=into)


def publish(connection: duckdb.DuckDBPyConnection, settings: Settings, tables: Sequence[str], catalog: str) -> None:
    """Clone these tables into a database that nobody reads yet, and exchange it with the one that readers have.

    Both databases stay, so that what was granted on them does. Exchanging their names is one statement: readers see
    all tables of before or all of now. Raises `PublishError` where one has not as many rows as here.
    """
    tag(settings, "publish")
    working, public = settings.snowflake_database, settings.snowflake_published_database
    standby = f"{public}_standby"
    make_databases(settings, public, standby)
    make_schemas(settings, *_schemas(tables), database=standby)
    execute(settings, f"use database {working}")  # the session went on to what it made
    for table in tables:
        if table in handover.LEDGER:
            columns = handover.described(connection, f"{catalog}.{table}")
            made = snowflake_tables.create(f"{standby}.{table}", columns, how="create or replace transient table")
            execute(settings, f"{made} copy grants")
            _copy(connection, settings, f"{standby}.{table}", columns, f"select * from {catalog}.{table}")
        else:
            clone = f"create or replace transient table {standby}.{table} clone {working}.{table} copy grants"
            execute(settings, clone)
    _refuse_others(connection, settings, tables, catalog, standby)
    snowflake_lock.confirm(settings)
    execute(settings, f"alter database {public} swap with {standby}")


def _schemas(tables: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(table.partition(".")[0] for table in tables))


def _refuse_others(
    connection: duckdb.DuckDBPyConnection, settings: Settings, tables: Sequence[str], catalog: str, standby: str
) -> None:
    """Raise `PublishError` where a table has not as many rows there as here, where it was judged."""
    here, there = (
        " union all ".join(f"select '{table}' as name, count(*) as n from {database}.{table}" for table in tables)
        for database in (catalog, standby)
    )
    with in_words():
        found = dict(session(settings).cursor().execute(there).fetchall())
    for table, count in connection.execute(here).fetchall():
        if found[table] != count:
            raise PublishError(
                f"On Snowflake {table} has {found[table]} rows instead of {count}. The last published state stays; run "
                "again, and if it ends like this once more, make all tables anew: podcast run --full-refresh"
            )


def _take(
    connection: duckdb.DuckDBPyConnection, settings: Settings, relation: str, condition: str, *, into: str | None = None
) -> None:
    """Add the rows that meet a condition there to the table of this name here, or to another."""
    into = into or relation
    columns = handover.described(connection, into)
    cursor = session(settings).cursor()
    cursor.execute(f"select {snowflake_tables.sent(columns)} from {relation} as held where {condition}")
    for batch in cursor.fetch_arrow_batches():
        connection.register("arrived", batch)
        connection.execute(
            f"insert into {into} select {snowflake_tables.taken(columns, batch.column_names)} from arrived"
        )
        connection.unregister("arrived")
