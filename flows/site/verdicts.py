"""What each gate said when it last judged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flows.domain import Gate, Severity
from flows.site import look
from flows.warehouse import read_dicts

if TYPE_CHECKING:
    from datetime import datetime

    import duckdb
    from markupsafe import Markup

RUNS_LOOKED_AT = 50
"""A gate that judged in none of the newest runs has no last verdict."""


@dataclass(frozen=True)
class GateVerdict:
    """The last verdict of a gate: `results` are those over all batches, by the expectation's description."""

    run_id: str
    checked_at: datetime
    results: dict[str, dict[str, Any]]
    held_back: int
    has_failed: bool

    @property
    def badge(self) -> Markup:
        """The verdict as a word or two."""
        if self.has_failed:
            return look.badge("bad", "failed")
        if self.held_back:
            return look.badge("warn", f"held back {self.held_back}")
        return look.badge("ok", "passed")


def last(connection: duckdb.DuckDBPyConnection) -> dict[Gate, GateVerdict]:
    """The last verdict of each gate, of the newest runs."""
    rows = read_dicts(
        connection,
        """
        with recent as (select run_id from ops.runs order by started_at desc limit ?),

        results as (
            select * from ops.validation_results where run_id in (select run_id from recent)
        ),

        newest as (select checkpoint, arg_max(run_id, checked_at) as run_id from results group by checkpoint)

        select
            results.run_id, results.checkpoint, results.severity, results.batch_id, results.success,
            results.observed, results.checked_at,
            substr(results.expectation, strpos(results.expectation, ': ') + 2) as description
        from results
        inner join newest on results.checkpoint = newest.checkpoint and results.run_id = newest.run_id
        order by results.checked_at
        """,
        [RUNS_LOOKED_AT],
    )
    by_gate = {gate: [row for row in rows if row["checkpoint"] == gate] for gate in Gate}
    return {gate: _verdict(found) for gate, found in by_gate.items() if found}


def _verdict(rows: list[dict[str, Any]]) -> GateVerdict:
    """A gate that judges again, without what it held back, has further results: the later ones count."""
    whole = {row["description"]: row | {"outcome": _outcome(row)} for row in rows if row["batch_id"] is None}
    blamed = [row for row in rows if row["batch_id"] is not None and not row["success"] and _is_critical(row)]
    explained = {row["description"] for row in blamed}
    failed = [row for row in whole.values() if not row["success"] and _is_critical(row)]
    return GateVerdict(
        run_id=rows[-1]["run_id"],
        checked_at=rows[-1]["checked_at"],
        results=whole,
        held_back=len({row["batch_id"] for row in blamed}),
        has_failed=any(row["description"] not in explained for row in failed),
    )


def _is_critical(row: dict[str, Any]) -> bool:
    return bool(row["severity"] == Severity.CRITICAL)


def _outcome(row: dict[str, Any]) -> str:
    if row["success"]:
        return "ok"
    return "FAILED" if _is_critical(row) else "noted"
