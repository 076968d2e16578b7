"""The flows of decisions: batches released, discarded, read again, and judged again."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date

from prefect import flow

from flows import tasks
from flows.artifacts import end_flow
from flows.domain import Decision, Plan, RunStatus, RunSummary, Selected, Selection
from flows.pipeline import judge_again, process
from flows.run import Run, open_run
from flows.settings import EMBEDDED
from flows.warehouse import utc_now


@flow(name="podcast-release", description="Batches in quarantine, published as they are.")
def release_batches(
    reason: str,
    batches: list[str] | None = None,
    filename_pattern: str | None = None,
    arrived_from: date | None = None,
    arrived_before: date | None = None,
    *,
    dry_run: bool = False,
    decided_by: str | None = None,
) -> RunSummary:
    """Release the latest attempt at each chosen file; its rows take the place that their time of loading gives them.

    Args:
        reason: Why; kept in the ledger.
        batches: Batch ids, unique beginnings of them, or file names.
        filename_pattern: Shell pattern for the file name; `*` goes across folders.
        arrived_from: First day (UTC) of arrival.
        arrived_before: Day (UTC) after the last day of arrival.
        dry_run: Report which batches would be released, and change nothing.
        decided_by: Who decides; by default the user of the process.

    """
    selection = Selection(tuple(batches or ()), filename_pattern, arrived_from, arrived_before)
    return end_flow(carry_out(Decision.RELEASE, selection, reason=reason, who=decided_by, dry_run=dry_run))


@flow(name="podcast-discard", description="Batches in quarantine or published, left out for good.")
def discard_batches(
    reason: str,
    batches: list[str] | None = None,
    filename_pattern: str | None = None,
    arrived_from: date | None = None,
    arrived_before: date | None = None,
    *,
    dry_run: bool = False,
    decided_by: str | None = None,
) -> RunSummary:
    """Discard batches; the keys that they held go to the next best row of the batches that stay.

    Args:
        reason: Why; kept in the ledger.
        batches: Batch ids, unique beginnings of them, or file names.
        filename_pattern: Shell pattern for the file name; `*` goes across folders.
        arrived_from: First day (UTC) of arrival.
        arrived_before: Day (UTC) after the last day of arrival.
        dry_run: Report which batches would be discarded, and change nothing.
        decided_by: Who decides; by default the user of the process.

    """
    selection = Selection(tuple(batches or ()), filename_pattern, arrived_from, arrived_before)
    return end_flow(carry_out(Decision.DISCARD, selection, reason=reason, who=decided_by, dry_run=dry_run))


@flow(name="podcast-reprocess", description="Files that the ledger knows, read again as new attempts.")
def reprocess_batches(
    batches: list[str] | None = None,
    filename_pattern: str | None = None,
    arrived_from: date | None = None,
    arrived_before: date | None = None,
    *,
    dry_run: bool = False,
) -> RunSummary:
    """Read the files of batches again; the new attempt replaces the old one when it passes.

    Args:
        batches: Batch ids, unique beginnings of them, or file names.
        filename_pattern: Shell pattern for the file name; `*` goes across folders.
        arrived_from: First day (UTC) of arrival.
        arrived_before: Day (UTC) after the last day of arrival.
        dry_run: Report which files would be read again, and change nothing.

    """
    selection = Selection(tuple(batches or ()), filename_pattern, arrived_from, arrived_before)
    return end_flow(carry_out(Decision.REPROCESS, selection, dry_run=dry_run))


@flow(name="podcast-backfill", description="The files of some days read again as new attempts.")
def backfill_batches(
    arrived_from: date,
    arrived_before: date,
    filename_pattern: str | None = None,
    *,
    dry_run: bool = False,
) -> RunSummary:
    """Read every file that arrived on these days again; each new attempt replaces the old one when it passes.

    Args:
        arrived_from: First day (UTC) of arrival, on which a file of that name was first loaded.
        arrived_before: Day (UTC) after the last day of arrival.
        filename_pattern: Shell pattern for the file name; `*` goes across folders. Empty: all files.
        dry_run: Report which files would be read again, and change nothing.

    """
    selection = Selection((), filename_pattern, arrived_from, arrived_before)
    return end_flow(carry_out(Decision.REPROCESS, selection, dry_run=dry_run))


@flow(name="podcast-revalidate", description="Every batch judged again, by the rules and reference data of today.")
def revalidate_batches(*, dry_run: bool = False) -> RunSummary:
    """Recompute every table from `bronze.raw_events` and let all gates judge again, except where a person decided.

    Which batches and how many rows changed their verdict is reported before it is published.

    Args:
        dry_run: Do it all on a copy of the warehouse, and report; nothing is changed.

    """
    with open_run(full_refresh=True) as run:
        if dry_run:
            with rehearsal(run) as copy:
                return end_flow(revalidate(copy))
        return end_flow(revalidate(run))


def revalidate(run: Run) -> RunSummary:
    """Every verdict anew; a rehearsal ends before anything is published."""
    judge_again(run, only_outdated=False)
    tasks.mark_all_batches(run.settings)
    return process(run, Plan())


@contextmanager
def rehearsal(run: Run) -> Iterator[Run]:
    """The run over a copy of the working database, in a home that is removed afterwards.

    There the embedded engine builds all layers, of which it makes the same tables: another one's are not copied.
    """
    home = tasks.copy_warehouse(run.settings)
    try:
        kept = {"landing": run.settings.landing_dir, "site_url": run.settings.site_link}
        embedded = {"engine": EMBEDDED}
        settings = run.settings.model_copy(update={"home": home, "quarantine": None, **kept, **embedded})
        yield replace(run, settings=settings, is_rehearsal=True)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def act(decision: Decision, selection: Selection, *, reason: str | None = None) -> RunSummary:
    """The flow of a decision, called from Python. Raises `LedgerError` when no batch answers to the selection."""
    chosen = (list(selection.names), selection.pattern, selection.arrived_from, selection.arrived_before)
    if decision is Decision.REPROCESS:
        return reprocess_batches(*chosen)
    decide = release_batches if decision is Decision.RELEASE else discard_batches
    return decide(reason or "", *chosen)


def carry_out(
    decision: Decision,
    selection: Selection,
    *,
    reason: str = "",
    who: str | None = None,
    dry_run: bool,
) -> RunSummary:
    """Choose batches, decide, and publish the consequence; a dry run ends after the choice."""
    with open_run() as run:
        chosen = tasks.choose_batches(run.settings, decision, selection, dry_run=dry_run)
        selected = tuple(Selected(b.batch_id, b.filename, b.attempt, b.status, b.row_count) for b in chosen)
        summary = replace(run.summary, selected=selected)
        if dry_run:
            return replace(summary, status=RunStatus.DRY_RUN, finished_at=utc_now())
        plan = Plan()
        if decision is Decision.REPROCESS:
            plan = tasks.plan_reprocessing(run.settings, chosen)
        else:
            tasks.decide(run.settings, decision, chosen, reason=reason, who=who)
        return process(replace(run, summary=summary), plan)
