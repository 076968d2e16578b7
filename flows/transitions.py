"""`ops.batch_transitions`: each state of a batch that a run made public, and whether it has been announced."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from flows.warehouse import read_dicts

if TYPE_CHECKING:
    import duckdb


@dataclass(frozen=True)
class Transition:
    """A batch that came into a state, the run that made it public, and why; `changed_at` is UTC without a zone."""

    batch_id: str
    filename: str
    attempt: int
    status: str
    gate: str | None
    reason: str | None
    decision: str | None
    row_count: int
    run_id: str
    changed_at: datetime


def record(connection: duckdb.DuckDBPyConnection, run_id: str, batch_ids: Sequence[str], *, now: datetime) -> None:
    """Note what the batches of a run have become, those whose last state was another.

    Belongs into the transaction that settles the ledger, after it: what was published or superseded has the time of the
    run then. A batch that is pending for another reason than its own change is in the state that it was in before.
    """
    connection.execute(
        """
        insert into ops.batch_transitions
        with last_ones as (
            select batch_id, arg_max(status, rowid) as status from ops.batch_transitions group by batch_id
        )
        select batches.batch_id, batches.status, ?, ?, false
        from ops.batches
        left join last_ones on batches.batch_id = last_ones.batch_id
        where batches.status is distinct from last_ones.status
            and (
                batches.status in ('published', 'superseded') and batches.updated_at = ?
                or batches.status in ('quarantined', 'released', 'discarded')
                    and batches.batch_id in (select unnest(?::varchar[]))
            )
        """,
        [run_id, now, now, list(batch_ids)],
    )


def record_known(connection: duckdb.DuckDBPyConnection) -> None:
    """Note the states of batches that a ledger from elsewhere gives them, which are nothing new to anybody."""
    connection.execute(
        """
        insert into ops.batch_transitions
        select batch_id, status, run_id, updated_at, true from ops.batches where status <> 'loaded'
        """
    )


def unannounced(connection: duckdb.DuckDBPyConnection) -> list[Transition]:
    """What nobody has been told of, in the order in which it came about."""
    rows = read_dicts(
        connection,
        """
        select
            batches.batch_id, batches.filename, batches.attempt, batch_transitions.status,
            batches.gate, batches.reason, batches.decision, batches.row_count,
            batch_transitions.run_id, batch_transitions.changed_at
        from ops.batch_transitions
        inner join ops.batches on batch_transitions.batch_id = batches.batch_id
        where not batch_transitions.is_announced
        order by batch_transitions.changed_at, batches.filename, batches.attempt
        """,
    )
    return [Transition(**row) for row in rows]


def mark_announced(connection: duckdb.DuckDBPyConnection) -> None:
    """Everybody who listens has been told."""
    connection.execute("update ops.batch_transitions set is_announced = true where not is_announced")
