"""The versions of the reference data, `ops.reference_versions`: which content the tables were made of, and since when.

A version is *pending* until the run that published its consequence has ended, as a batch is.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from flows.warehouse import utc_now

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
