"""What may be forgotten, and when: raw lines that nothing public rests on, evidence of closed cases, old results."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from flows import evidence, ledger
from flows.warehouse import transaction, utc_now

if TYPE_CHECKING:
    import duckdb

    from flows.domain import Batch
    from flows.settings import Settings


@dataclass(frozen=True)
class Pruned:
    """What was, or in a dry run would be, deleted: batches and their lines, folders of evidence, results."""

    raw_batches: int = 0
    raw_lines: int = 0
    evidence: int = 0
    results: int = 0

    def __str__(self) -> str:
        """The counts in words."""
        return (
            f"{self.raw_lines:,} raw lines of {self.raw_batches:,} batches, evidence of {self.evidence:,} batches, "
            f"{self.results:,} validation results"
        )


@dataclass(frozen=True)
class Checkpointed:
    """The working database before and after, write-ahead log included, and what is free in it; all in bytes."""

    before: int
    after: int
    free: int

    def __str__(self) -> str:
        """The sizes in words."""
        return f"{self.before:,} bytes before, {self.after:,} after, {self.free:,} of them free"


def checkpoint(settings: Settings, connection: duckdb.DuckDBPyConnection) -> Checkpointed:
    """Bring the write-ahead log into the working database, which then is one file; its free blocks are used again."""
    before = _size(settings)
    connection.execute("force checkpoint")
    sizes = "select free_blocks * block_size from pragma_database_size() where database_name = current_database()"
    (free,) = connection.execute(sizes).fetchone() or (0,)
    return Checkpointed(before, _size(settings), int(free))


def _size(settings: Settings) -> int:
    path = settings.warehouse_path
    return sum(p.stat().st_size for p in (path, path.with_name(f"{path.name}.wal")) if p.exists())


def prune(settings: Settings, connection: duckdb.DuckDBPyConnection, *, dry_run: bool = False) -> Pruned:
    """Delete what is older than its setting, counted from the last change of state.

    Raw lines go only with attempts that are superseded or discarded: what is published, released or in
    quarantine keeps the lines it came from, so that it can be judged again, rebuilt and shown. The ledger keeps
    every batch, with its counts and with the time at which its lines went (`raw_pruned_at`).
    """
    now = utc_now()
    raw = _raw(connection, _before(now, settings.keep_raw_days))
    closed = _evidence(settings, connection, _before(now, settings.keep_evidence_days))
    oldest_result = _before(now, settings.keep_results_days)
    pruned = Pruned(len(raw), sum(b.row_count for b in raw), len(closed), _results(connection, oldest_result))
    if not dry_run:
        with transaction(connection):
            _delete_raw(connection, raw, now)
            _delete_results(connection, oldest_result)
        for batch in closed:
            evidence.remove(settings, batch.batch_id)
    return pruned


def _before(now: datetime, days: int | None) -> datetime:
    """What is older than so many days; nothing is, without a number."""
    return datetime.min if days is None else now - timedelta(days=days)  # noqa: DTZ901 - UTC without a zone


def _raw(connection: duckdb.DuckDBPyConnection, before: datetime) -> list[Batch]:
    return ledger.out_of_force_with_lines(connection, before)


def _evidence(settings: Settings, connection: duckdb.DuckDBPyConnection, before: datetime) -> list[Batch]:
    """The batches that are no longer in quarantine, and whose evidence is there."""
    if settings.keep_evidence_days is None:
        return []
    closed = {*ledger.OUT_OF_FORCE, *ledger.CURRENT}
    batches = ledger.by_ids(connection, evidence.kept(settings))
    return [b for b in batches if b.status in closed and not b.pending and b.updated_at < before]


def _results(connection: duckdb.DuckDBPyConnection, before: datetime) -> int:
    row = connection.execute("select count(*) from ops.validation_results where checked_at < ?", [before]).fetchone()
    return int(row[0]) if row else 0


def _delete_raw(connection: duckdb.DuckDBPyConnection, batches: list[Batch], now: datetime) -> None:
    """The lines, and in the same transaction the note of it."""
    if not batches:
        return
    identifiers = [b.batch_id for b in batches]
    connection.execute(
        """
        delete from bronze.raw_events
        where load_at between ? and ? and batch_id in (select unnest(?::varchar[]))
        """,
        [min(b.load_at for b in batches), max(b.load_at for b in batches), identifiers],
    )
    ledger.mark_raw_pruned(connection, identifiers, now=now)


def _delete_results(connection: duckdb.DuckDBPyConnection, before: datetime) -> None:
    connection.execute("delete from ops.validation_results where checked_at < ?", [before])
    connection.execute("delete from ops.revalidations where judged_at < ?", [before])
