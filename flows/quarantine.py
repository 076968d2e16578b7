"""Batches that are held back: their evidence, their leaving the tables, and what a person decides about them."""

from __future__ import annotations

import getpass
import json
import os
from typing import TYPE_CHECKING, Any

from flows import evidence, ledger, reports
from flows.domain import Batch, BatchStatus, Decision, Gate, Selection, Verdict
from flows.settings import EMBEDDED
from flows.warehouse import transaction

if TYPE_CHECKING:
    from collections.abc import Sequence

    import duckdb

    from flows.settings import Settings

FAILING_LINES = """
    select
        line_number, codes, event_type, user_id, episode_id, "timestamp", duration, rescued,
        base64(rescued_bytes) as rescued_base64
    from ops.failing_lines
    where batch_id = $batch_id and load_at = $load_at
    order by line_number
"""


def hold_back(settings: Settings, connection: duckdb.DuckDBPyConnection, verdict: Verdict) -> None:
    """Quarantine the batches that the gate blames: evidence first, then state and rows in one transaction.

    Rows that another engine holds leave when it builds their layer anew, which the flow sees to.
    """
    if not verdict.failing:
        return
    batches = {b.batch_id: b for b in ledger.pending(connection)}
    for batch_id, reasons in verdict.failing.items():
        write_evidence(settings, connection, batches[batch_id], gate=verdict.gate, reasons=reasons)
    with transaction(connection):
        ledger.quarantine(connection, verdict.gate, verdict.failing, rules_version=settings.rules_version())
        if verdict.gate is not Gate.RAW and settings.engine == EMBEDDED:
            connection.execute(
                "delete from bronze.validated_events where batch_id in (select unnest(?::varchar[]))",
                [list(verdict.failing)],
            )


def write_evidence(
    settings: Settings,
    connection: duckdb.DuckDBPyConnection,
    batch: Batch,
    *,
    gate: str,
    reasons: tuple[str, ...],
) -> None:
    """`report.md`, `report.json` and `failing_lines.jsonl` in a folder named by the batch; an old one is replaced."""
    with evidence.replacing(settings, batch.batch_id) as folder:
        (folder / "report.md").write_text(reports.evidence_markdown(batch, gate=gate, reasons=reasons), "utf-8")
        (folder / "report.json").write_text(json.dumps(_report(batch, gate, reasons), indent=2) + "\n", "utf-8")
        if batch.row_count:
            target = str(folder / evidence.FAILING_LINES).replace("'", "''")
            connection.execute(
                f"copy ({FAILING_LINES}) to '{target}' (format json)",
                {"batch_id": batch.batch_id, "load_at": batch.load_at},
            )


def write_evidence_of_unreadable(settings: Settings, connection: duckdb.DuckDBPyConnection) -> None:
    """The evidence of files that the loading step could not read to their end."""
    for batch in ledger.pending(connection):
        if batch.status is BatchStatus.QUARANTINED and batch.gate == "load":
            reasons = (str(batch.reason), str(batch.detail))
            write_evidence(settings, connection, batch, gate="load", reasons=reasons)


def write_missing_evidence(settings: Settings, connection: duckdb.DuckDBPyConnection) -> None:
    """The evidence of batches that are held back and have none; the ledger has what was found as one text."""
    kept = set(evidence.kept(settings))
    for batch in ledger.by_status(connection, BatchStatus.QUARANTINED):
        if batch.batch_id not in kept:
            reasons = (str(batch.reason), batch.detail) if batch.detail else (str(batch.reason),)
            write_evidence(settings, connection, batch, gate=str(batch.gate), reasons=reasons)


CHOICE = {
    Decision.RELEASE: (BatchStatus.QUARANTINED,),
    Decision.DISCARD: (BatchStatus.QUARANTINED, BatchStatus.PUBLISHED, BatchStatus.RELEASED),
    Decision.REPROCESS: tuple(s for s in BatchStatus if s is not BatchStatus.SUPERSEDED),
}
"""The states from which a person can choose batches."""


def choose(connection: duckdb.DuckDBPyConnection, decision: Decision, selection: Selection) -> tuple[Batch, ...]:
    """The batches that the decision concerns; released and reprocessed is the latest attempt at a file only.

    Raises `LedgerError` when there is none, or one that is named is in another state.
    """
    found = ledger.select(connection, selection, CHOICE[decision])
    if decision is Decision.DISCARD:
        return tuple(found)
    latest = {batch.filename: batch for batch in found}.values()
    # Of what is not named, only what has rows can be released; a named one is refused, with the reason.
    return tuple(b for b in latest if b.row_count or selection.names or decision is Decision.REPROCESS)


def decide(
    connection: duckdb.DuckDBPyConnection,
    decision: Decision,
    batches: Sequence[Batch],
    *,
    reason: str,
    who: str | None = None,
) -> None:
    """Release or discard batches, all of them or none. Raises `LedgerError`."""
    transition = {Decision.RELEASE: ledger.release, Decision.DISCARD: ledger.discard}[decision]
    with transaction(connection):
        for batch in batches:
            transition(connection, batch, reason=reason, who=who or _who())


def _who() -> str:
    """The person at the terminal, as the system knows them."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user without a name, as in many containers
        return f"uid {os.getuid()}"


def _report(batch: Batch, gate: str, reasons: tuple[str, ...]) -> dict[str, Any]:
    return {
        "batch_id": batch.batch_id,
        "filename": batch.filename,
        "attempt": batch.attempt,
        "content_hash": batch.content_hash,
        "gate": gate,
        "reason": reasons[0],
        "findings": list(reasons[1:]),
        "row_count": batch.row_count,
        "load_at": batch.load_at.isoformat(),
    }
