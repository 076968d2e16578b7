"""The flow: the story of a run, and nothing else.

discover -> load -> gate raw -> bronze -> gate validated -> silver -> gate cleansed -> gold -> gate gold
-> publish -> report; a batch that fails at a gate is held back with its evidence, the others go on.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from prefect import flow
from prefect.logging import get_run_logger
from prefect.runtime import flow_run

from flows import events, faults, history, lineage, logs, metrics, progress, publish, reference, tasks, versions
from flows.artifacts import RunProgress, end_flow
from flows.domain import (
    BatchStatus,
    Gate,
    Inputs,
    Layer,
    Loaded,
    Plan,
    RunStatus,
    RunSummary,
    Verdict,
)
from flows.errors import PipelineError
from flows.settings import Settings, load_settings
from flows.site import build as site
from flows.site import catalog
from flows.warehouse import connect, utc_now, writer_lock
from flows.watchdog import time_limit

if TYPE_CHECKING:
    import duckdb

STEPS = (
    (Layer.RAW, Gate.RAW),
    (Layer.BRONZE, Gate.VALIDATED),
    (Layer.SILVER, Gate.CLEANSED),
    (Layer.GOLD, Gate.GOLD),
)


@dataclass(frozen=True)
class Run:
    """One run that holds the right to write."""

    settings: Settings
    summary: RunSummary
    inputs: Inputs
    full_refresh: bool = False
    is_rehearsal: bool = False
    gold_is_outdated: bool = False
    """Whether gold was made by other models or rules of listening than those of now."""

    @property
    def run_id(self) -> str:
        """The id of the flow run."""
        return self.summary.run_id

    def refreshes(self, layer: Layer) -> bool:
        """Whether the layer is recomputed whole, rather than what the run touches only."""
        return self.full_refresh or (layer is Layer.GOLD and self.gold_is_outdated)


@flow(name="podcast-pipeline", description="New listening events through four gates into the star schema.")
def podcast_pipeline(*, full_refresh: bool = False, load_new_files: bool = True) -> RunSummary:
    """Load what has landed, judge it, publish what passed.

    Args:
        full_refresh: Recompute every table from `bronze.raw_events` instead of what is new only; batches that other
            rules judged are judged again.
        load_new_files: Look into the landing directory; off, only waiting decisions are carried out.

    """
    with open_run(full_refresh=full_refresh) as run:
        plan = tasks.discover_files(run.settings)
        if not load_new_files:
            plan = replace(plan, arrivals=())
        if full_refresh:
            judge_again(run, only_outdated=True)
            tasks.mark_all_batches(run.settings)
        elif not plan.has_work:
            tasks.announce_batches(run.settings)
            unchanged = _unchanged(run, plan)
            metrics.note_run(run.settings, unchanged, progress.steps())
            return end_flow(unchanged)
        return end_flow(process(run, plan))


def judge_again(run: Run, *, only_outdated: bool) -> None:
    """Open batches for the gates, with the row rules as they are now to compare with."""
    tasks.build_reference(run.settings, run.inputs)
    for layer in (Layer.RAW, Layer.BRONZE):
        tasks.build_layer(run.settings, layer)
    tasks.open_batches_again(run.settings, run.run_id, only_outdated=only_outdated)


def process(run: Run, plan: Plan) -> RunSummary:
    """Everything between discovery and the report."""
    loaded = tasks.load_batches(run.settings, plan, run.run_id) if plan.arrivals else Loaded()
    verdicts = pass_gates(run)
    summary = tasks.summarise_run(run.settings, plan, loaded, run.summary, verdicts, full_refresh=run.full_refresh)
    if run.is_rehearsal:
        summary = replace(summary, status=RunStatus.DRY_RUN)
    if summary.rejudged_batches:
        tasks.report_changes(run.settings, summary)
    if run.is_rehearsal:
        return summary
    tasks.publish_tables(run.settings, summary, run.inputs)
    tasks.announce_batches(run.settings)
    tasks.report_run(run.settings, summary)
    metrics.note_run(run.settings, summary, progress.steps())
    return summary


def pass_gates(run: Run) -> list[Verdict]:
    """Layer by layer, each with its gate; from the first again when a batch comes in that no gate has judged.

    That is an earlier attempt at a file whose later one was held back, where both are to be judged again.
    """
    verdicts: dict[Gate, Verdict] = {}
    tasks.build_reference(run.settings, run.inputs, full_refresh=run.full_refresh)
    step = 0
    while step < len(STEPS):
        layer, gate = STEPS[step]
        tasks.build_layer(run.settings, layer, full_refresh=run.refreshes(layer) and gate not in verdicts)
        verdict, starts_over = pass_gate(run, gate, rebuild=[layer for layer, _ in STEPS[2 : step + 1]])
        verdicts[gate] = verdict = replace(verdict, failing=_failing(verdicts.get(gate)) | verdict.failing)
        tasks.report_gate(run.settings, gate, verdict, is_rehearsal=run.is_rehearsal)
        step = 0 if starts_over else step + 1
    return list(verdicts.values())


def pass_gate(run: Run, gate: Gate, *, rebuild: list[Layer]) -> tuple[Verdict, bool]:
    """Hold back what fails, take it out of the layers that have its rows already, and judge the rest again.

    With it: whether the first gate has to judge anew.
    """
    verdict = first = tasks.validate_gate(run.settings, gate, run.run_id)
    failing = dict(first.failing)
    while verdict.failing:
        returned = tasks.hold_back_batches(run.settings, verdict)
        if BatchStatus.LOADED in returned:
            return replace(first, failing=failing), True
        layers = [Layer.BRONZE, *rebuild] if returned and gate is not Gate.RAW else rebuild
        for layer in layers:
            tasks.build_layer(run.settings, layer)
        if not layers:
            break
        verdict = tasks.validate_gate(run.settings, gate, run.run_id)
        failing |= verdict.failing
    return replace(first, failing=failing, unblamed=verdict.unblamed), False


def _failing(verdict: Verdict | None) -> dict[str, tuple[str, ...]]:
    return verdict.failing if verdict else {}


@contextmanager
def open_run(*, full_refresh: bool = False) -> Iterator[Run]:
    """Hold the writer lock and the warehouse open; a run that ends by an error is entered as failed.

    So is one that was cancelled or ran out of time, if its process lives long enough; else the next run enters
    it as crashed.
    """
    settings = load_settings()
    run_id, started_at = str(flow_run.id), utc_now()
    summary = RunSummary(run_id, RunStatus.FAILED, started_at, started_at)
    lock = writer_lock(settings, purpose=f"flow run {flow_run.name}", run_id=run_id)
    limit = time_limit(settings.run_timeout_minutes)
    with logged_run(settings), _measured(settings), limit, lock, connect(settings) as connection, _watched(settings):
        try:
            publish.catch_up(settings, connection)
            history.record_crashes(settings, connection)
            inputs = Inputs(settings.reference_hash(), settings.inputs_hash())
            if history.last_inputs_hash(connection) != inputs.inputs_hash:
                scratch = settings.warehouse_path.with_name("reference.tmp")
                reference.check(settings.seeds, memory_limit=settings.memory_limit, scratch=scratch)
            outdated = not versions.is_gold_made_by(connection, settings.gold_version())
            yield Run(settings, summary, inputs, full_refresh, gold_is_outdated=outdated)
            if history.is_recorded(connection, run_id):
                history.record_steps(connection, run_id, progress.steps())
        except BaseException as error:
            with suppress(Exception):  # a warehouse that can no longer be written must not hide why
                _enter_failure(settings, connection, replace(summary, finished_at=utc_now()), error)
            raise


@contextmanager
def logged_run(settings: Settings) -> Iterator[None]:
    """With the begin of the flow run in the log, and its end where that is an error."""
    logs.configure(settings)
    with logs.about_run(str(flow_run.id), flow_run.name or ""):
        logs.event("run began")
        try:
            yield
        except BaseException as error:
            unknown = None if isinstance(error, PipelineError) else error
            told = {"error_type": type(error).__name__, "cause": faults.told(error)}
            logs.event("run failed", level=logging.ERROR, error=unknown, **told)
            raise


@contextmanager
def _measured(settings: Settings) -> Iterator[None]:
    """With the figures for Prometheus written when all is over, however it ended."""
    try:
        yield
    finally:
        metrics.write_textfile(settings)


@contextmanager
def _watched(settings: Settings) -> Iterator[None]:
    """With the steps measured, shown in the Prefect UI where they take long, and told as lineage."""
    warn = get_run_logger().warning
    told = lineage.recording(settings, str(flow_run.id), str(flow_run.flow_name), warn=warn)
    with progress.timing(), progress.followed_by(RunProgress().tell), told:
        yield


def _enter_failure(
    settings: Settings, connection: duckdb.DuckDBPyConnection, failed: RunSummary, error: BaseException
) -> None:
    """Into the history, and onto the site, for whoever looks there first."""
    message = faults.told(error)
    metrics.note_run(settings, failed, progress.steps())
    if history.is_recorded(connection, failed.run_id):  # it came as far as its report: what it published stays so
        history.add_message(connection, failed.run_id, message)
        return
    if isinstance(error, Exception) and not events.is_same_cause(message, history.last_run(connection)):
        events.announce_failure(failed.run_id, error, message)
    history.record_run(connection, failed, catalog=settings.warehouse_path.stem, message=message)
    history.record_steps(connection, failed.run_id, progress.steps())
    if isinstance(error, Exception):
        site.build(settings, connection, failed)
        catalog.build(settings, connection, published=publish.TABLES)


def _unchanged(run: Run, plan: Plan) -> RunSummary:
    return replace(
        run.summary,
        status=RunStatus.NOTHING_NEW,
        finished_at=utc_now(),
        missing=plan.missing,
        unsettled=plan.unsettled,
        ignored=plan.ignored,
        refused=plan.refused,
    )
