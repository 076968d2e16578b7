"""What is said of each kind of step: the load, a model, a gate."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from openlineage.client.facet_v2 import data_quality_assertions_dataset

from flows.domain import Severity
from flows.gx_context import load_suites
from flows.lineage import datasets
from flows.lineage.events import Step
from flows.settings import DBT_PROJECT

if TYPE_CHECKING:
    from flows.domain import BuiltModel, ExpectationResult, Gate, Loaded, Plan, Verdict
    from flows.lineage.datasets import Names
    from flows.lineage.steps import Recorder
    from flows.settings import Settings
    from flows.tables import Table

SEVERITIES = {Severity.CRITICAL: "error", Severity.WARNING: "warn", Severity.INFO: "info"}
"""As OpenLineage calls them."""
COUNTED = re.compile(r"\d+ (of \d+ )?(rows?|batches|sources)( fail)?")
"""The part of what was observed that is a count; the rest can name what is in the data."""


def load(names: Names, plan: Plan) -> Step:
    """The load, before it began."""
    outputs = (datasets.raw_events(names),)
    return Step("load", "PREFECT", "TASK", inputs=tuple(datasets.landed(plan.arrivals)), outputs=outputs)


def loaded(recorder: Recorder, step: Step, result: Loaded) -> Step:
    """The load, with the lines that it added."""
    table = next(table for table in recorder.tables().values() if table.name == datasets.RAW_EVENTS)
    tags = {"files": str(result.batches), "files_left_out": str(len(result.left_out))}
    return replace(step, outputs=(datasets.loaded(recorder.names, table, result),), tags=tags)


def model(recorder: Recorder, table: Table, built: BuiltModel) -> Step:
    """One model, by dbt's graph; where that has a seed, the engine has read a file of the reference data."""
    seeds = {known.name for known in recorder.tables().values() if known.kind == "seed"}
    inputs = [
        datasets.reference(upstream.split(".")[1]) if upstream in seeds else recorder.names.read(upstream)
        for upstream in table.upstream
    ]
    return Step(
        job=f"dbt.{table.name}",
        integration="DBT",
        kind=table.kind.upper() if table.kind != "table" else "MODEL",
        inputs=tuple(inputs),
        outputs=(recorder.names.written(table),),
        sql=_sql(recorder.settings, built.sql),
    )


def _sql(settings: Settings, sql: str | None) -> str | None:
    """The SQL as dbt compiled it, unless it names a folder of this machine (of files of reference data)."""
    folders = (settings.home, settings.seeds, DBT_PROJECT)
    return None if not sql or any(str(folder) in sql for folder in folders) else sql.strip()


def gate(names: Names, gate: Gate) -> Step:
    """A gate, before it judged."""
    inputs = tuple(datasets.judged(names, table, ()) for table in _tables(gate))
    return Step(f"gate.{gate}", "GREAT_EXPECTATIONS", "CHECKPOINT", inputs=inputs)


def judged(recorder: Recorder, step: Step, verdict: Verdict) -> Step:
    """A gate, with each expectation's outcome over all batches, and the verdict."""
    inputs = tuple(
        datasets.judged(recorder.names, table, [_assertion(r) for r in verdict.results if _is_of(r, descriptions)])
        for table, descriptions in _tables(verdict.gate).items()
    )
    word = "failed" if verdict.unblamed else "held_back" if verdict.failing else "passed"
    tags = {
        "verdict": word,
        "judged_batches": str(verdict.judged_batches),
        "held_back_batches": str(len(verdict.failing)),
    }
    return replace(step, inputs=inputs, tags=tags)


def _tables(gate: Gate) -> dict[str, set[str]]:
    """What the gate looks at, and what it says of each."""
    return {
        f"ops.{suite['meta']['table']}": {expectation["description"] for expectation in suite["expectations"]}
        for suite in load_suites(gate)
    }


def _is_of(result: ExpectationResult, descriptions: set[str]) -> bool:
    return result.batch_id is None and result.description in descriptions


def _assertion(result: ExpectationResult) -> data_quality_assertions_dataset.Assertion:
    name, _, columns = result.expectation.rstrip(")").partition("(")
    counted = COUNTED.match(result.observed)
    return data_quality_assertions_dataset.Assertion(
        assertion=name,
        success=result.success,
        column=columns.split(", ")[0] or None,
        severity=SEVERITIES[result.severity],
        name=result.expectation,
        description=result.description,
        expected=result.threshold,
        actual=counted[0] if counted else None,
    )
