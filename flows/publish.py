"""The atomic last step: the audited tables become the published copy, by one rename."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from flows import engines, files, history, ledger, progress, spare, transitions, unpublished, versions
from flows.domain import RunSummary
from flows.errors import PublishError
from flows.unpublished import Anew, Change, Changes
from flows.warehouse import copy_file, transaction

if TYPE_CHECKING:
    from collections.abc import Sequence

    import duckdb

    from flows.settings import Settings

TABLES = (
    "silver.users",
    "silver.episodes",
    "silver.users_history",
    "silver.episodes_history",
    "silver.cleansed_events",
    "gold.fact_user_interactions",
    "gold.dim_users",
    "gold.dim_episodes",
    "gold.dim_podcasts",
    "gold.dim_dates",
    "gold.fact_listens",
    "gold.episode_daily",
    "gold.episode_listen_through",
    "gold.episode_release_curve",
    "gold.episode_transitions",
    "gold.country_listen_through",
    "gold.listener_daily",
    "gold.listener_episodes",
    "gold.listener_cohort_retention",
    "gold.top_completed_episodes",
    "gold.listen_through_by_country",
    "gold.multi_episode_listeners_daily",
    "gold.quality_daily",
    "ops.batches",
    "ops.batch_profiles",
    "ops.event_keys",
    "ops.sources",
    "ops.runs",
    "ops.validation_results",
    "ops.revalidations",
    "ops.run_steps",
)


def publish(
    settings: Settings, connection: duckdb.DuckDBPyConnection, summary: RunSummary, *, inputs_hash: str
) -> None:
    """Make the copy beside the published one, check it, rename it, and only then settle the ledger.

    Where the published file is as the last publication left it, the one before it (or a copy of it) gets the rows that
    were changed since; else all tables are copied.

    A crash before the rename leaves the last published state; one after it leaves a ledger that does not know what
    is published but for the mark in `ops.publishing`, and the next run begins by catching up (`catch_up`). Raises
    `PublishError` when the copy differs from the warehouse.
    """
    if history.is_recorded(connection, summary.run_id):  # by the first try of a task that is tried again
        return
    batch_ids = [batch.batch_id for batch in ledger.pending(connection)]
    history.record_steps(connection, summary.run_id, progress.steps())
    copy = settings.published_path.with_name("published.duckdb.new")
    remove(copy)
    former = unpublished.published_fingerprint(connection)
    changes = _start(settings, connection, copy)
    _copy_tables(connection, copy, changes)
    try:
        _settle(settings, connection, "published", batch_ids, summary, inputs_hash)
        _compare(connection)
        engines.publish(connection, settings, TABLES, "published")
        connection.execute("checkpoint published")
    finally:
        connection.execute("detach published")
    _mark(connection, summary.run_id)
    _replace(copy, settings.published_path, former=None if changes.everything else former)
    _settle(settings, connection, settings.warehouse_path.stem, batch_ids, summary, inputs_hash)


def catch_up(settings: Settings, connection: duckdb.DuckDBPyConnection) -> None:
    """Settle the ledger by the published copy, where a run ended between the rename and its own settling.

    Else a file that was published then, and changes now, would not be known as published. Comes before anything
    else that a run does.
    """
    import duckdb

    quoted = str(settings.published_path).replace("'", "''")
    try:
        connection.execute(f"attach '{quoted}' as published (read_only)")
    except duckdb.Error:  # there is none yet, or it is damaged and will be made anew
        return
    try:
        with transaction(connection):
            _take_over(connection, settings)
    except duckdb.Error as error:
        if str(settings.published_path) not in f"{error}":
            raise
        # damaged behind its catalog: made anew by the next run that publishes
    finally:
        connection.execute("detach published")


def _take_over(connection: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    """The newest run of the copy, and all that it settled, if it is the one that this warehouse was publishing.

    Nothing else can have changed these columns since: every run, and every decision, begins by catching up. A copy
    that another state of the warehouse has made, as before a rebuild, is none to go by: it will be made anew.
    """
    lacking = connection.execute(
        """
        select run_id, finished_at from published.ops.runs
        where status = 'passed'
            and run_id in (select run_id from ops.publishing)
            and run_id not in (select run_id from ops.runs where status = 'passed')
        """
    ).fetchone()
    if lacking is None:
        return
    run_id, finished_at = lacking
    batch_ids = [batch.batch_id for batch in ledger.pending(connection)]
    settled = ("status", "gate", "reason", "detail", "updated_at", "invalid_count", "rules_version", "pending")
    connection.execute(
        f"""
        update ops.batches set {", ".join(f"{name} = settled.{name}" for name in settled)}
        from published.ops.batches as settled
        where batches.batch_id = settled.batch_id
        """
    )
    transitions.record(connection, run_id, batch_ids, now=finished_at)
    history.close_revalidation(connection, settings.warehouse_path.stem, now=finished_at)
    versions.settle(connection)
    unpublished.settle(connection, settings.published_path)
    connection.execute("delete from ops.runs where run_id = ?", [run_id])
    connection.execute("insert into ops.runs by name select * from published.ops.runs where run_id = ?", [run_id])
    connection.execute("delete from ops.publishing")


def _mark(connection: duckdb.DuckDBPyConnection, run_id: str) -> None:
    """The copy of the run is about to be public."""
    with transaction(connection):
        connection.execute("delete from ops.publishing")
        connection.execute("insert into ops.publishing values (?)", [run_id])


def _start(settings: Settings, connection: duckdb.DuckDBPyConnection, copy: Path) -> Changes:
    """Begin the copy with the spare or with what is published, if these can be gone by; what it lacks then."""
    published = settings.published_path
    found, since_spare = (unpublished.changes(connection, since_spare=older) for older in (False, True))
    is_anew = found.everything or not unpublished.is_last_published(connection, published)
    # to write a whole table takes longer than to copy the file that has it
    takes_spare = not since_spare.has_more_anew_than(found) and unpublished.is_spare_whole(connection, published)
    unpublished.forget_files(connection)
    if is_anew:
        spare.remove(published)
        return Changes({}, everything=True)
    if takes_spare:
        spare.path_beside(published).rename(copy)
        return since_spare
    spare.remove(published)
    copy_file(published, copy)
    return found


def _copy_tables(connection: duckdb.DuckDBPyConnection, copy: Path, changes: Changes) -> None:
    quoted = str(copy).replace("'", "''")
    connection.execute(f"attach '{quoted}' as published")
    for schema in dict.fromkeys(table.split(".")[0] for table in TABLES):
        connection.execute(f"create schema if not exists published.{schema}")
    for table in TABLES:
        if change := _change(connection, table, changes):
            _bring_up(connection, table, change)


def _change(connection: duckdb.DuckDBPyConnection, table: str, changes: Changes) -> Change | None:
    """What has become of a table; what Python writes notes nothing, and is small."""
    if changes.everything or table.startswith("ops.") or _differ_in_columns(connection, table):
        return Anew()
    return changes.tables.get(table)


def _differ_in_columns(connection: duckdb.DuckDBPyConnection, table: str) -> bool:
    schema, name = table.split(".")
    here, there = (
        connection.execute(
            f"""
            select column_name, data_type from duckdb_columns()
            where database_name = {database} and schema_name = ? and table_name = ?
            order by column_index
            """,
            [schema, name],
        ).fetchall()
        for database in ("current_database()", "'published'")
    )
    return here != there


def _bring_up(connection: duckdb.DuckDBPyConnection, table: str, change: Change) -> None:
    if isinstance(change, Anew):
        connection.execute(f"create or replace table published.{table} as select * from {table}")
        return
    connection.execute(f"delete from published.{table} as held where {change.condition('held')}")
    connection.execute(f"insert into published.{table} select * from {table} as now where {change.condition('now')}")


def _settle(
    settings: Settings,
    connection: duckdb.DuckDBPyConnection,
    catalog: str,
    batch_ids: Sequence[str],
    summary: RunSummary,
    inputs_hash: str,
) -> None:
    """The state after this run, written to the copy first and to the warehouse when the copy is public."""
    with transaction(connection):
        ledger.count_invalid(connection, catalog, batch_ids)
        ledger.settle(connection, catalog, batch_ids, rules_version=settings.rules_version(), now=summary.finished_at)
        history.close_revalidation(connection, catalog, now=summary.finished_at)
        if catalog != "published":
            transitions.record(connection, summary.run_id, batch_ids, now=summary.finished_at)
            versions.settle(connection)
            unpublished.settle(connection, settings.published_path)
            engines.settle(connection, settings)
            connection.execute("delete from ops.publishing")
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


def _replace(copy: Path, target: Path, *, former: str | None) -> None:
    """Rename, durably: the bytes reach the disk before the name does. What had the name is kept if it is `former`."""
    files.sync(copy)
    spare.keep(target, former)
    files.rename(copy, target)


def remove(copy: Path) -> None:
    """Remove what a crash left behind."""
    for path in (copy, copy.with_name(copy.name + ".wal")):
        path.unlink(missing_ok=True)
