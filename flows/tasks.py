"""Thin task wrappers around the parts: names, and retries where a second try does no harm.

No task has a tag: a tagged task run asks the server for a concurrency slot, which took one to two seconds
for each.

No task has a timeout: a thread that dbt or DuckDB works in cannot be stopped from outside, and a retry
beside it would race it. Cancelling a flow run ends its process, and with it everything that writes.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

from flows import (
    artifacts,
    checkpoints,
    events,
    history,
    landing,
    ledger,
    lineage,
    loading,
    loading_tasks,
    logs,
    progress,
    quarantine,
    reports,
    storage,
    transform,
    transitions,
    versions,
)
from flows import publish as publishing
from flows.domain import (
    Batch,
    BatchStatus,
    BuiltModel,
    Decision,
    ExpectationResult,
    Gate,
    HeldBack,
    Inputs,
    Layer,
    Loaded,
    Plan,
    RunStatus,
    RunSummary,
    Selection,
    Verdict,
)
from flows.errors import GateFailedError, PipelineError, ReferenceDataError
from flows.limits import NONE_FAILS
from flows.planning import plan_run
from flows.reading import Limits
from flows.settings import Settings
from flows.site import build as site
from flows.site import catalog, dbt_docs
from flows.warehouse import connect, copy_file, transaction, utc_now

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State


def _is_worth_a_retry(_task: object, _run: object, state: State[Any]) -> bool:
    """What the pipeline refuses on purpose, it would refuse again."""
    return not isinstance(state.result(raise_on_failure=False), PipelineError)


IDEMPOTENT: dict[str, Any] = {
    "retries": 2,
    "retry_delay_seconds": 2,
    "retry_condition_fn": _is_worth_a_retry,
    "cache_policy": NO_CACHE,
}
ONCE: dict[str, Any] = {"cache_policy": NO_CACHE}


@task(name="discover files", **IDEMPOTENT)
def discover_files(settings: Settings) -> Plan:
    """What there is to do."""
    with connect(settings) as connection:
        plan = plan_run(settings, connection)
    waiting = f", {plan.pending_batches:,} batches waiting" if plan.pending_batches else ""
    counts = {"files": len(plan.arrivals), "waiting_batches": plan.pending_batches}
    progress.report("discover", f"{len(plan.arrivals):,} new files{waiting}", **counts)
    return plan


@task(name="choose batches", **IDEMPOTENT)
def choose_batches(settings: Settings, decision: Decision, selection: Selection, *, dry_run: bool) -> list[Batch]:
    """The batches that a decision concerns, reported before anything happens to them."""
    with connect(settings) as connection:
        batches = quarantine.choose(connection, decision, selection)
    artifacts.report_selection(settings, decision, batches, dry_run=dry_run)
    progress.report("choose", f"{len(batches):,} batches to {decision}", batches=len(batches))
    for batch in batches:
        logs.event(f"to {decision}", step="choose", dry_run=dry_run, **_about(batch))
    return list(batches)


@task(name="decide", **ONCE)
def decide(settings: Settings, decision: Decision, batches: list[Batch], *, reason: str, who: str | None) -> None:
    """Note the decision in the ledger, for all of the batches or for none."""
    with connect(settings) as connection:
        quarantine.decide(connection, decision, batches, reason=reason, who=who)
    progress.report(decision, f"{len(batches):,} batches", batches=len(batches))
    for batch in batches:
        logs.event(f"{reports.DONE[decision]}", step=decision, **_about(batch))


@task(name="plan reprocessing", **IDEMPOTENT)
def plan_reprocessing(settings: Settings, batches: list[Batch]) -> Plan:
    """Further attempts at the files of the batches."""
    with connect(settings) as connection:
        attempts = ledger.attempts(connection, [batch.filename for batch in batches])
    store = storage.of_landing(settings)
    return Plan(arrivals=landing.landed_again(settings.landing_dir, list(attempts.values()), store=store))


@task(name="mark all batches", **IDEMPOTENT)
def mark_all_batches(settings: Settings) -> None:
    """Make every batch pending, so that everything is recomputed."""
    with connect(settings) as connection:
        ledger.mark_all_pending(connection)


@task(name="open batches again", **IDEMPOTENT)
def open_batches_again(settings: Settings, run_id: str, *, only_outdated: bool) -> int:
    """Let the gates judge again what other rules judged, or everything; needs the first layer as it is now."""
    with connect(settings) as connection, transaction(connection):
        return history.open_revalidation(
            connection, run_id, rules_version=settings.rules_version(), only_outdated=only_outdated
        )


@task(name="copy warehouse", **IDEMPOTENT)
def copy_warehouse(settings: Settings) -> Path:
    """A home with a copy of the working database, for a dry run."""
    home = settings.home / "rehearsal"
    shutil.rmtree(home, ignore_errors=True)
    copied = settings.model_copy(update={"home": home}).warehouse_path
    copied.parent.mkdir(parents=True)
    with connect(settings) as connection:
        connection.execute("checkpoint")
        copy_file(settings.warehouse_path, copied)
    progress.report("copy", f"{copied.stat().st_size / 2**20:,.0f} MB")
    return home


@task(name="load batches", **IDEMPOTENT)
def load_batches(settings: Settings, plan: Plan, run_id: str) -> Loaded:
    """Files into `bronze.raw_events`; loading what is loaded already does nothing."""

    def tell(loaded: Loaded) -> None:
        message = f"{loaded.batches:,} of {len(plan.arrivals):,} files, {loaded.rows:,} lines"
        progress.report("load", message, files=loaded.batches, lines=loaded.rows)

    limits = Limits(settings.max_line_mb * 2**20, settings.max_unpacked_mb * 2**20)
    with connect(settings) as connection, loading_tasks.workers(settings) as workers:
        load = partial(
            loading.load_files, connection, plan.arrivals, run_id=run_id, limits=limits,
            store=storage.of_landing(settings), workers=workers, progress=tell,
        )  # fmt: skip
        loaded = lineage.of_load(settings, plan, load)
        if settings.log_file or settings.log_format == "json":
            _log_loaded(ledger.pending(connection), run_id)
    return loaded


def _log_loaded(batches: Sequence[Batch], run_id: str) -> None:
    """One record for each batch of the run; of a file that could not be read with the reason."""
    for batch in batches:
        if batch.run_id == run_id:
            is_held_back = batch.status is BatchStatus.QUARANTINED
            level = logging.WARNING if is_held_back else logging.INFO
            why: dict[str, Any] = {"gate": batch.gate, "reason": batch.reason} if is_held_back else {}
            message = "held back" if is_held_back else "loaded"
            logs.event(message, level=level, step="load", lines=batch.row_count, **_about(batch), **why)


def _about(batch: Batch) -> dict[str, Any]:
    """The fields of a record about a batch."""
    return {"batch_id": batch.batch_id, "file": batch.filename, "attempt": batch.attempt}


@task(name="build reference", **ONCE)
def build_reference(settings: Settings, inputs: Inputs, *, full_refresh: bool = False) -> None:
    """dbt, the reference data, where it is not what the tables were made of.

    Its version is entered before and marked after, so that a run which ends between is gone on with by the next. Raises
    `ReferenceDataError` when it is not, or no longer, what the run has checked.
    """
    with connect(settings) as connection:
        if versions.is_current(connection, inputs.reference_hash) and not full_refresh:
            return
        _refuse_changed(settings, inputs)
        versions.enter(connection, inputs.reference_hash)
        built = lineage.of_models(settings, partial(transform.build_reference, settings))
        _refuse_changed(settings, inputs)
        versions.mark_built(connection)
    _report_built("reference", built)


def _refuse_changed(settings: Settings, inputs: Inputs) -> None:
    if settings.reference_hash() != inputs.reference_hash:
        raise ReferenceDataError.of_change(f"The reference data in {settings.seeds}")


@task(name="build layer", task_run_name="build {layer}", **ONCE)
def build_layer(settings: Settings, layer: Layer, *, full_refresh: bool = False) -> None:
    """dbt, one layer; gold has its mark from when all of it was made until something below it is made anew."""
    with connect(settings) as connection:
        if full_refresh:
            versions.unmark_gold(connection)
        build = partial(transform.build_layer, settings, layer, full_refresh=full_refresh)
        built = lineage.of_models(settings, build)
        if full_refresh and layer is Layer.GOLD:
            versions.mark_gold(connection, settings.gold_version())
    _report_built(layer, built)


def _report_built(what: str, built: Sequence[BuiltModel]) -> None:
    """The step, and in the log of the task run the seconds of each model."""
    seconds = {model.name: round(model.seconds, 3) for model in built}
    progress.report(f"build {what}", f"{len(built)} models", models=seconds)
    told = {logs.TOLD_ALREADY: True}
    get_run_logger().info("\n".join(f"{model.seconds:8.2f} s  {model.name}" for model in built), extra=told)


@task(name="validate gate", task_run_name="validate gate {gate}", **ONCE)
def validate_gate(settings: Settings, gate: Gate, run_id: str) -> Verdict:
    """One checkpoint; its results are kept whatever they are."""
    verdict = lineage.of_gate(settings, gate, partial(checkpoints.validate, settings, gate, run_id=run_id))
    with connect(settings) as connection:
        history.record_results(connection, run_id, verdict, rules_version=settings.rules_version())
    return verdict


@task(name="hold back batches", **IDEMPOTENT)
def hold_back_batches(settings: Settings, verdict: Verdict) -> set[BatchStatus]:
    """Quarantine what the gate blames; the states of the earlier attempts that take their place."""
    with connect(settings) as connection:
        batches = [batch for batch in ledger.pending(connection) if batch.batch_id in verdict.failing]
        quarantine.hold_back(settings, connection, verdict)
        for batch in batches:
            why: dict[str, Any] = {"gate": verdict.gate, "reason": verdict.failing[batch.batch_id][0]}
            logs.event("held back", level=logging.WARNING, step=f"gate {verdict.gate}", **_about(batch), **why)
        return {batch.status for batch in ledger.successors(connection, list(verdict.failing))}


@task(name="report gate", task_run_name="report gate {gate}", **IDEMPOTENT)
def report_gate(settings: Settings, gate: Gate, verdict: Verdict, *, is_rehearsal: bool = False) -> None:
    """The gate's artifact. Raises `GateFailedError` when no batch can be blamed for a failure."""
    if not is_rehearsal:
        with connect(settings) as connection:
            filenames = {b.batch_id: b.filename for b in ledger.pending(connection)}
        artifacts.report_gate(settings, verdict, filenames)
    held_back = f", {len(verdict.failing)} held back" if verdict.failing else ""
    counts = {"gate": gate, "batches": verdict.judged_batches, "held_back_batches": len(verdict.failing)}
    progress.report(f"gate {gate}", f"{verdict.judged_batches} batches judged{held_back}", **counts)
    if verdict.unblamed:
        problems = "\n".join(f"- {problem}" for problem in verdict.unblamed)
        raise GateFailedError(
            f"Gate {gate} failed and no batch can be blamed; nothing of this run is published, the last "
            f"published state stays.\n{problems}"
        )


