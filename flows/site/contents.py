"""What stands on each page: figures and verdicts, handed to its template."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flows import evidence, history, ledger, reports
from flows.domain import BatchStatus, Gate, RunSummary
from flows.gx_context import SITE_NAME
from flows.site import figures, pages
from flows.warehouse import read_dicts

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import duckdb

    from flows.domain import Batch
    from flows.settings import Settings

SHOWN_AT_HOME = 20
SHOWN_IN_QUARANTINE = 1000
SHOWN_LINES = 100
SHOWN_NOTES = 50


def home(settings: Settings, connection: duckdb.DuckDBPyConnection, summary: RunSummary) -> str:
    """The last run's verdict, where every line went, what is in quarantine, and the trends."""
    newest = history.last_runs(connection, figures.TREND_RUNS)
    passed = figures.last_passed(connection)
    last = passed[-1] if passed else None
    return pages.render(
        "home",
        title=reports.headline(summary),
        here="Overview",
        verdict=reports.headline(summary),
        run=next((run for run in newest if run["run_id"] == summary.run_id), None),
        last=last,
        funnel=figures.funnel(last) if last else None,
        kinds=figures.KINDS,
        charts=figures.charts(connection, passed),
        trend_runs=figures.TREND_RUNS,
        quarantined=ledger.by_status(connection, BatchStatus.QUARANTINED, limit=SHOWN_AT_HOME),
        statuses=ledger.count_by_status(connection),
        runs=newest,
        pages=pages.names(settings, "runs"),
    )


def runs(settings: Settings, connection: duckdb.DuckDBPyConnection) -> str:
    """The runs that have a page."""
    kept = pages.names(settings, "runs")
    found = read_dicts(
        connection,
        "select * from ops.runs where run_id in (select unnest(?::varchar[])) order by started_at desc",
        [sorted(kept)],
    )
    return pages.render("runs", title="Runs", here="Runs", depth=1, runs=found, pages=kept)


def quarantine(connection: duckdb.DuckDBPyConnection) -> str:
    """The batches in quarantine, newest first."""
    return pages.render(
        "quarantine",
        title="Quarantine",
        here="Quarantine",
        depth=1,
        batches=ledger.by_status(connection, BatchStatus.QUARANTINED, limit=SHOWN_IN_QUARANTINE),
        count=ledger.count_by_status(connection).get(BatchStatus.QUARANTINED, 0),
    )


def run(settings: Settings, connection: duckdb.DuckDBPyConnection, summary: RunSummary) -> str:
    """One run: what was let in, what was held back and why, the gates and the steps."""
    (entry,) = read_dicts(connection, "select * from ops.runs where run_id = ?", [summary.run_id])
    held_back = ledger.by_ids(connection, [batch.batch_id for batch in summary.quarantined])
    return pages.render(
        "run",
        title=f"Run {summary.run_id[:8]}",
        here="Runs",
        depth=1,
        verdict=reports.headline(summary),
        run=entry,
        kinds=figures.KINDS,
        held_back=held_back,
        notes=_notes(summary),
        changes=summary.changes[: reports.CHANGES_SHOWN],
        more_changes=reports.more_changes(summary),
        gates=_gates(connection, summary.run_id),
        docs=_docs(settings, summary.run_id),
        steps=read_dicts(
            connection, "select step, seconds from ops.run_steps where run_id = ? order by position", [summary.run_id]
        ),
    )


def batches(
    settings: Settings, connection: duckdb.DuckDBPyConnection, held_back: Sequence[Batch]
) -> Iterator[tuple[str, str]]:
    """Ids and pages of batches that are or were in quarantine: why, the first failing lines, and what to type."""
    ids = [batch.batch_id for batch in held_back]
    lines = evidence.failing_lines(settings, connection, ids, limit=SHOWN_LINES, must_be_read=False)
    profiles = _profiles(connection, ids)
    for batch in held_back:
        yield (
            batch.batch_id,
            pages.render(
                "batch",
                title=f"Batch {batch.batch_id}",
                here="Quarantine",
                depth=1,
                batch=batch,
                correction=reports.CORRECTION.capitalize(),
                choices=[(what, command.format(id=batch.batch_id)) for what, command in reports.CHOICES],
                profile=profiles.get(batch.batch_id, []),
                lines=lines[batch.batch_id],
            ),
        )


def _notes(summary: RunSummary) -> list[str]:
    """Warnings, and files that were not loaded, of each kind the first."""
    kinds = (
        summary.warnings,
        [f"{name} was not loaded: {reason}" for name, reason in summary.refused],
        [f"{name} is still being written; the next run looks again" for name in summary.unsettled],
        [f"{name} is gone from the landing directory; its rows stay" for name in summary.missing],
        [f"{name} is empty" for name in summary.empty],
        [f"{name} is not an event file" for name in summary.ignored],
    )
    return [note for kind in kinds for note in reports.first(kind, SHOWN_NOTES)]


def _gates(connection: duckdb.DuckDBPyConnection, run_id: str) -> dict[Gate, list[dict[str, Any]]]:
    """The results over all batches of the run, by gate."""
    results = read_dicts(
        connection,
        """
        select
            checkpoint, severity, observed, threshold,
            substr(expectation, strpos(expectation, ': ') + 2) as description,
            case when success then 'ok' when severity = 'critical' then 'FAILED' else 'noted' end as outcome
        from ops.validation_results
        where run_id = ? and batch_id is null
        order by checked_at, severity, expectation
        """,
        [run_id],
    )
    return {gate: [r for r in results if r["checkpoint"] == gate] for gate in Gate}


def _docs(settings: Settings, run_id: str) -> list[tuple[str, str]]:
    """The Data Docs pages of a run, by suite."""
    found = sorted((settings.site_dir / SITE_NAME).glob(f"validations/*/{run_id}/*/*.html"))
    return [(path.parents[2].name, path.relative_to(settings.site_dir).as_posix()) for path in found]


def _profiles(connection: duckdb.DuckDBPyConnection, batch_ids: Sequence[str]) -> dict[str, list[tuple[str, int]]]:
    """The counts of each batch, those that are not null; none of one that no gate came to count."""
    import duckdb

    condition = "batch_id in (select unnest(?::varchar[]))"
    try:
        profiles = read_dicts(connection, f"select * from ops.batch_profiles where {condition}", [list(batch_ids)])
    except duckdb.CatalogException:  # the first run failed before there was one
        return {}
    return {
        profile["batch_id"]: [
            (name.replace("_", " "), value) for name, value in profile.items() if isinstance(value, int)
        ]
        for profile in profiles
    }
