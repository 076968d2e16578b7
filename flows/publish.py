"""The atomic last step: the audited tables become the published copy, by one rename."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from flows import history, ledger
from flows.domain import RunSummary
from flows.errors import PublishError
from flows.warehouse import transaction

if TYPE_CHECKING:
    from collections.abc import Sequence

    import duckdb

    from flows.settings import Settings

TABLES = (
    "silver.users",
    "silver.episodes",
    "silver.cleansed_events",
    "gold.fact_user_interactions",
    "gold.dim_users",
    "gold.dim_episodes",
    "gold.top_completed_episodes",
    "gold.listen_through_by_country",
    "gold.multi_episode_listeners_daily",
    "ops.batches",
    "ops.batch_profiles",
    "ops.runs",
    "ops.validation_results",
)


def publish(settings: Settings, connection: duckdb.DuckDBPyConnection, summary: RunSummary) -> None:
    """Make the copy beside the published one, check it, rename it, and only then settle the ledger.

    A crash before the rename leaves the last published state; one after it leaves batches pending whose
    consequence is published, and the next run does the same again. Raises `PublishError` when the copy
    differs from the warehouse.
    """
    batch_ids = [batch.batch_id for batch in ledger.pending(connection)]
    copy = settings.published_path.with_name("published.duckdb.new")
    _remove(copy)
    _copy_tables(connection, copy)
    try:
        _settle(connection, "published", batch_ids, summary, settings.inputs_hash())
        _compare(connection)
        connection.execute("checkpoint published")
    finally:
        connection.execute("detach published")
    _replace(copy, settings.published_path)
    _settle(connection, settings.warehouse_path.stem, batch_ids, summary, settings.inputs_hash())


def _copy_tables(connection: duckdb.DuckDBPyConnection, copy: Path) -> None:
    quoted = str(copy).replace("'", "''")
    connection.execute(f"attach '{quoted}' as published")
    for schema in dict.fromkeys(table.split(".")[0] for table in TABLES):
        connection.execute(f"create schema published.{schema}")
    for table in TABLES:
        connection.execute(f"create table published.{table} as select * from {table}")


def _settle(
    connection: duckdb.DuckDBPyConnection,
    catalog: str,
    batch_ids: Sequence[str],
    summary: RunSummary,
    inputs_hash: str,
) -> None:
    """The state after this run, written to the copy first and to the warehouse when the copy is public."""
    with transaction(connection):
        ledger.settle(connection, catalog, batch_ids, now=summary.finished_at)
        history.record_run(connection, summary, catalog=catalog, inputs_hash=inputs_hash)


def _compare(connection: duckdb.DuckDBPyConnection) -> None:
    """Every table of the copy has as many rows as in the warehouse; the run's own record comes on top."""
    for table in TABLES:
        counts = connection.execute(
            f"select (select count(*) from {table}), (select count(*) from published.{table})"
        ).fetchone()
        here, there = counts or (0, 0)
        if there != here + (table == "ops.runs"):
            raise PublishError(
                f"The copy of {table} has {there} rows instead of {here}. The last published state stays; run again."
            )


def _replace(copy: Path, target: Path) -> None:
    """Rename, durably: the bytes reach the disk before the name does."""
    for path in (copy, copy.parent):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
            if path == copy:
                copy.replace(target)
        finally:
            os.close(descriptor)


def _remove(copy: Path) -> None:
    """What a crash left behind."""
    for path in (copy, copy.with_name(copy.name + ".wal")):
        path.unlink(missing_ok=True)
