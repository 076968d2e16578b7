"""The batch ledger `ops.batches`, the only state of the pipeline: what it knows, and each transition as one statement.

A batch is *pending* from the transition that changes what the tables have to hold until the run that
published the consequence has finished; whatever a crash leaves behind is therefore taken up again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from flows.domain import Batch, BatchStatus, Gate, Selection
from flows.errors import LedgerError
from flows.warehouse import read_dicts, utc_now

if TYPE_CHECKING:
    import duckdb

COLUMNS = tuple(Batch.__dataclass_fields__)
CURRENT = (BatchStatus.PUBLISHED, BatchStatus.RELEASED)
IN_FORCE = (BatchStatus.LOADED, *CURRENT, BatchStatus.QUARANTINED)
"""The states of attempts whose lines are in the tables, or may come there by a verdict or a decision."""
OUT_OF_FORCE = (BatchStatus.SUPERSEDED, BatchStatus.DISCARDED)


def fingerprints(connection: duckdb.DuckDBPyConnection) -> dict[str, str]:
    """The fingerprint of each file name's latest attempt."""
    rows = connection.execute(
        "select filename, arg_max(fingerprint, attempt) from ops.batches group by filename"
    ).fetchall()
    return dict(rows)


def attempts(connection: duckdb.DuckDBPyConnection, filenames: Sequence[str]) -> dict[str, list[Batch]]:
    """All attempts at the files of those names, in order."""
    found: dict[str, list[Batch]] = {}
    for batch in _select(
        connection, "filename in (select unnest(?::varchar[])) order by filename, attempt", [list(filenames)]
    ):
        found.setdefault(batch.filename, []).append(batch)
    return found


def pending(connection: duckdb.DuckDBPyConnection) -> list[Batch]:
    """The batches whose consequence is not published yet, in order of file name and attempt."""
    return _select(connection, "pending order by filename, attempt")


def empty_of_run(connection: duckdb.DuckDBPyConnection, run_id: str) -> list[Batch]:
    """The files without rows that a run found."""
    return _select(connection, "status = 'empty' and run_id = ? order by filename", [run_id])


def recorded(connection: duckdb.DuckDBPyConnection, batch_ids: Sequence[str]) -> set[str]:
    """Which of the batches have been entered already."""
    rows = connection.execute(
        "select batch_id from ops.batches where batch_id in (select unnest(?::varchar[]))", [list(batch_ids)]
    ).fetchall()
    return {batch_id for (batch_id,) in rows}


def mark_all_pending(connection: duckdb.DuckDBPyConnection) -> int:
    """Make every batch pending whose raw lines are there, so that the next layers are computed from all of them.

    Gives their number.
    """
    marked = "update ops.batches set pending = true where row_count > 0 and raw_pruned_at is null"
    (count,) = connection.execute(marked).fetchone() or (0,)
    return int(count)


REJUDGED = """
    row_count > 0 and mutates is null
    and (status = 'published' or status = 'quarantined' and gate in ('raw', 'validated', 'cleansed', 'gold'))
"""
"""Which batches a new verdict can concern: what a person decided, and what was superseded, stays.

That a published file has changed is no matter of rules, and waits for a person.
"""


def outdated(connection: duckdb.DuckDBPyConnection, rules_version: str) -> int:
    """The number of batches whose verdict was given by other rules than those of `rules_version`."""
    row = connection.execute(
        f"select count(*) from ops.batches where {REJUDGED} and rules_version is distinct from ?", [rules_version]
    ).fetchone()
    return int(row[0]) if row else 0


def reopen(connection: duckdb.DuckDBPyConnection, batch_ids: Sequence[str]) -> None:
    """Back to `loaded`, so that every gate judges the batches again."""
    connection.execute(
        """
        update ops.batches
        set status = 'loaded', gate = null, reason = null, detail = null, pending = true, updated_at = ?
        where batch_id in (select unnest(?::varchar[]))
        """,
        [utc_now(), list(batch_ids)],
    )


def successors(connection: duckdb.DuckDBPyConnection, batch_ids: Sequence[str]) -> list[Batch]:
    """The earlier attempts that are in force instead of attempts that were just held back."""
    return _select(
        connection,
        """
        status in ('loaded', 'published', 'released') and exists (
            select 1 from ops.batches as held
            where held.batch_id in (select unnest(?::varchar[])) and held.filename = batches.filename
                and held.attempt > batches.attempt
        ) order by filename, attempt
        """,
        [list(batch_ids)],
    )


