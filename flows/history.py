"""The history of runs and verdicts: `ops.runs`, `ops.validation_results` and `ops.revalidations`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from flows import ledger
from flows.domain import Accounting, ExpectationResult, RunStatus, RunSummary, Verdict, VerdictChange
from flows.warehouse import crashed_holders, read_dicts, transaction, utc_now

if TYPE_CHECKING:
    import duckdb

    from flows.settings import Settings
    from flows.warehouse import Holder


def record_results(connection: duckdb.DuckDBPyConnection, run_id: str, verdict: Verdict, *, rules_version: str) -> None:
    """Keep the results of one gate, with the version of the rules that it judged by."""
    if not verdict.results:
        return
    fields = ("expectation", "severity", "batch_id", "success", "observed", "threshold")
    types = ("varchar", "varchar", "varchar", "boolean", "varchar", "varchar")
    unnested = ", ".join(f"unnest(?::{type_}[])" for type_ in types)
    connection.execute(
        f"""
        insert into ops.validation_results (run_id, checkpoint, {", ".join(fields)}, rules_version, checked_at)
        select ?, ?, {unnested}, ?, ?
        """,
        [
            run_id,
            verdict.gate,
            *([_value(result, name) for result in verdict.results] for name in fields),
            rules_version,
            utc_now(),
        ],
    )


def _value(result: ExpectationResult, name: str) -> Any:  # noqa: ANN401 - of the column's type
    """The described expectation, so that one expectation on one column with two thresholds is two."""
    if name == "expectation":
        return f"{result.expectation}: {result.description}"
    return getattr(result, name)


def record_run(
    connection: duckdb.DuckDBPyConnection,
    summary: RunSummary,
    *,
    catalog: str,
    inputs_hash: str | None = None,
    message: str | None = None,
) -> None:
    """Enter a run that ended."""
    connection.execute(
        f"""
        insert into {catalog}.ops.runs by name
        select
            ? as run_id, ? as started_at, ? as finished_at, ? as status, ? as message,
            ? as batches, ? as published_batches, ? as quarantined_batches,
            ? as lines, ? as malformed, ? as invalid, ? as duplicates, ? as facts, ? as held_back,
            ? as total_lines, ? as total_malformed, ? as total_invalid, ? as total_duplicates,
            ? as total_facts, ? as total_held_back, ? as inputs_hash, ? as newest_event_at
        """,
        [
            summary.run_id, summary.started_at, summary.finished_at, summary.status, message,
            summary.published_batches + len(summary.quarantined) + len(summary.empty),
            summary.published_batches, len(summary.quarantined),
            *_counts(summary.run), *_counts(summary.warehouse), inputs_hash, summary.newest_event_at,
        ],
    )  # fmt: skip


def is_recorded(connection: duckdb.DuckDBPyConnection, run_id: str) -> bool:
    """Whether the history has the run."""
    return connection.execute("select 1 from ops.runs where run_id = ?", [run_id]).fetchone() is not None


def add_message(connection: duckdb.DuckDBPyConnection, run_id: str, message: str) -> None:
    """Say something of a run that the history has."""
    connection.execute("update ops.runs set message = ? where run_id = ?", [message, run_id])


def record_steps(connection: duckdb.DuckDBPyConnection, run_id: str, steps: Mapping[str, float]) -> None:
    """Enter how long the steps of a run took (seconds, in the order in which they first ended), in place of before."""
    with transaction(connection):
        connection.execute("delete from ops.run_steps where run_id = ?", [run_id])
        connection.execute(
            """
            insert into ops.run_steps (run_id, step, position, seconds)
            select ?, unnest(?::varchar[]), unnest(?::integer[]), unnest(?::double[])
            """,
            [run_id, list(steps), list(range(len(steps))), list(steps.values())],
        )


def newest_event_at(connection: duckdb.DuckDBPyConnection) -> datetime | None:
    """The time (UTC) of the newest fact."""
    row = connection.execute('select max("timestamp") from gold.fact_user_interactions').fetchone()
    return row[0] if row else None


def record_crashes(settings: Settings, connection: duckdb.DuckDBPyConnection) -> None:
    """Enter the runs that ended without giving the right to write back; their notes are removed then."""
    for note, holder in crashed_holders(settings).items():
        if holder and holder.run:
            _record_crash(connection, holder, holder.run)
        note.unlink()


def _record_crash(connection: duckdb.DuckDBPyConnection, holder: Holder, run_id: str) -> None:
    if is_recorded(connection, run_id):
        return
    crashed = RunSummary(run_id, RunStatus.CRASHED, datetime.fromisoformat(holder.since), utc_now())
    (catalog,) = connection.execute("select current_database()").fetchone() or ("",)
    message = f"{holder} ended before its end; the next run goes on from what it had committed."
    record_run(connection, crashed, catalog=catalog, message=message)


def open_revalidation(
    connection: duckdb.DuckDBPyConnection, run_id: str, *, rules_version: str, only_outdated: bool
) -> int:
    """Note the verdicts of the batches that are about to be judged again, and open them in the ledger; their number.

    The models of the first layer have to be there as the rules are now: a row has changed when its codes in
    `bronze.validated_events` differ from those that it is given now. An open revalidation (`judged_at` null)
    is closed by the run that comes to the end, which need not be this one.
    """
    outdated = "and rules_version is distinct from $rules_version" if only_outdated else ""
    rows = connection.execute(
        f"""
        insert into ops.revalidations by name
        with judged as (
            select * from ops.batches where {ledger.REJUDGED} and raw_pruned_at is null {outdated}
        ),
        changed as (
            select
                judged.batch_id,
                count(*) filter (before.validation_errors is distinct from after.validation_errors) as rows_changed
            from bronze.classified_events as after
            inner join judged on after.batch_id = judged.batch_id and after.load_at = judged.load_at
            inner join bronze.validated_events as before
                on after.batch_id = before.batch_id and after.line_number = before.line_number
                and after.load_at = before.load_at
            group by judged.batch_id
        )
        select
            $run_id as run_id, judged.batch_id, judged.filename,
            judged.rules_version as rules_before, $rules_version as rules_after,
            judged.status as status_before, judged.reason as reason_before,
            judged.invalid_count as invalid_before, changed.rows_changed
        from judged
        left join changed on judged.batch_id = changed.batch_id
        returning batch_id
        """,
        {"run_id": run_id, "rules_version": rules_version},
    ).fetchall()
    ledger.reopen(connection, [batch_id for (batch_id,) in rows])
    return len(rows)


def judge_revalidation(connection: duckdb.DuckDBPyConnection) -> tuple[int, tuple[VerdictChange, ...]]:
    """Enter the new verdicts; the number of batches judged again, and those whose verdict or rows have changed."""
    judged = read_dicts(
        connection,
        """
        update ops.revalidations
        set status_after = t.status, reason_after = t.reason, invalid_after = t.invalid
        from (
            select
                batches.batch_id, batches.reason, batch_profiles.invalid,
                case
                    when batches.status <> 'loaded' then batches.status
                    when accepted_batches.batch_id is null then 'superseded'
                    else 'published'
                end as status
            from ops.batches
            left join ops.accepted_batches on batches.batch_id = accepted_batches.batch_id
            left join ops.batch_profiles on batches.batch_id = batch_profiles.batch_id
        ) as t
        where revalidations.batch_id = t.batch_id and revalidations.judged_at is null
        returning revalidations.*
        """,
    )
    changes = [
        VerdictChange(
            row["batch_id"], row["filename"],
            _state(row["status_before"], row["reason_before"]), _state(row["status_after"], row["reason_after"]),
            row["invalid_before"], row["invalid_after"], row["rows_changed"],
        )
        for row in sorted(judged, key=lambda row: str(row["filename"]))
    ]  # fmt: skip
    return len(judged), tuple(c for c in changes if _is_change(c))


def close_revalidation(connection: duckdb.DuckDBPyConnection, catalog: str, *, now: datetime) -> None:
    """The new verdicts are published."""
    connection.execute(f"update {catalog}.ops.revalidations set judged_at = ? where judged_at is null", [now])


def _state(status: str, reason: str | None) -> str:
    return f"{status} ({reason})" if reason else status


def _is_change(change: VerdictChange) -> bool:
    return change.before != change.after or bool(change.rows_changed) or change.invalid_before != change.invalid_after


def last_inputs_hash(connection: duckdb.DuckDBPyConnection) -> str | None:
    """What the tables were made with by the last run that passed."""
    row = connection.execute(
        "select arg_max(inputs_hash, finished_at) from ops.runs where status = 'passed'"
    ).fetchone()
    return row[0] if row else None


def account(connection: duckdb.DuckDBPyConnection) -> tuple[Accounting, Accounting]:
    """Where the lines of this run's batches, and all lines ever loaded, are now."""
    fields = tuple(Accounting.__dataclass_fields__)
    sums = ", ".join(f"coalesce(sum({name}), 0)::bigint as {name}" for name in fields)
    (run,) = read_dicts(connection, f"select {sums} from ops.line_accounting")
    (warehouse,) = read_dicts(connection, f"select {', '.join(fields)} from ops.warehouse_accounting")
    return Accounting(**run), Accounting(**warehouse)


def last_runs(connection: duckdb.DuckDBPyConnection, count: int) -> list[dict[str, Any]]:
    """The newest runs, as rows of `ops.runs`."""
    return read_dicts(connection, "select * from ops.runs order by started_at desc limit ?", [count])


def last_run(connection: duckdb.DuckDBPyConnection) -> dict[str, Any] | None:
    """The run that ended last by passing or failing, as the row of `ops.runs`, if there was one."""
    ended = "select * from ops.runs where status in ('passed', 'failed') order by finished_at desc limit 1"
    rows = read_dicts(connection, ended)
    return rows[0] if rows else None


def _counts(accounting: Accounting) -> Sequence[int]:
    return tuple(getattr(accounting, name) for name in Accounting.__dataclass_fields__)
