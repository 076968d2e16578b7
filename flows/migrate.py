"""Moving over between the engines that build the layers: tables are copied, proved equal, and only then in use.

The copy is made beside what is in use, which stays as it is until one transaction puts the copies in its place. Where
anything ends before that, the engine of before goes on with its tables; the mark that says which tables
working database and Spark have in common (flows/handover.py) knows of no others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from flows import (
    checksums,
    engines,
    handover,
    joining,
    logs,
    moving_snowflake,
    progress,
    spark,
    spark_tables,
    transform,
)
from flows.checksums import DUCKDB, SPARK, Columns, Difference, Sums
from flows.errors import MigrationError, PipelineError
from flows.moving import Proved, refusal
from flows.settings import EMBEDDED
from flows.warehouse import connect, transaction

if TYPE_CHECKING:
    import duckdb

    from flows.settings import Settings
    from flows.spark_tables import Table

ON_SPARK = "spark"
ON_SNOWFLAKE = "snowflake"
BESIDE = "__migrated"
"""What a copy is called after the table, before it takes its place."""


@dataclass(frozen=True)
class Migration:
    """What has been moved; no table where the engine had built them already."""

    engine: str
    tables: tuple[Proved, ...] = ()

    def document(self) -> dict[str, object]:
        """What `--json` prints."""
        tables = [asdict(table) | {"is_equal": True} for table in self.tables]
        return {"engine": self.engine, "is_moved": bool(tables), "tables": tables}


def migrate(settings: Settings, engine: str) -> Migration:
    """Move the tables of the layers to an engine, whose next run goes on from them.

    Back to DuckDB from the one that the settings name, which is Spark where they name none.

    Raises `MigrationError` where there is nothing whole to copy, or a copy is not equal; nothing is switched then.
    """
    other = settings.engine if engine == EMBEDDED else engine
    other = ON_SPARK if other == EMBEDDED else other
    settings = settings.model_copy(update={"engine": other})
    engines.ENGINES[other].refuse_missing(settings, asked_by=f"podcast migrate --to {engine}")
    if not settings.warehouse_path.exists():
        raise PipelineError(f"There is no warehouse under {settings.home} yet. Start with: podcast run")
    with joining.writer(settings, purpose=f"migrating to {engine}"), connect(settings) as connection:
        built_by = _built_by(settings, connection)
        if built_by == engine:
            return Migration(engine)
        orders = {model.relation: list(model.columns) for model in transform.models(settings)}
        _refuse_missing(connection, list(orders), is_table=built_by != ON_SPARK)
        tables = _MOVES[other, engine](settings, connection, orders)
        if engine == other:
            joining.keep(settings, connection)
    logs.event("migrated", engine=engine, tables=len(tables), rows=sum(table.rows for table in tables))
    return Migration(engine, tables)


def _built_by(settings: Settings, connection: duckdb.DuckDBPyConnection) -> str:
    for engine in (settings.engine, EMBEDDED):
        if engines.is_at_one(connection, settings.model_copy(update={"engine": engine})):
            return engine
    raise MigrationError(
        "The last build was cut off, or the other engine's tables are not those that the working database knows: "
        "nothing whole is there to copy. podcast run builds all tables anew, with the engine that PODCAST_ENGINE says."
    )


def _refuse_missing(connection: duckdb.DuckDBPyConnection, relations: Sequence[str], *, is_table: bool) -> None:
    """Raise `MigrationError` where a table of the layers is not there, or not as the engine of the others leaves it."""
    kind = "BASE TABLE" if is_table else "VIEW"
    found = connection.execute(
        """
        select table_schema || '.' || table_name from information_schema.tables
        where table_catalog = current_database() and table_type = ?
        """,
        [kind],
    ).fetchall()
    if missing := sorted(set(relations) - {name for (name,) in found}):
        raise MigrationError(
            f"A run has not come to its end, or was of an earlier version: there is no whole {', '.join(missing)}. "
            "Nothing was changed. Have a run end first: podcast run"
        )


def _to_spark(
    settings: Settings, connection: duckdb.DuckDBPyConnection, orders: dict[str, list[str]]
) -> tuple[Proved, ...]:
    """Lay the tables out as a build on Spark would, fill them, and put views of them in the place of ours."""
    with spark.in_words():
        return _fill_spark(settings, connection, orders)


def _fill_spark(
    settings: Settings, connection: duckdb.DuckDBPyConnection, orders: dict[str, list[str]]
) -> tuple[Proved, ...]:
    spark.clear(settings)
    transform.build_empty(settings, connection)
    made, tables = _tables_there(orders)
    for table in tables:
        _refuse_others(table.name, handover.described(connection, table.name), table.columns)
    progress.report("lay out", f"{len(tables)} tables on Spark")
    fillings = transform.fillings(settings, {table.name: spark_tables.names(table) for table in tables})
    for table in tables:
        spark.fill(connection, settings, table, fillings[table.name])
    progress.report("copy", f"{len(tables)} tables")
    try:
        proved = _prove(connection, tables)
    except MigrationError:
        spark_tables.drop(made)  # some of them a later build on Spark would go on from, even one of everything
        raise
    spark.take_over(connection, settings, made)
    progress.report("switch", "the working database has views of Spark's tables")
    return proved


def _from_spark(
    settings: Settings, connection: duckdb.DuckDBPyConnection, orders: dict[str, list[str]]
) -> tuple[Proved, ...]:
    """Lay the tables out as a build by DuckDB would, fill them from the views, and put them in their place."""
    with spark.in_words():
        return _fill_from_spark(settings, connection, orders)


def _fill_from_spark(
    settings: Settings, connection: duckdb.DuckDBPyConnection, orders: dict[str, list[str]]
) -> tuple[Proved, ...]:
    transform.open_session(settings)
    embedded = settings.model_copy(update={"engine": EMBEDDED})
    made, tables = _tables_there(orders)
    layouts = transform.layouts(embedded, connection)
    for table in tables:
        _refuse_others(table.name, layouts[table.name], table.columns)
    progress.report("lay out", f"{len(tables)} tables in the working database")
    with transaction(connection):
        for name, columns in layouts.items():
            _copy_beside(connection, name, columns)
        progress.report("copy", f"{len(layouts)} tables")
        proved = _prove(connection, tables, beside=BESIDE)
        for table in made:
            connection.execute(f"drop view if exists {table.name}")
        for name in layouts:
            connection.execute(f"alter table {name}{BESIDE} rename to {name.partition('.')[2]}")
        engines.settle(connection, embedded)
    progress.report("switch", "the working database has tables of its own")
    return proved


def _tables_there(orders: dict[str, list[str]]) -> tuple[list[Table], list[Table]]:
    """All tables that models have made on Spark, and those among them that are moved. Raises `MigrationError`."""
    made = [table for table in spark_tables.find_all(orders) if table.name not in spark.NOTES]
    if missing := sorted(set(orders) - {table.name for table in made}):
        raise MigrationError(
            f"Spark has no table {', '.join(missing)}. Nothing was switched. With PODCAST_ENGINE=duckdb, podcast run "
            "builds all tables anew."
        )
    return made, [table for table in made if table.name in orders]


def _copy_beside(connection: duckdb.DuckDBPyConnection, name: str, columns: Columns) -> None:
    described = ", ".join(f'"{column}" {type_}' for column, type_ in columns)
    connection.execute(f"create table {name}{BESIDE} ({described})")
    connection.execute(f"insert into {name}{BESIDE} by name select * from {name}")


def _refuse_others(relation: str, here: Columns, there: Columns) -> None:
    """Raise `MigrationError` where a table has other columns than a build would give it, or some of unknown types."""
    if others := sorted({name for name, _ in here} ^ {name for name, _ in there}):
        raise MigrationError(
            f"{relation} was built by another version: it differs in the columns {', '.join(others)}. Nothing was "
            "changed. Have this version build it first: podcast run"
        )
    if unknown := [f"{name} {type_}" for name, type_ in (*here, *there) if not checksums.is_known(type_)]:
        raise MigrationError(f"{relation} cannot be compared: {', '.join(unknown)}. Nothing was changed.")


def _prove(connection: duckdb.DuckDBPyConnection, tables: Sequence[Table], *, beside: str = "") -> tuple[Proved, ...]:
    """What both engines have worked out, each of its own tables. Raises `MigrationError` where they differ."""
    proved: list[Proved] = []
    found: list[Difference] = []
    for table in tables:
        columns = handover.described(connection, f"{table.name}{beside}")
        here = checksums.read(_row(connection, checksums.query(f"{table.name}{beside}", columns, DUCKDB)), columns)
        there = _sums_there(table, columns)
        found += checksums.differences(table.name, here, there)
        proved.append(Proved(table.name, here.rows, len(columns), here.checksum))
    if found:
        raise MigrationError(refusal(found))
    progress.report("compare", f"{sum(table.rows for table in proved):,} rows are equal")
    return tuple(proved)


def _row(connection: duckdb.DuckDBPyConnection, sql: str) -> tuple[object, ...]:
    return connection.execute(sql).fetchall()[0]


def _sums_there(table: Table, like: Columns) -> Sums:
    """What Spark works out; with its columns in the order that the working database has, on which whole rows depend."""
    types = dict(table.columns)
    columns = [(name, types[name]) for name, _ in like]
    return checksums.read(spark.first_row(checksums.query(table.name, columns, SPARK)), columns)


_MOVES = {
    (ON_SPARK, ON_SPARK): _to_spark,
    (ON_SPARK, EMBEDDED): _from_spark,
    (ON_SNOWFLAKE, ON_SNOWFLAKE): moving_snowflake.to_snowflake,
    (ON_SNOWFLAKE, EMBEDDED): moving_snowflake.from_snowflake,
}
"""By the engine that is not DuckDB, and the one to move to."""
