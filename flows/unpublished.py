"""What the published copy lacks: the notes that dbt's models leave of what they changed, since the last publication.

A model of silver or gold notes before each build whether it is made anew or by which strategy rows of it are replaced,
and the models that say which rows those are note them (macros/rules/unpublished.sql), in the transaction of the build.
So whatever became of the runs since, the copy that was published then, with these rows exchanged, is what the tables
are now. That the file is that copy, its size and times say. The spare, which was published before that, lacks what was
noted between the two besides; these notes are kept with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flows import spare
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

        Each column is looked up by itself too, so that the engine can pass over the others of most rows, and over
        values that none of the noted has.
        """
        each = [f'{relation}."{column}" in (select "{noted}" from {self.notes})' for column, noted in self.columns]
        equal = " and ".join(f'noted."{noted}" = {relation}."{column}"' for column, noted in self.columns)
        return f"{' and '.join(each)} and exists (select 1 from {self.notes} as noted where {equal})"


@dataclass(frozen=True)
class Anew:
    """All rows may have changed."""


Change = Replacement | Anew


@dataclass(frozen=True)
class Changes:
    """What was noted; a table that is not among `tables` is as it was, but where `everything` may have changed."""

    tables: Mapping[str, Change]
    everything: bool = False

    def has_more_anew_than(self, other: Changes) -> bool:
        """Whether whole tables have to be written that need not be by the other."""
        mine, others = ({t for t, change in c.tables.items() if change == Anew()} for c in (self, other))
        return self.everything or not mine <= others


MODELS, KEYS, LISTENING = "models", "keys", "listening"
COLUMNS = {
    MODELS: "relation, strategy, unique_key",
    KEYS: "key_hash, event_at",
    LISTENING: "user_id, episode_id, event_date",
}
"""Of each kind of notes."""


def changes(connection: duckdb.DuckDBPyConnection, *, since_spare: bool = False) -> Changes:
    """What models noted since the last publication, or since the one before it."""
    models = f"select distinct {COLUMNS[MODELS]} from {_notes(MODELS, since_spare=since_spare)}"
    found: dict[str, Change] = {}
    for relation, strategy, unique_key in connection.execute(models).fetchall():
        change = _change(strategy, unique_key, since_spare=since_spare)
        found[relation] = change if found.get(relation, change) == change else Anew()
    return Changes(found, everything=None in found)


def _notes(kind: str, *, since_spare: bool) -> str:
    """The notes of a kind, as a relation."""
    if not since_spare:
        return f"ops.unpublished_{kind}"
    columns = COLUMNS[kind]
    return f"(select {columns} from ops.unpublished_{kind} union select {columns} from ops.spare_{kind})"


def _change(strategy: str | None, unique_key: str | None, *, since_spare: bool) -> Change:
    """By a strategy of `macros/engine/incremental_strategies.sql`; one that leaves no notes of rows is none.

    Of keys, that strategy also recomputes rows with the hash of one and the time of another, to what they were; these
    need not be written.
    """
    if strategy == "replace_touched_keys":
        noted = _notes(KEYS, since_spare=since_spare)
        return Replacement(noted, (("key_hash", "key_hash"), ("timestamp", "event_at")))
    if strategy == "replace_touched_listening" and unique_key:
        noted = _notes(LISTENING, since_spare=since_spare)
        return Replacement(noted, tuple((name, name) for name in unique_key.split(",")))
    return Anew()


def published_fingerprint(connection: duckdb.DuckDBPyConnection) -> str | None:
    """Of the file that the last publication left; none where that was not noted."""
    return _fingerprint(connection, "published_files")


def is_last_published(connection: duckdb.DuckDBPyConnection, path: Path) -> bool:
    """Whether the file is there and is the one that the last publication left."""
    try:
        there = fingerprint(path.stat())
    except FileNotFoundError:
        return False
    return there == published_fingerprint(connection)


def _fingerprint(connection: duckdb.DuckDBPyConnection, table: str) -> str | None:
    row = connection.execute(f"select max(fingerprint) from ops.{table}").fetchone()
    return row[0] if row else None


def is_spare_whole(connection: duckdb.DuckDBPyConnection, path: Path) -> bool:
    """Whether the spare beside the published file can be gone by, and written."""
    return spare.is_as_left(spare.path_beside(path), _fingerprint(connection, "spare_files"))


def forget_files(connection: duckdb.DuckDBPyConnection) -> None:
    """Whatever goes wrong from here on, the next publication makes the copy anew."""
    for table in ("published_files", "spare_files"):
        connection.execute(f"delete from ops.{table}")


def settle(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    """The file has all that was noted, and the spare lacks it; belongs into the transaction that settles the ledger."""
    for kind, columns in COLUMNS.items():
        connection.execute(f"delete from ops.spare_{kind}")
        connection.execute(f"insert into ops.spare_{kind} select {columns} from ops.unpublished_{kind}")
        connection.execute(f"delete from ops.unpublished_{kind}")
    forget_files(connection)
    connection.execute("insert into ops.published_files values (?)", [fingerprint(path.stat())])
    if (kept := spare.path_beside(path)).exists():
        connection.execute("insert into ops.spare_files values (?)", [fingerprint(kept.stat())])