def by_status(connection: duckdb.DuckDBPyConnection, *statuses: BatchStatus, limit: int | None = None) -> list[Batch]:
    """The batches in one of the states, newest first; not more than `limit`."""
    return _select(
        connection,
        "status in (select unnest(?::varchar[])) order by load_at desc, filename, attempt desc limit ?",
        [list(statuses), limit],
    )


def by_ids(connection: duckdb.DuckDBPyConnection, batch_ids: Sequence[str]) -> list[Batch]:
    """The batches, newest first."""
    return _select(
        connection,
        "batch_id in (select unnest(?::varchar[])) order by load_at desc, filename, attempt desc",
        [list(batch_ids)],
    )


def out_of_force_with_lines(connection: duckdb.DuckDBPyConnection, before: datetime) -> list[Batch]:
    """The attempts that are over since before that time (UTC), and whose raw lines are still there."""
    return _select(
        connection,
        """
        status in (select unnest(?::varchar[])) and not pending and updated_at < ?
        and row_count > 0 and raw_pruned_at is null
        order by load_at, filename, attempt
        """,
        [list(OUT_OF_FORCE), before],
    )


def find(connection: duckdb.DuckDBPyConnection, name: str) -> Batch:
    """The batch that a person names by its id, by a unique beginning of it, or by its file (latest attempt).

    Raises `LedgerError` when none or several answer to the name.
    """
    by_file = _select(connection, "filename = ? order by attempt desc limit 1", [name])
    if by_file:
        return by_file[0]
    batches = _select(connection, "starts_with(batch_id, ?) order by batch_id", [name]) if name else []
    if len(batches) == 1:
        return batches[0]
    if not batches:
        raise LedgerError(
            f"No batch has the id or file name {name!r}. `podcast quarantine list` and `podcast status` name them."
        )
    named = ", ".join(f"{b.batch_id} ({b.filename})" for b in batches[:5])
    raise LedgerError(f"{name!r} is the beginning of {len(batches)} batch ids: {named}. Type more of it.")


def select(
    connection: duckdb.DuckDBPyConnection, selection: Selection, statuses: Collection[BatchStatus]
) -> list[Batch]:
    """The batches in one of the states that a person means, in order of file name and attempt.

    Raises `LedgerError` when nothing was said, when a named batch is not there or in another state, and when
    no batch is left.
    """
    if selection.is_empty:
        raise LedgerError("Name batches, or give a pattern for file names or days of arrival.")
    named = [b.batch_id for b in _named(connection, selection.names, statuses)]
    found = _select(
        connection,
        """
        status in (select unnest(?::varchar[]))
        and (? or batch_id in (select unnest(?::varchar[])))
        and filename in (
            select filename from ops.batches group by filename
            having cast(min(load_at) as date) >= coalesce(?, date '0001-01-01')
                and cast(min(load_at) as date) < coalesce(?, date '9999-12-31')
        )
        order by filename, attempt
        """,
        [list(statuses), not named, named, selection.arrived_from, selection.arrived_before],
    )
    found = [b for b in found if selection.pattern is None or fnmatchcase(b.filename, selection.pattern)]
    if not found:
        raise LedgerError(f"No batch that is {_either(statuses)} answers to that.")
    return found


def _named(
    connection: duckdb.DuckDBPyConnection, names: Sequence[str], statuses: Collection[BatchStatus]
) -> list[Batch]:
    batches = [find(connection, name) for name in names]
    wrong = [b for b in batches if b.status not in statuses]
    if wrong:
        are = "; ".join(f"{b.batch_id} ({b.filename}) is {b.status}" for b in wrong)
        raise LedgerError(f"Only a batch that is {_either(statuses)} can be chosen here: {are}.")
    return batches


def _either(statuses: Collection[BatchStatus]) -> str:
    return " or ".join(sorted(statuses))


def with_rows(connection: duckdb.DuckDBPyConnection, filenames: Collection[str]) -> set[str]:
    """Those of the files whose rows are in the tables, or wait in quarantine."""
    rows = connection.execute(
        """
        select distinct filename from ops.batches
        where filename in (select unnest(?::varchar[])) and status in (select unnest(?::varchar[]))
        """,
        [list(filenames), list(IN_FORCE)],
    ).fetchall()
    return {filename for (filename,) in rows}


