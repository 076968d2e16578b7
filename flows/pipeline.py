"""The flow: the story of a run, and nothing else.

discover -> load -> gate raw -> bronze -> gate validated -> silver -> gate cleansed -> gold -> gate gold
-> publish -> report; a batch that fails at a gate is held back with its evidence, the others go on.
"""

from __future__ import annotations

from dataclasses import replace

from prefect import flow

from flows import tasks
from flows.artifacts import end_flow
from flows.domain import BatchStatus, Gate, Layer, Loaded, Plan, RunStatus, RunSummary, Verdict
from flows.run import Run, open_run
from flows.settings import EMBEDDED
from flows.warehouse import utc_now

STEPS = (
    (Layer.RAW, Gate.RAW),
    (Layer.BRONZE, Gate.VALIDATED),
    (Layer.SILVER, Gate.CLEANSED),
    (Layer.GOLD, Gate.GOLD),
)


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
            return end_flow(run.ended(_unchanged(run, plan)))
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
    return run.ended(summary)


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
        bronze_changes = gate is not Gate.RAW and (returned or run.settings.engine != EMBEDDED)
        layers = [Layer.BRONZE, *rebuild] if bronze_changes else rebuild
        for layer in layers:
            tasks.build_layer(run.settings, layer)
        if not layers:
            break
        verdict = tasks.validate_gate(run.settings, gate, run.run_id)
        failing |= verdict.failing
    return replace(first, failing=failing, unblamed=verdict.unblamed), False


def _failing(verdict: Verdict | None) -> dict[str, tuple[str, ...]]:
    return verdict.failing if verdict else {}


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
