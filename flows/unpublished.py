"""What the published copy lacks: the notes that dbt's models leave of what they changed, since the last publication.

A model of silver or gold notes before each build whether it is made anew or by which strategy rows of it are replaced,
and the models that say which rows those are note them (macros/rules/unpublished.sql), in the transaction of the build.
So whatever became of the runs since, the copy that was published then, with these rows exchanged, is what the tables
are now. That the file is that copy, its size and times say.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flows.domain import fingerprint

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import duckdb


@dataclass(frozen=True)
class Replacement:
    """Rows that may have changed: those whose columns are together in the noted ones of `notes`, column by column."""

    notes: str
    columns: tuple[tuple[str, str], ...]

    def condition(self, relation: str) -> str:
        """The SQL condition that a row of `relation` is one of these.

        The first column is looked up by itself too, so that the engine can pass over the others of most rows.
        """
        column, noted = self.columns[0]
        first = f'{relation}."{column}" in (select "{noted}" from {self.notes})'
        equal = " and ".join(f'noted."{noted}" = {relation}."{column}"' for column, noted in self.columns)
        return f"{first} and exists (select 1 from {self.notes} as noted where {equal})"


@dataclass(frozen=True)
class Anew:
    """All rows may have changed."""


Change = Replacement | Anew


@dataclass(frozen=True)
class Changes:
    """What was noted; a table that is not among `tables` is as it was, but where `everything` may have changed."""

    tables: Mapping[str, Change]
    everything: bool = False


def changes(connection: duckdb.DuckDBPyConnection) -> Changes:
    """What models noted since the last publication."""
    noted = connection.execute("select distinct relation, strategy, unique_key from ops.unpublished_models").fetchall()
    found: dict[str, Change] = {}
    for relation, strategy, unique_key in noted:
        change = _change(strategy, unique_key)
        found[relation] = change if found.get(relation, change) == change else Anew()
    return Changes(found, everything=None in found)


def _change(strategy: str | None, unique_key: str | None) -> Change:
    """By a strategy of `macros/engine/incremental_strategies.sql`; one that leaves no notes of rows is none.

    Of keys, that strategy also recomputes rows with the hash of one and the time of another, to what they were; these
    need not be written.
    """
    if strategy == "replace_touched_keys":
        return Replacement("ops.unpublished_keys", (("key_hash", "key_hash"), ("timestamp", "event_at")))
    if strategy == "replace_touched_listening" and unique_key:
        return Replacement("ops.unpublished_listening", tuple((name, name) for name in unique_key.split(",")))
    return Anew()


def is_last_published(connection: duckdb.DuckDBPyConnection, path: Path) -> bool:
    """Whether the file is there and is the one that the last publication left."""
    try:
        there = fingerprint(path.stat())
    except FileNotFoundError:
        return False
    return connection.execute("select fingerprint from ops.published_files").fetchall() == [(there,)]


def forget_file(connection: duckdb.DuckDBPyConnection) -> None:
    """Whatever goes wrong from here on, the next publication makes the copy anew."""
    connection.execute("delete from ops.published_files")


def settle(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    """The file has all that was noted; belongs into the transaction that settles the ledger."""
    for table in ("published_files", "unpublished_models", "unpublished_keys", "unpublished_listening"):
        connection.execute(f"delete from ops.{table}")
    connection.execute("insert into ops.published_files values (?)", [fingerprint(path.stat())])