def missing(connection: duckdb.DuckDBPyConnection) -> set[str]:
    """The files that an earlier look at the landing directory did not find any more."""
    rows = connection.execute("select filename from ops.batches where missing_since is not null").fetchall()
    return {filename for (filename,) in rows}


def mark_missing(connection: duckdb.DuckDBPyConnection, gone: Collection[str], back: Collection[str]) -> None:
    """Note which files are no longer in the landing directory, and which are there again; their rows stay."""
    for names, value in ((gone, utc_now()), (back, None)):
        if names:
            connection.execute(
                "update ops.batches set missing_since = ? where filename in (select unnest(?::varchar[]))",
                [value, list(names)],
            )


def record(connection: duckdb.DuckDBPyConnection, batches: Sequence[Batch]) -> None:
    """Enter new attempts; what was accepted of the same files before becomes pending with them.

    Belongs into the transaction that writes the rows of the batches.
    """
    if not batches:
        return
    filenames = [b.filename for b in batches if b.attempt > 1]
    if filenames:
        _prepare_earlier_attempts(connection, filenames)
    enter(connection, batches)


def enter(connection: duckdb.DuckDBPyConnection, batches: Sequence[Batch]) -> None:
    """Enter attempts as they are given, whatever else is known of their files."""
    values = [[getattr(batch, name) for batch in batches] for name in COLUMNS]
    unnested = ", ".join(f"unnest(?::{_array_type(name)}[])" for name in COLUMNS)
    connection.execute(f"insert into ops.batches ({', '.join(COLUMNS)}) select {unnested}", values)


def _prepare_earlier_attempts(connection: duckdb.DuckDBPyConnection, filenames: list[str]) -> None:
    """An accepted earlier attempt waits for the verdict on the new one; one that was never judged is over."""
    connection.execute(
        """
        update ops.batches
        set pending = true,
            status = case when status = 'loaded' then 'superseded' else status end,
            updated_at = ?
        where filename in (select unnest(?::varchar[])) and status in ('loaded', 'published', 'released')
        """,
        [utc_now(), filenames],
    )


def touch(connection: duckdb.DuckDBPyConnection, touched: Iterable[tuple[str, str]]) -> None:
    """Note the new fingerprints of files that were touched without a change of content."""
    pairs = list(touched)
    if pairs:
        connection.execute(
            """
            update ops.batches set fingerprint = t.fingerprint
            from (select unnest(?::varchar[]) as batch_id, unnest(?::varchar[]) as fingerprint) as t
            where batches.batch_id = t.batch_id
            """,
            [[p[0] for p in pairs], [p[1] for p in pairs]],
        )


def quarantine(
    connection: duckdb.DuckDBPyConnection, gate: Gate, reasons: Mapping[str, tuple[str, ...]], *, rules_version: str
) -> None:
    """`loaded` -> `quarantined`; the first reason names the kind, the others are the detail for a person."""
    connection.execute(
        """
        update ops.batches
        set status = 'quarantined', gate = ?, reason = t.reason, detail = t.detail, rules_version = ?, updated_at = ?
        from (
            select unnest(?::varchar[]) as batch_id, unnest(?::varchar[]) as reason, unnest(?::varchar[]) as detail
        ) as t
        where batches.batch_id = t.batch_id and batches.status = 'loaded'
        """,
        [
            gate,
            rules_version,
            utc_now(),
            list(reasons),
            [r[0] for r in reasons.values()],
            ["; ".join(r[1:]) for r in reasons.values()],
        ],
    )


def release(connection: duckdb.DuckDBPyConnection, batch: Batch, *, reason: str, who: str) -> None:
    """`quarantined` -> `released`: publish it as it is. Raises `LedgerError` from any other state."""
    if batch.status is BatchStatus.QUARANTINED and batch.row_count == 0:
        raise LedgerError(
            f"Batch {batch.batch_id} ({batch.filename}) has no rows to release: {batch.detail or batch.reason}. "
            "Land a corrected file under the same name, or discard the batch."
        )
    _decide(connection, batch, {BatchStatus.QUARANTINED}, BatchStatus.RELEASED, reason, who)
    connection.execute(
        "update ops.batches set pending = true where filename = ? and status in ('published', 'released')",
        [batch.filename],
    )


