"""Values -> markdown and tables. Pure: nothing here reads a database or talks to Prefect."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from flows.domain import (
    Accounting,
    Batch,
    ExpectationResult,
    HeldBack,
    RunStatus,
    RunSummary,
    Severity,
    Verdict,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

GATE_TITLES = {
    "raw": "after the load",
    "validated": "after bronze",
    "cleansed": "after silver",
    "gold": "after gold",
}
NEXT_STEPS = (
    "- look at the evidence: `podcast quarantine show {id}`\n"
    "- land a corrected file under the same name: it is loaded as a new attempt\n"
    '- publish it as it is: `podcast quarantine release {id} --reason "..."`\n'
    '- leave it out for good: `podcast quarantine discard {id} --reason "..."`\n'
    "- read the file again: `podcast quarantine reprocess {id}`\n"
)


def escape(text: object) -> str:
    """Text as it is in markdown: no markup, link, image, HTML or table cell comes out of a file name or a value."""
    shown = "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in str(text))
    for character in "\\`*_{}[]()#+-.!|~$":
        shown = shown.replace(character, f"\\{character}")
    return shown.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("://", ":&#47;&#47;")


def code(text: object) -> str:
    """Text as code in a table cell; what could end the code or the cell is replaced."""
    shown = "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in str(text))
    return f"`{shown.replace('`', chr(39)).replace('|', chr(0xA6))}`"


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are escaped already."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


def gate_markdown(verdict: Verdict, filenames: Mapping[str, str]) -> str:
    """One gate of one run: the verdict first, the expectations, then each failing batch and what to do about it."""
    parts = [f"# Gate {verdict.gate} ({GATE_TITLES[verdict.gate]}): {_gate_headline(verdict)}\n"]
    if verdict.unblamed:
        parts.append("**No batch can be blamed, so the run stops and nothing of it is published.**\n")
        parts += [f"- {escape(problem)}\n" for problem in verdict.unblamed]
    if verdict.results:
        parts += ["## Expectations\n", _expectation_table(verdict.results)]
    else:
        parts.append("Nothing to judge: no new batch has come this far, and no row had to be recomputed.\n")
    if verdict.failing:
        parts.append("## Batches held back\n")
        parts += [_failing_batch(b, filenames.get(b, "?"), reasons) for b, reasons in verdict.failing.items()]
    return "\n".join(parts)


def _gate_headline(verdict: Verdict) -> str:
    if verdict.unblamed:
        return "FAILED"
    if verdict.failing:
        return f"{len(verdict.failing)} of {_count(verdict.judged_batches, 'batch', 'batches')} held back"
    if not verdict.results:
        return "nothing to judge"
    warned = len({w.description for w in verdict.warnings if w.severity is Severity.WARNING})
    suffix = f", {_count(warned, 'warning')}" if warned else ""
    return (
        f"passed ({_count(verdict.judged_batches, 'batch', 'batches')}, {_count(verdict.judged_rows, 'row')}){suffix}"
    )


def _expectation_table(results: Sequence[ExpectationResult]) -> str:
    header = ("Result", "Severity", "Expectation", "Observed", "Allowed")
    rows = (
        (_outcome(r), r.severity, escape(r.description), escape(r.observed), escape(r.threshold))
        for r in results
        if r.batch_id is None
    )
    return markdown_table(header, rows)


def _outcome(result: ExpectationResult) -> str:
    if result.success:
        return "ok"
    return "**FAILED**" if result.severity is Severity.CRITICAL else "noted"


def _failing_batch(batch_id: str, filename: str, reasons: tuple[str, ...]) -> str:
    findings = "".join(f"- {escape(finding)}\n" for finding in reasons[1:])
    return (
        f"### {code(filename)} (batch {code(batch_id)}): {escape(reasons[0])}\n\n{findings}\n"
        f"What to do:\n\n{NEXT_STEPS.format(id=batch_id)}"
    )


def quarantine_rows(batches: Iterable[Batch]) -> list[dict[str, Any]]:
    """The quarantined batches as rows of a table artifact; the first row decides the columns, so all have all."""
    return [
        {
            "batch": batch.batch_id,
            "file": escape(batch.filename),
            "gate": batch.gate or "",
            "reason": batch.reason or "",
            "found": escape(batch.detail or ""),
            "rows": batch.row_count,
            "loaded at (UTC)": f"{batch.load_at:%Y-%m-%d %H:%M:%S}",
            "next": f"podcast quarantine show {batch.batch_id}",
        }
        for batch in batches
    ]


def summary_markdown(summary: RunSummary) -> str:
    """One run: what was let in, what was held back and why, and the lines that add up."""
    parts = [f"# {headline(summary)}\n"]
    if summary.status is RunStatus.PASSED:
        parts += ["## Every line is accounted for\n", accounting_table(summary)]
    if summary.quarantined:
        parts += ["## Held back\n", _held_back_table(summary.quarantined)]
    if summary.empty:
        parts += ["## Empty files\n", *(f"- {code(name)}\n" for name in summary.empty)]
    if summary.refused or summary.unsettled or summary.ignored:
        parts += ["## Files that were not loaded\n", _not_loaded_table(summary)]
    if summary.warnings:
        parts += ["## Warnings\n", *(f"- {escape(warning)}\n" for warning in summary.warnings)]
    return "\n".join(parts)


def headline(summary: RunSummary) -> str:
    """The run in one line."""
    if summary.status is RunStatus.NOTHING_NEW:
        return "Nothing new: no file to load, no batch waiting"
    if summary.status is RunStatus.FAILED:
        return "The run failed; the last published state stays"
    published = _count(summary.published_batches, "batch", "batches")
    if summary.quarantined:
        return f"{published} published, {len(summary.quarantined)} held back"
    return f"{published} published, none held back"


def accounting_table(summary: RunSummary) -> str:
    """Lines of this run and of the warehouse by where they are now."""
    rows = [
        (label, f"{run:,}", f"{warehouse:,}")
        for (label, run), (_, warehouse) in zip(
            accounting_rows(summary.run), accounting_rows(summary.warehouse), strict=True
        )
    ]
    return markdown_table(("Lines", "this run", "warehouse"), rows)


def accounting_rows(accounting: Accounting) -> list[tuple[str, int]]:
    """The five kinds, and all lines, as label and count."""
    return [
        ("fact", accounting.facts),
        ("duplicate", accounting.duplicates),
        ("invalid", accounting.invalid),
        ("malformed", accounting.malformed),
        ("held back with its batch", accounting.held_back),
        ("all lines", accounting.lines),
    ]


def _held_back_table(batches: Sequence[HeldBack]) -> str:
    rows = (
        (code(b.filename), code(b.batch_id), b.gate, escape(b.reason), escape(b.detail), f"{b.row_count:,}")
        for b in batches
    )
    return markdown_table(("File", "Batch", "Gate", "Reason", "Found", "Lines"), rows)


def _not_loaded_table(summary: RunSummary) -> str:
    rows = [
        *((code(name), escape(reason)) for name, reason in summary.refused),
        *((code(name), "still being written; the next run looks again") for name in summary.unsettled),
        *((code(name), "not an event file (.json, .ndjson, .jsonl, plain or .gz or .zst)") for name in summary.ignored),
    ]
    return markdown_table(("File", "Why"), rows)


def evidence_markdown(batch: Batch, *, gate: str, reasons: tuple[str, ...]) -> str:
    """The report that lies beside the failing lines of a quarantined batch."""
    findings = "".join(f"- {escape(finding)}\n" for finding in reasons[1:])
    lines = "The failing lines, with line numbers and codes, are in `failing_lines.jsonl`.\n" if batch.row_count else ""
    return (
        f"# {code(batch.filename)}: {escape(reasons[0])}\n\n"
        f"Batch {code(batch.batch_id)}, attempt {batch.attempt}, {batch.row_count:,} lines, loaded at "
        f"{batch.load_at:%Y-%m-%d %H:%M:%S} UTC, held back by gate {gate}.\n\n"
        f"{findings}\n{lines}\nWhat to do:\n\n{NEXT_STEPS.format(id=batch.batch_id)}"
    )


def _count(number: int, one: str, many: str | None = None) -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"
