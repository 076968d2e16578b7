"""Thin task wrappers around the parts: names, and retries where a second try does no harm.

No task has a tag: a tagged task run asks the server for a concurrency slot, which took one to two seconds
for each.

No task has a timeout: a thread that dbt or DuckDB works in cannot be stopped from outside, and a retry
beside it would race it. Cancelling a flow run ends its process, and with it everything that writes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from flows import (
    artifacts,
    checkpoints,
    docs_site,
    history,
    landing,
    ledger,
    loading,
    progress,
    quarantine,
    transform,
)
from flows import publish as publishing
from flows.domain import BatchStatus, Gate, HeldBack, Layer, Loaded, Plan, RunStatus, RunSummary, Verdict
from flows.errors import GateFailedError
from flows.planning import plan_run
from flows.settings import Settings
from flows.warehouse import connect, utc_now

IDEMPOTENT: dict[str, Any] = {"retries": 2, "retry_delay_seconds": 2, "cache_policy": NO_CACHE}
ONCE: dict[str, Any] = {"cache_policy": NO_CACHE}


@task(name="discover files", **IDEMPOTENT)
def discover_files(settings: Settings) -> Plan:
    """What there is to do."""
    with connect(settings) as connection:
        plan = plan_run(settings, connection)
    waiting = f", {plan.pending_batches:,} batches waiting" if plan.pending_batches else ""
    progress.report("discover", f"{len(plan.arrivals):,} new files{waiting}")
    return plan


@task(name="plan reprocessing", **IDEMPOTENT)
def plan_reprocessing(settings: Settings, batches: list[str]) -> Plan:
    """Further attempts at the files of the batches that are named."""
    with connect(settings) as connection:
        found = [ledger.find(connection, name) for name in batches]
        attempts = ledger.attempts(connection, [batch.filename for batch in found])
    arrivals = [landing.landed_again(settings.landing_dir, past) for past in attempts.values()]
    # A person asked for it: a changed file is taken as the correction that it is.
    return Plan(arrivals=tuple(replace(arrival, mutates=None) for arrival in arrivals))


@task(name="mark all batches", **IDEMPOTENT)
def mark_all_batches(settings: Settings) -> None:
    """Make every batch pending, so that everything is recomputed."""
    with connect(settings) as connection:
        ledger.mark_all_pending(connection)


@task(name="load batches", **IDEMPOTENT)
def load_batches(settings: Settings, plan: Plan, run_id: str) -> Loaded:
    """Files into `bronze.raw_events`; loading what is loaded already does nothing."""

    def tell(loaded: Loaded) -> None:
        progress.report("load", f"{loaded.batches:,} of {len(plan.arrivals):,} files, {loaded.rows:,} lines")

    with connect(settings) as connection:
        loaded = loading.load_files(connection, plan.arrivals, run_id=run_id, progress=tell)
        quarantine.write_evidence_of_unreadable(settings, connection)
    return loaded


@task(name="build layer", task_run_name="build {layer}", **ONCE)
def build_layer(settings: Settings, layer: Layer, *, full_refresh: bool = False) -> None:
    """dbt, one layer."""
    names = transform.build_layer(settings, layer, full_refresh=full_refresh)
    progress.report(f"build {layer}", f"{len(names)} models")


@task(name="validate gate", task_run_name="validate gate {gate}", **ONCE)
def validate_gate(settings: Settings, gate: Gate, run_id: str) -> Verdict:
    """One checkpoint; its results are kept whatever they are."""
    verdict = checkpoints.validate(settings, gate, run_id=run_id)
    with connect(settings) as connection:
        history.record_results(connection, run_id, verdict)
    return verdict


@task(name="hold back batches", **IDEMPOTENT)
def hold_back_batches(settings: Settings, verdict: Verdict) -> bool:
    """Quarantine what the gate blames; whether an earlier attempt at one of the files is accepted again."""
    with connect(settings) as connection:
        quarantine.hold_back(settings, connection, verdict)
        return any(b.attempt > 1 for b in ledger.pending(connection) if b.batch_id in verdict.failing)


@task(name="report gate", task_run_name="report gate {gate}", **IDEMPOTENT)
def report_gate(settings: Settings, gate: Gate, verdict: Verdict) -> None:
    """The gate's artifact. Raises `GateFailedError` when no batch can be blamed for a failure."""
    with connect(settings) as connection:
        filenames = {b.batch_id: b.filename for b in ledger.pending(connection)}
    artifacts.report_gate(verdict, filenames)
    held_back = f", {len(verdict.failing)} held back" if verdict.failing else ""
    progress.report(f"gate {gate}", f"{verdict.judged_batches} batches judged{held_back}")
    if verdict.unblamed:
        problems = "\n".join(f"- {problem}" for problem in verdict.unblamed)
        raise GateFailedError(
            f"Gate {gate} failed and no batch can be blamed; nothing of this run is published, the last "
            f"published state stays.\n{problems}"
        )


@task(name="publish tables", **IDEMPOTENT)
def publish_tables(settings: Settings, summary: RunSummary) -> None:
    """The atomic last step."""
    with connect(settings) as connection:
        publishing.publish(settings, connection, summary)
    progress.report("publish", str(settings.published_path))


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
        run, warehouse = history.account(connection)
        pending = ledger.pending(connection)
        empty = ledger.empty_of_run(connection, summary.run_id)
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
        unsettled=plan.unsettled,
        ignored=plan.ignored,
        refused=plan.refused + loaded.left_out,
        warnings=_warnings(verdicts, {b.batch_id: b.filename for b in pending}),
    )


@task(name="report run", **IDEMPOTENT)
def report_run(settings: Settings, summary: RunSummary) -> None:
    """Artifacts and site."""
    with connect(settings) as connection:
        docs_site.build(settings, connection, summary)
        artifacts.report_quarantine(ledger.by_status(connection, BatchStatus.QUARANTINED))
    artifacts.report_summary(settings, summary)
    progress.report("report", str(settings.site_dir / "index.html"))


def _made_public(*, full_refresh: bool) -> tuple[BatchStatus, ...]:
    """The states from which this run publishes a batch; a full refresh publishes what is public again."""
    new = (BatchStatus.LOADED, BatchStatus.RELEASED)
    return (*new, BatchStatus.PUBLISHED) if full_refresh else new


def _warnings(verdicts: list[Verdict], filenames: dict[str, str]) -> tuple[str, ...]:
    """Each warning about a batch, once."""
    return tuple(
        dict.fromkeys(
            f"{filenames.get(str(w.batch_id), w.batch_id)}: {w.description} Found {w.observed}, {w.threshold} is fine."
            for verdict in verdicts
            for w in verdict.warnings
            if w.batch_id is not None and w.severity == "warning" and w.batch_id not in verdict.failing
        )
    )