def discard(connection: duckdb.DuckDBPyConnection, batch: Batch, *, reason: str, who: str) -> None:
    """A quarantined or published batch -> `discarded`: its rows leave. Raises `LedgerError` from other states."""
    _decide(connection, batch, {BatchStatus.QUARANTINED, *CURRENT}, BatchStatus.DISCARDED, reason, who)


def _decide(
    connection: duckdb.DuckDBPyConnection,
    batch: Batch,
    allowed: set[BatchStatus],
    status: BatchStatus,
    reason: str,
    who: str,
) -> None:
    if batch.status not in allowed:
        raise LedgerError(
            f"Batch {batch.batch_id} ({batch.filename}) is {batch.status}; "
            f"only a batch that is {' or '.join(sorted(allowed))} can become {status}."
        )
    connection.execute(
        """
        update ops.batches
        set status = ?, decision = ?, decided_by = ?, pending = true, updated_at = ?
        where batch_id = ?
        """,
        [status, reason, who, utc_now(), batch.batch_id],
    )


def settle(
    connection: duckdb.DuckDBPyConnection,
    catalog: str,
    batch_ids: Sequence[str],
    *,
    rules_version: str,
    now: datetime,
) -> None:
    """The end of a run, for the batches it worked on: `loaded` -> `published`, earlier attempts -> `superseded`.

    The same two statements make the state in the published copy (`catalog`) and in the ledger.
    """
    connection.execute(
        f"""
        update {catalog}.ops.batches
        set status = case when status = 'loaded' then 'published' else status end,
            updated_at = case when status = 'loaded' then ? else updated_at end,
            rules_version = case when status = 'loaded' then ? else rules_version end,
            pending = false
        where batch_id in (select unnest(?::varchar[]))
        """,
        [now, rules_version, list(batch_ids)],
    )
    connection.execute(
        f"""
        update {catalog}.ops.batches as old
        set status = 'superseded', updated_at = ?, pending = false
        from {catalog}.ops.batches as new
        where new.batch_id in (select unnest(?::varchar[])) and new.status in ('published', 'released')
          and old.filename = new.filename and old.attempt < new.attempt
          and old.status in ('published', 'released', 'quarantined', 'discarded')
        """,
        [now, list(batch_ids)],
    )


def mark_raw_pruned(connection: duckdb.DuckDBPyConnection, batch_ids: Sequence[str], *, now: datetime) -> None:
    """Note that the raw lines of the batches are deleted; belongs into the transaction that deletes them."""
    connection.execute(
        "update ops.batches set raw_pruned_at = ? where batch_id in (select unnest(?::varchar[]))",
        [now, list(batch_ids)],
    )


def count_invalid(connection: duckdb.DuckDBPyConnection, catalog: str, batch_ids: Sequence[str]) -> None:
    """Note the invalid rows of the batches (malformed lines count too), as their profiles have them."""
    connection.execute(
        f"""
        update {catalog}.ops.batches set invalid_count = batch_profiles.invalid
        from {catalog}.ops.batch_profiles
        where batches.batch_id = batch_profiles.batch_id and batches.batch_id in (select unnest(?::varchar[]))
        """,
        [list(batch_ids)],
    )


def count_by_status(connection: duckdb.DuckDBPyConnection, catalog: str | None = None) -> dict[str, int]:
    """The number of batch attempts in each state."""
    table = f"{catalog}.ops.batches" if catalog else "ops.batches"
    return dict(connection.execute(f"select status, count(*) from {table} group by status order by status").fetchall())


def _select(
    connection: duckdb.DuckDBPyConnection, condition: str, parameters: list[object] | None = None
) -> list[Batch]:
    rows = read_dicts(connection, f"select {', '.join(COLUMNS)} from ops.batches where {condition}", parameters)
    return [Batch(**{**row, "status": BatchStatus(row["status"])}) for row in rows]


def _array_type(column: str) -> str:
    """The engine's type of a ledger column."""
    types = {
        "attempt": "integer", "size_bytes": "bigint", "row_count": "bigint", "malformed_count": "bigint",
        "invalid_count": "bigint", "pending": "boolean", "load_at": "timestamp", "updated_at": "timestamp",
        "missing_since": "timestamp", "raw_pruned_at": "timestamp",
    }  # fmt: skip
    return types.get(column, "varchar")
