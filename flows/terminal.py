"""What the terminal shows: steps as they end, tables, and text from the data made harmless."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from flows import progress, reports
from flows.domain import RunStatus
from flows.masking import visible

if TYPE_CHECKING:
    from pathlib import Path

    from flows.domain import Batch, RunSummary, Selected
    from flows.evidence import FailingLines
    from flows.manifest import Manifest
    from flows.migrate import Migration
    from flows.questions import Answer
    from flows.restore import Restored
    from flows.settings import Settings

FOLDED = ("file", "found", "shown", "message", "codes")
"""Columns that give way where the terminal is narrow."""

SHOWN = 5
"""Names of a list that are shown."""

WIDEST = 10_000
"""Characters of a line that is not cut to the terminal's width."""

console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)


def plain(value: object) -> Text:
    """Text as it is: control characters shown as escapes, nothing in it read as markup."""
    return Text(visible(str(value)))


def table(title: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> Table:
    """A table of plain text; numbers to the right."""
    built = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for index, name in enumerate(header):
        is_number = all(isinstance(row[index], int | float | None) for row in rows) and bool(rows)
        built.add_column(name, justify="right" if is_number else "left", overflow="fold", no_wrap=name not in FOLDED)
    for row in rows:
        built.add_row(*(plain(_cell(value)) for value in row))
    return built


def _cell(value: object) -> object:
    """A value as a table has it: nothing for null, four digits of a fraction."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return f"{value:,.4f}" if isinstance(value, float) else f"{value:,}"
    return value


@contextmanager
def showing_steps(first: str = "starting Prefect") -> Iterator[None]:
    """Show each step when it ends, with what it found and how long it took."""
    last = time.monotonic()
    with console.status(first) as status:

        def show(step: str, message: str) -> None:
            nonlocal last
            now = time.monotonic()
            console.print(Text(f"  {step:<16}"), plain(f"{message:<44}"), Text(f"{now - last:6.1f} s", style="dim"))
            last = now
            status.update(f"after {step}")

        with progress.listening(show):
            yield


def show_summary(settings: Settings, summary: RunSummary) -> None:
    """The run's result, its accounting, what was held back, and where to look next."""
    console.print()
    style = "bold yellow" if summary.quarantined else "bold green"
    console.print(Text(reports.headline(summary), style=style))
    if summary.selected and summary.status is RunStatus.DRY_RUN:
        show_selected(summary.selected)
    if summary.rejudged_batches:
        show_changes(summary)
    if summary.status is RunStatus.PASSED:
        console.print()
        console.print(_accounting(summary))
        _show_held_back(summary)
    show_not_loaded(summary)
    for warning in summary.warnings:
        console.print(Text("warning: ", style="yellow"), plain(warning))
    if summary.status is RunStatus.PASSED:
        console.print()
        show_where_to_look(settings)


def show_selected(batches: Sequence[Selected]) -> None:
    """The batches that a decision concerns."""
    rows = [(b.batch_id, b.filename, b.attempt, b.status, b.row_count) for b in batches]
    console.print(table("", ("batch", "file", "attempt", "status", "lines"), rows))


def show_changes(summary: RunSummary) -> None:
    """What judging again has changed."""
    console.print()
    console.print(Text(reports.changes_headline(summary), style="bold"))
    if summary.changes:
        header = ("file", "before", "now", "rows changed", "invalid before", "invalid now")
        console.print(table("", header, reports.change_rows(summary)))
    if more := reports.more_changes(summary):
        console.print(Text(more))


def show_where_to_look(settings: Settings) -> None:
    """Where the results are."""
    console.print(
        Text("Tables   "),
        plain(settings.published_path),
        Text("(open it read-only, at any time)", style="dim"),
    )
    console.print(Text("Report   "), plain(settings.site_link + "/index.html"))
    console.print(Text("Status   "), Text("podcast status"), Text("(also: make ui)", style="dim"))


def show_not_loaded(summary: RunSummary) -> None:
    """Files that are left for another run or for a person."""
    for name, reason in summary.refused:
        console.print(Text("not loaded: ", style="yellow"), plain(f"{name} {reason}"))
    if summary.missing:
        console.print(Text("gone from the landing directory: ", style="yellow"), plain(_some(summary.missing)))
        console.print(Text("  their rows stay; podcast quarantine discard takes them out", style="dim"))
    for name in summary.unsettled:
        console.print(
            Text("not loaded: ", style="yellow"),
            plain(f"{name} is still being written; the next run looks again"),
        )
    if summary.ignored:
        console.print(Text("ignored: ", style="dim"), plain(f"not event files: {_some(summary.ignored)}"))


def _some(names: Sequence[str]) -> str:
    """How many, and the first few."""
    shown = ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
    return f"{len(names):,} {'file' if len(names) == 1 else 'files'}: {shown}"


def show_backup(path: Path, taken: Manifest) -> None:
    """Where a backup is, its size, and what was checked."""
    tables = sum(len(counts) for counts in taken.tables.values())
    console.print(Text("Backup   "), plain(path))
    console.print(Text("Size     "), plain(f"{taken.size_bytes:,} bytes in {len(taken.files):,} files"))
    console.print(
        Text("Checked  "),
        plain(f"every file by its hash, and {taken.rows:,} rows in {tables} tables against the warehouse"),
    )
    console.print(Text("Newest   "), plain(f"loaded at {taken.newest_load_at or 'no time'}"))
    console.print(Text("Restore  "), plain(f"podcast restore {shlex.quote(str(path))}"))


def show_restored(settings: Settings, restored: Restored) -> None:
    """What is in place now, and what to look at."""
    taken = restored.manifest
    console.print(Text("Restored "), plain(f"{settings.warehouse_path.parent}, as it was at {taken.created_at}"))
    console.print(Text("Checked  "), plain(f"every file by its hash, and {taken.rows:,} rows"))
    if restored.aside:
        console.print(Text("Before   "), plain(f"what was there lies under {restored.aside}"))
    for name in restored.other_reference:
        console.print(
            Text("warning: ", style="yellow"),
            plain(f"{settings.seeds / name} is not what it was then; the next run takes it as it is now"),
        )
    console.print(Text("Go on    "), plain("podcast run"))


def show_migration(settings: Settings, moved: Migration) -> None:
    """Which tables are equal on both engines, and how the next run is started."""
    if not moved.tables:
        console.print(f"The tables are those of {moved.engine} already; nothing was copied.")
    else:
        rows = [(table.relation, table.rows, table.columns, table.checksum) for table in moved.tables]
        console.print()
        show_table(("equal on both", "rows", "columns", "checksum"), rows)
    if settings.engine != moved.engine:
        console.print(Text("Go on    "), plain(f"PODCAST_ENGINE={moved.engine} podcast run"))


def _accounting(summary: RunSummary) -> Table:
    rows = [
        (label, run, warehouse)
        for (label, run), (_, warehouse) in zip(
            reports.accounting_rows(summary.run), reports.accounting_rows(summary.warehouse), strict=True
        )
    ]
    return table("Every line is accounted for", ("", "this run", "warehouse"), rows)


def _show_held_back(summary: RunSummary) -> None:
    if not summary.quarantined:
        return
    console.print(Text("\nHeld back", style="bold"))
    for batch in summary.quarantined:
        console.print(plain(f"{batch.filename} ({batch.row_count:,} lines) by gate {batch.gate}: {batch.reason}"))
        console.print(plain(f"  {batch.detail}"))
        console.print(plain(f"  podcast quarantine show {batch.batch_id}"))


def show_failing_lines(lines: FailingLines) -> None:
    """The first failing lines of a batch, as they may be shown."""
    rows = [(line.line_number, ", ".join(line.codes), line.shown) for line in lines.first]
    console.print()
    console.print(table("Failing lines", ("line", "codes", "shown"), rows))
    if lines.are_masked:
        console.print(
            Text("User ids are masked, unrecognised values shown by shape; PODCAST_SHOW_USER_IDS=true shows both")
        )
    if lines.has_more:
        console.print(plain("... and more, in the evidence"))


def show_answer(answer: Answer) -> None:
    """The rows of an answer, as wide as they are: nothing is cut where the terminal is narrow."""
    console.print(Text(answer.question.text, style="bold"))
    if answer.window:
        console.print(Text(f"Window: {answer.window}", style="dim"))
    if answer.rows:
        header = list(answer.rows[0])
        rows = [tuple(row.values()) for row in answer.rows]
        show_table(header, rows)
    else:
        console.print("There is no row.")
    if answer.left_out:
        shown = len(answer.rows)
        console.print(f"The first {shown:,} of {shown + answer.left_out:,} rows; for more: --limit")
    if answer.is_masked:
        console.print("User ids are masked; PODCAST_SHOW_USER_IDS=true shows them")


def show_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A table as wide as its rows are: nothing is cut where the terminal is narrow."""
    Console(highlight=False, width=WIDEST).print(table("", header, rows))


def show_batches(title: str, batches: Sequence[Batch]) -> None:
    """Batches with their state and reason."""
    header = ("batch", "file", "status", "reason", "lines", "loaded at (UTC)")
    rows = [
        (b.batch_id, b.filename, b.status, b.reason or "", b.row_count, f"{b.load_at:%Y-%m-%d %H:%M}") for b in batches
    ]
    console.print(table(title, header, rows))