@task(name="publish tables", **IDEMPOTENT)
def publish_tables(settings: Settings, summary: RunSummary, inputs: Inputs) -> None:
    """The atomic last step."""
    with connect(settings) as connection:
        publishing.publish(settings, connection, summary, inputs_hash=inputs.inputs_hash)
    progress.report("publish", str(settings.published_path), batches=summary.published_batches)


@task(name="summarise run", **IDEMPOTENT)
def summarise_run(
    settings: Settings,
    plan: Plan,
    loaded: Loaded,
    summary: RunSummary,
    verdicts: list[Verdict],
    *,
    full_refresh: bool,
) -> RunSummary:
    """The run as it is about to be published. Raises `GateFailedError` when its lines do not add up."""
    with connect(settings) as connection:
        quarantine.write_evidence_of_unreadable(settings, connection)
        run, warehouse = history.account(connection)
        pending = ledger.pending(connection)
        empty = ledger.empty_of_run(connection, summary.run_id)
        rejudged, changes = history.judge_revalidation(connection)
        newest_event_at = history.newest_event_at(connection)
    if not run.reconciles or not warehouse.reconciles:
        raise GateFailedError(f"The lines do not add up: this run {run}, warehouse {warehouse}. Nothing is published.")
    return replace(
        summary,
        status=RunStatus.PASSED,
        finished_at=utc_now(),
        run=run,
        warehouse=warehouse,
        published_batches=sum(b.status in _made_public(full_refresh=full_refresh) for b in pending),
        quarantined=tuple(
            HeldBack(b.batch_id, b.filename, b.gate or "", b.reason or "", b.detail or "", b.row_count)
            for b in pending
            # a full refresh works on the batches of earlier runs too, which were held back then
            if b.status is BatchStatus.QUARANTINED and (not full_refresh or b.updated_at >= summary.started_at)
        ),
        empty=tuple(b.filename for b in empty),
        newest_event_at=newest_event_at,
        rejudged_batches=rejudged,
        changes=changes,
        missing=plan.missing,
        unsettled=plan.unsettled,
        ignored=plan.ignored,
        refused=plan.refused + loaded.left_out,
        warnings=_warnings(verdicts, {b.batch_id: b.filename for b in pending}) + _outdated(plan),
    )


