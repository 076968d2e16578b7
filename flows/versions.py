"""What the tables were made of and by: versions of the reference data, and of the models and rules of gold.

A version of the reference data, in `ops.reference_versions`, is *pending* until the run that published its consequence
has ended, as a batch is. `ops.gold_versions` has one row, and none while gold is being made anew: whatever becomes of
that run, the next one knows by what gold was made, or that it was not made to its end.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from flows.warehouse import transaction, utc_now

if TYPE_CHECKING:
    import duckdb


def is_current(connection: duckdb.DuckDBPyConnection, content_hash: str) -> bool:
    """Whether the tables are made of this content."""
    row = connection.execute(
        "select content_hash, is_built from ops.reference_versions order by seen_at desc limit 1"
    ).fetchone()
    return row == (content_hash, True)


def enter(connection: duckdb.DuckDBPyConnection, content_hash: str) -> None:
    """Enter the content as the newest version, later than all before; one that is the newest already stays as it is."""
    row = connection.execute(
        "select max(seen_at), arg_max(content_hash, seen_at) from ops.reference_versions"
    ).fetchone()
    last_seen_at, newest = row or (None, None)
    if newest == content_hash:
        return
    # a clock that was set back must not give a version the time of an earlier one
    seen_at = max(utc_now(), last_seen_at + timedelta(microseconds=1)) if last_seen_at else utc_now()
    connection.execute("insert into ops.reference_versions values (?, ?, false, true)", [content_hash, seen_at])


def mark_built(connection: duckdb.DuckDBPyConnection) -> None:
    """Note that the tables are made of the newest version."""
    connection.execute(
        """
        update ops.reference_versions set is_built = true
        where seen_at = (select max(seen_at) from ops.reference_versions)
        """
    )


def settle(connection: duckdb.DuckDBPyConnection) -> None:
    """Everything that was entered is published; belongs into the transaction that settles the ledger."""
    connection.execute("update ops.reference_versions set pending = false where pending")


def is_gold_made_by(connection: duckdb.DuckDBPyConnection, version: str) -> bool:
    """Whether all of gold was made by these models and rules."""
    return connection.execute("select version from ops.gold_versions").fetchall() == [(version,)]


def unmark_gold(connection: duckdb.DuckDBPyConnection) -> None:
    """Gold, or what it is made of, is about to be made anew."""
    connection.execute("delete from ops.gold_versions")


def mark_gold(connection: duckdb.DuckDBPyConnection, version: str) -> None:
    """Gold has been made anew by these models and rules."""
    with transaction(connection):
        unmark_gold(connection)
        connection.execute("insert into ops.gold_versions values (?)", [version])
