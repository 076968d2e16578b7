"""The flow: the story of a run, and nothing else; the reprocessing flow beside it.

discover -> load -> gate raw -> bronze -> gate validated -> silver -> gate cleansed -> gold -> gate gold
-> publish -> report; a batch that fails at a gate is held back with its evidence, the others go on.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from prefect import flow
from prefect.runtime import flow_run

from flows import history, tasks
from flows.domain import Gate, Layer, Loaded, Plan, RunStatus, RunSummary, Verdict
from flows.settings import Settings, load_settings
from flows.warehouse import connect, utc_now, writer_lock

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
    full_refresh: bool = False

    @property
    def run_id(self) -> str:
        """The id of the flow run."""
        return self.summary.run_id


@flow(name="podcast-pipeline", description="New listening events through four gates into the star schema.")
def podcast_pipeline(*, full_refresh: bool = False, load_new_files: bool = True) -> RunSummary:
    """Load what has landed, judge it, publish what passed.

    Args:
        full_refresh: Recompute every table from `bronze.raw_events` instead of what is new only.
        load_new_files: Look into the landing directory; off, only waiting decisions are carried out.

    """
    with open_run(full_refresh=full_refresh) as run:
        plan = tasks.discover_files(run.settings)
        if not load_new_files:
            plan = replace(plan, arrivals=())
        if full_refresh:
            tasks.mark_all_batches(run.settings)
        elif not plan.has_work:
            return _nothing_new(run, plan)
        return process(run, plan)


@flow(name="podcast-reprocess", description="Files that the ledger knows, read again as new attempts.")
def reprocess_batches(batches: list[str]) -> RunSummary:
    """Read the files of batches again; the new attempt replaces the old one when it passes.

    Args:
        batches: Batch ids, unique beginnings of them, or file names.

    """
    with open_run() as run:
        return process(run, tasks.plan_reprocessing(run.settings, batches))


def process(run: Run, plan: Plan) -> RunSummary:
    """Everything between discovery and the report."""
    loaded = tasks.load_batches(run.settings, plan, run.run_id) if plan.arrivals else Loaded()
    verdicts = []
    for step, (layer, gate) in enumerate(STEPS):
        tasks.build_layer(run.settings, layer, full_refresh=run.full_refresh)
        verdict = pass_gate(run, gate, rebuild=[layer for layer, _ in STEPS[2 : step + 1]])
        tasks.report_gate(run.settings, gate, verdict)
        verdicts.append(verdict)
    summary = tasks.summarise_run(run.settings, plan, loaded, run.summary, verdicts, full_refresh=run.full_refresh)
    tasks.publish_tables(run.settings, summary)
    tasks.report_run(run.settings, summary)
    return summary


def pass_gate(run: Run, gate: Gate, *, rebuild: list[Layer]) -> Verdict:
    """Hold back what fails, take it out of the layers that have its rows already, and judge the rest again."""
    verdict = first = tasks.validate_gate(run.settings, gate, run.run_id)
    failing = dict(first.failing)
    while verdict.failing:
        returns = tasks.hold_back_batches(run.settings, verdict)
        layers = [Layer.BRONZE, *rebuild] if returns and gate is not Gate.RAW else rebuild
        for layer in layers:
            tasks.build_layer(run.settings, layer)
        if not layers:
            break
        verdict = tasks.validate_gate(run.settings, gate, run.run_id)
        failing |= verdict.failing
    return replace(first, failing=failing, unblamed=verdict.unblamed)


@contextmanager
def open_run(*, full_refresh: bool = False) -> Iterator[Run]:
    """Hold the writer lock and the warehouse open; a run that ends by an error is entered as failed."""
    settings = load_settings()
    run_id, started_at = str(flow_run.id), utc_now()
    summary = RunSummary(run_id, RunStatus.FAILED, started_at, started_at)
    with writer_lock(settings, purpose=f"flow run {flow_run.name}"), connect(settings) as connection:
        try:
            yield Run(settings, summary, full_refresh)
        except Exception as error:
            failed = replace(summary, finished_at=utc_now())
            history.record_run(connection, failed, catalog=settings.warehouse_path.stem, message=f"{error}")
            raise


def _nothing_new(run: Run, plan: Plan) -> RunSummary:
    return replace(
        run.summary,
        status=RunStatus.NOTHING_NEW,
        finished_at=utc_now(),
        unsettled=plan.unsettled,
        ignored=plan.ignored,
        refused=plan.refused,
    )
