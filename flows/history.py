"""The history of runs: `ops.runs` and `ops.validation_results`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from flows.domain import Accounting, ExpectationResult, RunSummary, Verdict
from flows.warehouse import read_dicts, utc_now

if TYPE_CHECKING:
    import duckdb


def record_results(connection: duckdb.DuckDBPyConnection, run_id: str, verdict: Verdict) -> None:
    """Keep the results of one gate."""
    if not verdict.results:
        return
    fields = ("expectation", "severity", "batch_id", "success", "observed", "threshold")
    types = ("varchar", "varchar", "varchar", "boolean", "varchar", "varchar")
    unnested = ", ".join(f"unnest(?::{type_}[])" for type_ in types)
    connection.execute(
        f"""
        insert into ops.validation_results (run_id, checkpoint, {", ".join(fields)}, checked_at)
        select ?, ?, {unnested}, ?
        """,
        [
            run_id,
            verdict.gate,
            *([_value(result, name) for result in verdict.results] for name in fields),
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
            ? as total_facts, ? as total_held_back, ? as inputs_hash
        """,
        [
            summary.run_id, summary.started_at, summary.finished_at, summary.status, message,
            summary.published_batches + len(summary.quarantined) + len(summary.empty),
            summary.published_batches, len(summary.quarantined),
            *_counts(summary.run), *_counts(summary.warehouse), inputs_hash,
        ],
    )  # fmt: skip


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


def _counts(accounting: Accounting) -> Sequence[int]:
    return tuple(getattr(accounting, name) for name in Accounting.__dataclass_fields__)