@task(name="report changes", **IDEMPOTENT)
def report_changes(settings: Settings, summary: RunSummary) -> None:
    """What judging again has changed, before it is published."""
    artifacts.report_changes(settings, summary)
    counts = {"batches": summary.rejudged_batches, "changed": len(summary.changes)}
    progress.report("revalidate", f"{summary.rejudged_batches:,} batches, {len(summary.changes):,} changed", **counts)


@task(name="report run", **IDEMPOTENT)
def report_run(settings: Settings, summary: RunSummary) -> None:
    """Artifacts and site."""
    with connect(settings) as connection:
        site.build(settings, connection, summary)
        newest = ledger.by_status(connection, BatchStatus.QUARANTINED, limit=artifacts.ROWS_SHOWN)
        count = ledger.count_by_status(connection).get(BatchStatus.QUARANTINED, 0)
    artifacts.report_quarantine(settings, newest, count)
    artifacts.report_summary(settings, summary)
    dbt_docs.build(settings, transform.generate_docs(settings))
    with connect(settings) as connection:
        catalog.build(settings, connection, published=publishing.TABLES)
    progress.report("report", str(settings.site_dir / "index.html"))


@task(name="announce batches", **IDEMPOTENT)
def announce_batches(settings: Settings) -> None:
    """Prefect events of what this run, or one that ended before it came to that, has made public."""
    with connect(settings) as connection:
        events.announce(transitions.unannounced(connection), site=settings.site_link)
        transitions.mark_announced(connection)


