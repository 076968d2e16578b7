"""A run as a whole: what it holds while it works, and what becomes of it however it ends."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from prefect.logging import get_run_logger
from prefect.runtime import flow_run

from flows import (
    engines,
    events,
    faults,
    history,
    joining,
    ledger,
    lineage,
    loading_tasks,
    logs,
    metrics,
    progress,
    publish,
    reference,
    versions,
)
from flows.artifacts import RunProgress
from flows.domain import Inputs, Layer, RunStatus, RunSummary
from flows.errors import PipelineError
from flows.settings import Settings, load_settings
from flows.site import build as site
from flows.site import catalog
from flows.warehouse import Holding, connect, utc_now
from flows.watchdog import time_limit

if TYPE_CHECKING:
    import duckdb


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

    def ended(self, summary: RunSummary) -> RunSummary:
        """The summary, noted for the figures."""
        metrics.note_run(self.settings, summary, progress.steps())
        return summary


@contextmanager
def open_run(*, full_refresh: bool = False) -> Iterator[Run]:
    """Hold the writer lock and the warehouse open; a run that ends by an error is entered as failed.

    So is one that was cancelled or ran out of time, if its process lives long enough; else the next run enters
    it as crashed.
    """
    settings = load_settings()
    engines.refuse_missing(settings)
    loading_tasks.refuse_missing(settings)
    run_id, started_at = str(flow_run.id), utc_now()
    summary = RunSummary(run_id, RunStatus.FAILED, started_at, started_at)
    lock = joining.writer(settings, purpose=f"flow run {flow_run.name}", run_id=run_id)
    limit = time_limit(settings.run_timeout_minutes)
    with (
        logged_run(settings),
        _measured(settings),
        limit,
        lock as holding,
        connect(settings) as connection,
        _watched(settings),
    ):
        try:
            publish.catch_up(settings, connection)
            history.record_crashes(settings, connection)
            builds_anew = not engines.is_at_one(connection, settings) and ledger.mark_all_pending(connection) > 0
            inputs = Inputs(settings.reference_hash(), settings.inputs_hash())
            if history.last_inputs_hash(connection) != inputs.inputs_hash:
                scratch = settings.warehouse_path.with_name("reference.tmp")
                reference.check(settings.seeds, memory_limit=settings.memory_limit, scratch=scratch)
            outdated = not versions.is_gold_made_by(connection, settings.gold_version())
            yield Run(settings, summary, inputs, full_refresh or builds_anew, gold_is_outdated=outdated)
            if history.is_recorded(connection, run_id):
                history.record_steps(connection, run_id, progress.steps())
                joining.keep(settings, connection)
        except BaseException as error:
            with suppress(Exception):  # a warehouse that can no longer be written must not hide why
                _enter_failure(settings, connection, replace(summary, finished_at=utc_now()), error, holding)
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
    settings: Settings,
    connection: duckdb.DuckDBPyConnection,
    failed: RunSummary,
    error: BaseException,
    holding: Holding,
) -> None:
    """Into the history, and onto the site, for whoever looks there first."""
    message = faults.told(error)
    metrics.note_run(settings, failed, progress.steps())
    holding.is_entered = history.is_recorded(connection, failed.run_id)
    if holding.is_entered:  # it came as far as its report: what it published stays so
        history.add_message(connection, failed.run_id, message)
        return
    if isinstance(error, Exception) and not events.is_same_cause(message, history.last_run(connection)):
        events.announce_failure(failed.run_id, error, message)
    history.record_run(connection, failed, catalog=settings.warehouse_path.stem, message=message)
    holding.is_entered = True
    history.record_steps(connection, failed.run_id, progress.steps())
    if isinstance(error, Exception):
        site.build(settings, connection, failed)
        catalog.build(settings, connection, published=publish.TABLES)
        joining.keep(settings, connection)
