"""What the working database and another engine, which builds the layers, hand to each other.

There go the relations that models read and that engine does not build; back comes the mark that both are at one: the
tables of the layers are of the build that the working database knows.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.domain import Layer

if TYPE_CHECKING:
    import duckdb

BUILT = (Layer.BRONZE, Layer.SILVER, Layer.GOLD)
"""The layers that another engine builds."""

Columns = Sequence[tuple[str, str]]
"""Names and types, these as DuckDB calls them."""

SCHEMAS = ("bronze", "silver", "gold", "ops")

CARRIED = {
    "ops.batches": "select * from ops.batches",
    "ops.pending_reference_changes": "select * from ops.pending_reference_changes",
    "silver.users": "select * from silver.users",
    "silver.episodes": "select * from silver.episodes",
    "silver.users_history": "select * from silver.users_history",
    "silver.episodes_history": "select * from silver.episodes_history",
}
"""By relation, what the models of a layer read that no engine but that of the working database builds."""

RAW_LINES = {
    "bronze.raw_events": """
        select * from bronze.raw_events where batch_id in (select batch_id from ops.batches where pending)
    """,
}
"""Of the raw lines, those of the batches that a run works on: models read no others."""

NOT_KEPT = """
    batch_id in (select batch_id from ops.batches where raw_pruned_at is not null)
    or batch_id not in (select batch_id from ops.batches)
"""
"""Of raw lines that lie elsewhere too, those that were pruned here, and those of batches that the ledger has not."""


LEDGER = ("ops.batches", "ops.runs", "ops.validation_results", "ops.revalidations", "ops.run_steps")
"""What is published that no engine but that of the working database writes, besides the reference data."""


KEPT = "ops.kept_ledgers"
"""Which of the ledgers that are kept elsewhere the working database is of."""

BEING_BROUGHT = "being brought"
"""In place of a token: of one, but not whole yet."""


@dataclass(frozen=True)
class Model:
    """A model that has a table, as the project describes it."""

    relation: str
    """Schema and table."""
    columns: tuple[str, ...]
    """In the order that its description has."""
    layer: Layer
    strategy: str | None
    """How an increment replaces rows; none where each build makes the table anew."""
    unique_key: tuple[str, ...]


@dataclass(frozen=True)
class Build:
    """What another engine has just built."""

    layer: Layer
    models: Sequence[Model]
    """Of all layers."""
    is_whole: bool
    """Whether each of its tables was made anew."""
    leaving: Callable[[str], Mapping[str, str]]
    """For a target of dbt's, by relation, the condition on which rows, called `held`, were replaced by an increment."""
    layouts: Callable[[], Mapping[str, Columns]]
    """By relation, the columns and types that a build by the engine of the working database gives it; takes seconds."""


@dataclass(frozen=True)
class GateSource:
    """Where the tables of a gate are looked at."""

    kind: str
    """As Great Expectations calls it: there is a method `add_<kind>` for it."""
    options: Mapping[str, Any] = field(repr=False)
    """Of that method; a secret can be among them."""
    frame: Callable[[str], AbstractContextManager[Any]] | None = field(default=None, repr=False)
    """A table of schema `ops` as the library's data frame, where there is no SQL by which the library finds one."""


def carried_before(layer: Layer, *, without_rows: bool = False) -> Mapping[str, str]:
    """By relation, the rows that go over before a layer is built, or only its columns."""
    relations = CARRIED | RAW_LINES if layer is Layer.BRONZE else {"ops.batches": CARRIED["ops.batches"]}
    if without_rows:
        return {name: f"select * from ({rows}) where false" for name, rows in relations.items()}
    return relations


def described(connection: duckdb.DuckDBPyConnection, relation: str) -> list[tuple[str, str]]:
    """Names and types of the columns of a relation of the working database."""
    found = connection.execute(f"describe select * from {relation}").fetchall()
    return [(name, type_.lower()) for name, type_, *_ in found]


def kind(connection: duckdb.DuckDBPyConnection, relation: str) -> str | None:
    """What the working database has of this name, `BASE TABLE` or `VIEW`; none where there is nothing."""
    row = connection.execute(
        """
        select table_type from information_schema.tables
        where table_catalog = current_database() and table_schema || '.' || table_name = ?
        """,
        [relation],
    ).fetchone()
    return row[0] if row else None


def describe_carried(connection: duckdb.DuckDBPyConnection, empty: duckdb.DuckDBPyConnection) -> None:
    """Give another database what goes over, without a row."""
    for relation in CARRIED:
        columns = ", ".join(f'"{name}" {type_}' for name, type_ in described(connection, relation))
        empty.execute(f"create table if not exists {relation} ({columns})")


def new_mark() -> str:
    """One that no build has."""
    return uuid.uuid4().hex


def mark(connection: duckdb.DuckDBPyConnection) -> str | None:
    """That of the last build that another engine has ended, as the working database has it."""
    row = connection.execute("select max(token) from ops.engine_builds").fetchone()
    return row[0] if row else None


def set_mark(connection: duckdb.DuckDBPyConnection, token: str | None) -> None:
    """That of a build which has ended; none where the working database has tables of its own."""
    connection.execute("delete from ops.engine_builds")
    if token:
        connection.execute("insert into ops.engine_builds values (?)", [token])


def copy_ledger(connection: duckdb.DuckDBPyConnection, path: Path, built: Collection[str]) -> None:
    """A new database with all tables and views of the working one, without raw lines and the rows of what is built."""
    names = connection.execute(
        """
        select current_database(), schema_name || '.' || table_name from duckdb_tables()
        where database_name = current_database() and not internal and not temporary
        """
    ).fetchall()
    quoted = str(path).replace("'", "''")
    connection.execute(f"attach '{quoted}' as kept")
    try:
        connection.execute(f"copy from database {names[0][0]} to kept (schema)")
        for _, relation in names:
            if relation not in {*built, *RAW_LINES, KEPT}:
                connection.execute(f"insert into kept.{relation} from {relation}")
    finally:
        connection.execute("detach kept")


def kept(connection: duckdb.DuckDBPyConnection) -> tuple[str, str] | None:
    """Address and token of the ledger that is kept elsewhere, and which this one has gone on from."""
    return connection.execute(f"select address, token from {KEPT}").fetchone()


def set_kept(connection: duckdb.DuckDBPyConnection, address: str, token: str) -> None:
    """The ledger that this one is now, or goes on from."""
    connection.execute("create schema if not exists ops")
    connection.execute(f"create or replace table {KEPT} as select ? as address, ? as token", [address, token])