def _made_public(*, full_refresh: bool) -> tuple[BatchStatus, ...]:
    """The states from which this run publishes a batch; a full refresh publishes what is public again."""
    new = (BatchStatus.LOADED, BatchStatus.RELEASED)
    return (*new, BatchStatus.PUBLISHED) if full_refresh else new


def _outdated(plan: Plan) -> tuple[str, ...]:
    if not plan.outdated_batches:
        return ()
    return (f"{plan.outdated_batches:,} batches were judged by earlier rules; to judge them again: podcast revalidate",)


def _warnings(verdicts: list[Verdict], filenames: dict[str, str]) -> tuple[str, ...]:
    """Each warning about a batch, once, and each that is about no batch."""
    return tuple(
        dict.fromkeys(
            f"{_subject(w, filenames)}{w.description} Found {w.observed}{_allowed(w)}."
            for verdict in verdicts
            for w in _without_totals(verdict.warnings)
            if w.severity == "warning" and w.batch_id not in verdict.failing
        )
    )


def _without_totals(results: Sequence[ExpectationResult]) -> list[ExpectationResult]:
    """The results, without those that count batches which have results of their own."""
    blamed = {result.description for result in results if result.batch_id is not None}
    return [result for result in results if result.batch_id is not None or result.description not in blamed]


def _subject(result: ExpectationResult, filenames: dict[str, str]) -> str:
    return "" if result.batch_id is None else f"{filenames.get(result.batch_id, result.batch_id)}: "


def _allowed(result: ExpectationResult) -> str:
    return "" if result.threshold == NONE_FAILS else f", {result.threshold} is fine"
