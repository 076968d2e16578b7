"""Reports into Prefect artifacts, under keys that stay, so that the UI shows their history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact

from flows import reports
from flows.domain import Batch, Gate, RunSummary, Verdict
from flows.settings import Settings

GATE_KEYS = {gate: f"gate-{gate}" for gate in Gate}
QUARANTINE_KEY = "quarantine"
SUMMARY_KEY = "run-summary"
DATA_DOCS_KEY = "data-docs"


def report_gate(verdict: Verdict, filenames: Mapping[str, str]) -> None:
    """The verdict of one gate."""
    create_markdown_artifact(
        reports.gate_markdown(verdict, filenames),
        key=GATE_KEYS[verdict.gate],
        description=f"Verdict of the gate {verdict.gate}",
    )


def report_quarantine(batches: Sequence[Batch]) -> None:
    """All batches that are in quarantine now."""
    create_table_artifact(
        reports.quarantine_rows(batches) or [{"batch": "none is in quarantine"}],
        key=QUARANTINE_KEY,
        description="Batches in quarantine, newest first",
    )


def report_summary(settings: Settings, summary: RunSummary) -> None:
    """The run, and the way to the Data Docs."""
    create_markdown_artifact(reports.summary_markdown(summary), key=SUMMARY_KEY, description=reports.headline(summary))
    create_link_artifact(
        f"{settings.site_link}/index.html", link_text="Data Docs and run report", key=DATA_DOCS_KEY,
        description="Every validation result, page by page",
    )  # fmt: skip
