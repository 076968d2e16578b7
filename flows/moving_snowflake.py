"""Moving over to Snowflake and back: what is copied there, and how it is proved.

Snowflake has no text of a double that has all its bits, so nothing is worked out there: its rows are fetched back, and
the checksums of these are compared with those of the working database's own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flows import checksums, engines, handover, progress, snowflake, transform
from flows.checksums import DUCKDB
from flows.errors import MigrationError
from flows.moving import Proved, refusal
from flows.warehouse import transaction

if TYPE_CHECKING:
    import duckdb

    from flows.checksums import Difference, Sums
    from flows.settings import Settings

FETCHED = "fetched"
"""The table with what came back, as long as it is compared."""


def to_snowflake(
    settings: Settings, connection: duckdb.DuckDBPyConnection, orders: dict[str, list[str]]
) -> tuple[Proved, ...]:
    """Lay the tables out as a build on Snowflake would, and fill them and those that models read."""
    snowflake.set_mark(settings, None)
    transform.build_empty(settings, connection)
    progress.report("lay out", f"{len(orders)} tables on Snowflake")
    for relation in (*handover.RAW_LINES, *orders):
        snowflake.fill(connection, settings, relation)
    progress.report("copy", f"{len(orders)} tables, and the raw lines")
    proved = _prove(settings, connection, list(orders))
    token = handover.new_mark()
    snowflake.set_mark(settings, token)  # one that the database does not have counts for nothing
    with transaction(connection):
        handover.set_mark(connection, token)
    progress.report("switch", "the next run goes on from Snowflake's tables")
    return proved


def from_snowflake(
    settings: Settings, connection: duckdb.DuckDBPyConnection, orders: dict[str, list[str]]
) -> tuple[Proved, ...]:
    """The working database has all that Snowflake has built: that it does is proved."""
    proved = _prove(settings, connection, list(orders))
    with transaction(connection):
        engines.settle(connection, settings.model_copy(update={"engine": "duckdb"}))
    progress.report("switch", "the next run goes on from the tables of the working database")
    return proved


def _prove(settings: Settings, connection: duckdb.DuckDBPyConnection, relations: list[str]) -> tuple[Proved, ...]:
    """The sums of either side. Raises `MigrationError` where they differ."""
    proved: list[Proved] = []
    found: list[Difference] = []
    for relation in relations:
        columns = handover.described(connection, relation)
        if unknown := [f"{name} {type_}" for name, type_ in columns if not checksums.is_known(type_)]:
            raise MigrationError(f"{relation} cannot be compared: {', '.join(unknown)}. Nothing was switched.")
        connection.execute(f"create or replace temp table {FETCHED} as select * from {relation} limit 0")
        snowflake.fetch(connection, settings, relation, into=FETCHED)
        here, there = (_sums(connection, name, columns) for name in (relation, FETCHED))
        found += checksums.differences(relation, here, there, engine="Snowflake")
        proved.append(Proved(relation, here.rows, len(columns), here.checksum))
    connection.execute(f"drop table if exists {FETCHED}")
    if found:
        raise MigrationError(refusal(found))
    progress.report("compare", f"{sum(table.rows for table in proved):,} rows are equal")
    return tuple(proved)


def _sums(connection: duckdb.DuckDBPyConnection, relation: str, columns: handover.Columns) -> Sums:
    return checksums.read(connection.execute(checksums.query(relation, columns, DUCKDB)).fetchall()[0], columns)
