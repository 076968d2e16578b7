"""Values -> markdown and tables. Pure: nothing here reads a database or talks to Prefect."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from flows.domain import (
    Accounting,
    Batch,
    Decision,
    ExpectationResult,
    HeldBack,
    RunStatus,
    RunSummary,
    Severity,
    Verdict,
    VerdictChange,
)
from flows.masking import visible

if TYPE_CHECKING:
    from collections.abc import Mapping

GATE_TITLES = {
    "raw": "after the load",
    "validated": "after bronze",
    "cleansed": "after silver",
    "gold": "after gold",
}
SHOWN = 50
"""Entries of a list that are shown."""
CHANGES_SHOWN = 1000
"""Batches that are shown of those whose verdict changed."""
CHOICES = (
    ("look at the evidence", "podcast quarantine show {id}"),
    ("publish it as it is", 'podcast quarantine release {id} --reason "..."'),
    ("leave it out for good", 'podcast quarantine discard {id} --reason "..."'),
    ("read the file again", "podcast quarantine reprocess {id}"),
)
"""What a person can do about a batch in quarantine, and what to type for it."""
CORRECTION = "land a corrected file under the same name: it is loaded as a new attempt"


def next_steps(batch_id: str) -> str:
    """The choices, as a list in markdown."""
    typed = [f"{what}: `{command.format(id=batch_id)}`" for what, command in CHOICES]
    return "".join(f"- {choice}\n" for choice in (typed[0], CORRECTION, *typed[1:]))


def first(notes: Sequence[str], count: int) -> list[str]:
    """The first of them, and how many more there are."""
    more = len(notes) - count
    return [*notes[:count], *([f"... and {more:,} more"] if more > 0 else [])]


def escape(text: object) -> str:
    """Text as it is in markdown: no markup, link, image, HTML or table cell comes out of a file name or a value."""
    shown = visible(str(text))
    for character in "\\`*_{}[]()#+-.!|~$":
        shown = shown.replace(character, f"\\{character}")
    return shown.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("://", ":&#47;&#47;")


def code(text: object) -> str:
    """Text as code in a table cell; what could end the code or the cell is replaced."""
    shown = visible(str(text))
    return f"`{shown.replace('`', chr(39)).replace('|', chr(0xA6))}`"


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are escaped already."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


def gate_markdown(verdict: Verdict, filenames: Mapping[str, str]) -> str:
    """One gate of one run: the verdict, each failing batch and what to do about it, and the expectations."""
    parts = [f"# Gate {verdict.gate} ({GATE_TITLES[verdict.gate]}): {gate_headline(verdict)}\n"]
    if verdict.unblamed:
        parts.append("**No batch can be blamed, so the run stops and nothing of it is published.**\n")
        parts += [f"- {escape(problem)}\n" for problem in verdict.unblamed]
    if verdict.failing:
        parts.append("## Batches held back\n")
        held_back = [_failing_batch(b, filenames.get(b, "?"), reasons) for b, reasons in verdict.failing.items()]
        parts += first(held_back, SHOWN)
    if verdict.results:
        parts += ["## Expectations\n", _expectation_table(verdict.results)]
    else:
        parts.append("Nothing to judge: no new batch has come this far, and no row had to be recomputed.\n")
    return "\n".join(parts)


def gate_headline(verdict: Verdict) -> str:
    """The verdict in a few words."""
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
        f"What to do:\n\n{next_steps(batch_id)}"
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


DONE = {Decision.RELEASE: "released", Decision.DISCARD: "discarded", Decision.REPROCESS: "read again"}


def selection_rows(batches: Sequence[Batch]) -> list[dict[str, Any]]:
    """The batches that a decision concerns, as rows of a table."""
    return [
        {
            "batch": batch.batch_id,
            "file": escape(batch.filename),
            "attempt": batch.attempt,
            "status": str(batch.status),
            "rows": batch.row_count,
            "loaded at (UTC)": f"{batch.load_at:%Y-%m-%d %H:%M:%S}",
        }
        for batch in batches
    ]


def changes_markdown(summary: RunSummary) -> str:
    """The batches whose verdict or rows changed when they were judged again."""
    parts = [f"# {changes_headline(summary)}\n"]
    if summary.changes:
        rows = (
            (code(c.filename), code(c.batch_id), escape(c.before), escape(c.after), *_row_changes(c))
            for c in summary.changes[:CHANGES_SHOWN]
        )
        parts += [markdown_table(CHANGES_HEADER, rows), more_changes(summary)]
    return "\n".join(parts)


def more_changes(summary: RunSummary) -> str:
    """How many changes are not shown, and where they are; empty where all are shown."""
    more = len(summary.changes) - CHANGES_SHOWN
    return f"... and {more:,} more; all are in ops.revalidations" if more > 0 else ""


CHANGES_HEADER = ("File", "Batch", "Before", "Now", "Rows changed", "Invalid before", "Invalid now")


def changes_headline(summary: RunSummary) -> str:
    """What judging again came to, in one line."""
    verdicts = sum(c.before != c.after for c in summary.changes)
    rows = sum(c.rows_changed or 0 for c in summary.changes)
    judged = _count(summary.rejudged_batches, "batch", "batches")
    would = " would have" if summary.status is RunStatus.DRY_RUN else ""
    return f"{judged} judged again: {_count(verdicts, 'verdict')} and {_count(rows, 'row')}{would} changed"


def _row_changes(change: VerdictChange) -> tuple[str, str, str]:
    """Counts as text; a batch that was held back had no rows in the tables to compare with."""
    counts = (change.rows_changed, change.invalid_before, change.invalid_after)
    rows, before, after = ("not known" if n is None else f"{n:,}" for n in counts)
    return rows, before, after


def change_rows(summary: RunSummary) -> list[tuple[str, ...]]:
    """The same as plain rows, for the terminal."""
    return [(c.filename, c.before, c.after, *_row_changes(c)) for c in summary.changes[:CHANGES_SHOWN]]


def summary_markdown(summary: RunSummary) -> str:
    """One run: what was let in, what was held back and why, and the lines that add up."""
    parts = [f"# {headline(summary)}\n"]
    if summary.quarantined:
        parts += ["## Held back\n", *_list([_held_back(batch) for batch in summary.quarantined])]
    if summary.status is RunStatus.PASSED:
        parts += ["## Every line is accounted for\n", accounting_table(summary)]
    if summary.rejudged_batches:
        parts += [f"## {changes_headline(summary)}\n"]
    if summary.missing:
        parts += [
            "## Files that are gone from the landing directory\n",
            "Their rows stay.\n",
            *_list([code(name) for name in summary.missing]),
        ]
    if summary.empty:
        parts += ["## Empty files\n", *_list([code(name) for name in summary.empty])]
    if summary.refused or summary.unsettled or summary.ignored:
        parts += ["## Files that were not loaded\n", _not_loaded_table(summary)]
    if summary.warnings:
        parts += ["## Warnings\n", *_list([escape(warning) for warning in summary.warnings])]
    return "\n".join(parts)


def _list(items: Sequence[str]) -> list[str]:
    return [f"- {item}\n" for item in first(items, SHOWN)]


def headline(summary: RunSummary) -> str:
    """The run in one line."""
    if summary.status is RunStatus.NOTHING_NEW:
        return "Nothing new: no file to load, no batch waiting"
    if summary.status is RunStatus.DRY_RUN:
        chosen = f"{_count(len(summary.selected), 'batch', 'batches')} chosen, " if summary.selected else ""
        return f"Dry run: {chosen}nothing was changed"
    if summary.status is RunStatus.FAILED:
        return "The run failed; the last published state stays"
    published = _count(summary.published_batches, "batch", "batches")
    if summary.quarantined:
        return f"{published} published, {len(summary.quarantined)} held back"
    return f"{published} published, none {'newly ' if summary.run.held_back else ''}held back"


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


def _held_back(batch: HeldBack) -> str:
    return (
        f"{code(batch.filename)} ({batch.row_count:,} lines) by gate {batch.gate}: **{escape(batch.reason)}**. "
        f"{escape(batch.detail)} What to do: {code(f'podcast quarantine show {batch.batch_id}')}"
    )


def _not_loaded_table(summary: RunSummary) -> str:
    kinds = (
        [(code(name), escape(reason)) for name, reason in summary.refused],
        [(code(name), "still being written; the next run looks again") for name in summary.unsettled],
        [(code(name), "not an event file (.json, .ndjson, .jsonl, plain or .gz or .zst)") for name in summary.ignored],
    )
    rows = [row for kind in kinds for row in kind[:SHOWN]]
    more = sum(max(len(kind) - SHOWN, 0) for kind in kinds)
    return markdown_table(("File", "Why"), rows + ([(f"... and {more:,} more", "")] if more else []))


def evidence_markdown(batch: Batch, *, gate: str, reasons: tuple[str, ...]) -> str:
    """The report that lies beside the failing lines of a quarantined batch."""
    findings = "".join(f"- {escape(finding)}\n" for finding in reasons[1:])
    lines = "The failing lines, with line numbers and codes, are in `failing_lines.jsonl`.\n" if batch.row_count else ""
    return (
        f"# {code(batch.filename)}: {escape(reasons[0])}\n\n"
        f"Batch {code(batch.batch_id)}, attempt {batch.attempt}, {batch.row_count:,} lines, loaded at "
        f"{batch.load_at:%Y-%m-%d %H:%M:%S} UTC, held back by gate {gate}.\n\n"
        f"{findings}\n{lines}\nWhat to do:\n\n{next_steps(batch.batch_id)}"
    )


def _count(number: int, one: str, many: str | None = None) -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"
