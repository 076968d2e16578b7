"""What the Prefect UI shows: artifacts under keys that stay, so that they have a history, and how a flow run ended."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import cast
from uuid import UUID

from prefect.artifacts import (
    create_link_artifact,
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.runtime import flow_run
from prefect.states import Completed

from flows import logs, reports
from flows.domain import Batch, Decision, Gate, Layer, RunStatus, RunSummary, Verdict
from flows.settings import Settings

GATE_KEYS = {gate: f"gate-{gate}" for gate in Gate}
QUARANTINE_KEY = "quarantine"
SELECTION_KEY = "selection"
REVALIDATION_KEY = "revalidation"
SUMMARY_KEY = "run-summary"
SITE_KEY = "site"
PROGRESS_KEY = "progress"
LONG_RUN_SECONDS = 10
ROWS_SHOWN = 1000
"""Rows of a table artifact."""
STEPS = (
    *("discover", "load"),
    *(step for layer, gate in zip(Layer, Gate, strict=True) for step in (f"build {layer}", f"gate {gate}")),
    *("publish", "report"),
)
"""As they report their ends."""


@dataclass
class RunProgress:
    """A progress artifact for a run that takes longer than ten seconds; it never goes back."""

    _since: float = field(default_factory=time.monotonic)
    _done: int = 0
    _artifact: UUID | None = None

    def tell(self, step: str, message: str) -> None:
        """A step has come to its end, or says how far it is."""
        if step not in STEPS:
            return
        self._done = max(self._done, STEPS.index(step) + (step != "load"))
        percent = 100 * self._done / len(STEPS)
        if self._artifact:
            update_progress_artifact(self._artifact, percent, description=f"{step}: {message}")
        elif time.monotonic() - self._since > LONG_RUN_SECONDS:
            made = create_progress_artifact(percent, key=PROGRESS_KEY, description=f"{step}: {message}")
            self._artifact = cast("UUID", made)  # outside of coroutines it is no awaitable


def report_gate(settings: Settings, verdict: Verdict, filenames: Mapping[str, str]) -> None:
    """The verdict of one gate."""
    create_markdown_artifact(
        reports.gate_markdown(verdict, filenames) + _on_site(settings, f"runs/{flow_run.id}.html", "The whole run"),
        key=GATE_KEYS[verdict.gate],
        description=f"Gate {verdict.gate}: {reports.gate_headline(verdict)}",
    )


def report_selection(settings: Settings, decision: Decision, batches: Sequence[Batch], *, dry_run: bool) -> None:
    """The batches that a decision concerns, before anything happens to them."""
    would = "would be" if dry_run else "are"
    create_table_artifact(
        reports.selection_rows(batches[:ROWS_SHOWN]),
        key=SELECTION_KEY,
        description=f"{len(batches):,} batches that {would} {reports.DONE[decision]}{_cut(len(batches))}"
        + _on_site(settings, "index.html", "The site"),
    )


def report_changes(settings: Settings, summary: RunSummary) -> None:
    """What judging again has changed."""
    create_markdown_artifact(
        reports.changes_markdown(summary) + _on_site(settings, "index.html", "The site"),
        key=REVALIDATION_KEY,
        description=reports.changes_headline(summary),
    )


def report_quarantine(settings: Settings, batches: Sequence[Batch], count: int) -> None:
    """The newest of the batches that are in quarantine now."""
    create_table_artifact(
        reports.quarantine_rows(batches) or [{"batch": "none is in quarantine"}],
        key=QUARANTINE_KEY,
        description=f"Batches in quarantine: {count:,}{_cut(count)}"
        + _on_site(settings, "quarantine/index.html", "Reasons, failing lines and what to do"),
    )


def report_summary(settings: Settings, summary: RunSummary) -> None:
    """The run, and the way to the site."""
    create_markdown_artifact(
        reports.summary_markdown(summary) + _on_site(settings, f"runs/{summary.run_id}.html", "Gates and steps"),
        key=SUMMARY_KEY,
        description=reports.headline(summary),
    )
    create_link_artifact(
        f"{settings.site_link}/index.html", link_text="The site: runs, quarantine, trends, Data Docs", key=SITE_KEY,
        description="Every run, batch in quarantine and validation result, page by page",
    )  # fmt: skip


def _on_site(settings: Settings, page: str, text: str) -> str:
    """A link, as the last paragraph of markdown."""
    return f"\n\n[{text}](<{settings.site_link}/{page}>)\n"


def _cut(count: int) -> str:
    return f", of which the first {ROWS_SHOWN:,} are shown" if count > ROWS_SHOWN else ""


STATE_NAMES = {RunStatus.NOTHING_NEW: "Nothing new", RunStatus.DRY_RUN: "Dry run"}


def end_flow(summary: RunSummary) -> RunSummary:
    """What a flow returns: the summary for its caller, in a final state that tells quarantine from clean.

    The library takes a state that a flow returns as the flow run's own, and gives the caller what is in it.
    """
    name = "Quarantined" if summary.quarantined else STATE_NAMES.get(summary.status, "Completed")
    _log_end(summary, name)
    return cast("RunSummary", Completed(name=name, message=reports.headline(summary), data=summary))


def _log_end(summary: RunSummary, name: str) -> None:
    """Of the run's lines each kind, as its accounting has them."""
    logs.event(
        f"run ended: {name}",
        run_id=summary.run_id,
        flow_run_name=flow_run.name,
        status=summary.status,
        seconds=round((summary.finished_at - summary.started_at).total_seconds(), 3),
        published_batches=summary.published_batches,
        held_back_batches=len(summary.quarantined),
        accounting=asdict(summary.run),
    )
