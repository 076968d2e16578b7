"""The flows that keep a warehouse in order, beside the pipeline: backup, rebuild, and what may be forgotten."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from prefect import flow, task
from prefect.runtime import flow_run
from pydantic import Field

from flows import backup, joining, progress, quarantine, rebuild, retention
from flows.artifacts import end_flow
from flows.domain import ObjectFolder, Plan, RunSummary
from flows.pipeline import process
from flows.run import logged_run, open_run
from flows.settings import Settings, load_settings
from flows.tasks import IDEMPOTENT, ONCE
from flows.warehouse import connect


@flow(name="podcast-backup", description="A checked copy of everything that the landing files cannot give back.")
def podcast_backup(*, out: str | None = None, keep: Annotated[int, Field(ge=1)] | None = 7) -> str:
    """Make a backup; returns the folder that it is in.

    Args:
        out: Folder to make; by default one named by the time (UTC) under `<home>/backups`.
        keep: How many of the newest backups under `<home>/backups` are kept, for a backup that goes there; none: all.

    """
    settings = load_settings()
    with logged_run(settings):
        made = make_backup(settings, Path(out).expanduser() if out else None)
        if keep is not None and out is None:
            prune_backups(settings, keep)
        return made


@flow(name="podcast-rebuild", description="The warehouse made anew from the landing files and an exported ledger.")
def podcast_rebuild(*, ledger_file: str, originals: str | None = None, partial: bool = False) -> RunSummary:
    """Load what the ledger names under its ids and times, and publish it; the ledger's verdicts stay.

    Args:
        ledger_file: The `ledger.jsonl` of a backup.
        originals: Folder with contents that are no longer in the landing directory under their name.
        partial: Leave out what is not there instead of refusing.

    """
    rebuilt = put_together(load_settings(), Path(ledger_file), Path(originals) if originals else None, partial=partial)
    with open_run(full_refresh=True) as run:
        summary = process(run, Plan(refused=rebuilt.not_there))
        write_evidence(run.settings)
        return end_flow(summary)


@flow(name="podcast-prune", description="Raw lines, evidence and results that are older than their settings, deleted.")
def prune_warehouse(*, dry_run: bool = False) -> retention.Pruned:
    """Delete what may be forgotten; no published row loses the line it came from.

    Args:
        dry_run: Report what would be deleted, and change nothing.

    """
    settings = load_settings()
    lock = joining.writer(settings, purpose=f"flow run {flow_run.name}")
    with logged_run(settings):
        with lock, connect(settings) as connection:
            pruned = retention.prune(settings, connection, dry_run=dry_run)
            if not dry_run:
                joining.keep(settings, connection)
        progress.report("prune", f"{pruned}", dry_run=dry_run, **asdict(pruned))
        return pruned


@flow(name="podcast-checkpoint", description="The write-ahead log brought into the working database.")
def checkpoint_warehouse() -> retention.Checkpointed:
    """Make the working database one file without a write-ahead log, and say how much in it is free to be used again."""
    settings = load_settings()
    lock = joining.writer(settings, purpose=f"flow run {flow_run.name}")
    with logged_run(settings), lock, connect(settings) as connection:
        checkpointed = retention.checkpoint(settings, connection)
    progress.report("checkpoint", f"{checkpointed}")
    return checkpointed


@task(name="make backup", **ONCE)
def make_backup(settings: Settings, out: Path | None) -> str:
    """Copy and check."""
    made = backup.back_up(settings, out=out)
    progress.report("backup", f"{made.path}, {made.manifest.size_bytes:,} bytes, {made.manifest.rows:,} rows checked")
    if isinstance(settings.quarantine_dir, ObjectFolder):
        progress.report("backup", f"the evidence stays in {settings.quarantine_dir}, and is not part of the backup")
    return str(made.path)


@task(name="prune backups", **IDEMPOTENT)
def prune_backups(settings: Settings, keep: int) -> None:
    """Delete the oldest."""
    for path in backup.prune(settings, keep=keep):
        progress.report("backup", f"deleted {path}")


@task(name="put warehouse together", **ONCE)
def put_together(settings: Settings, ledger_file: Path, originals: Path | None, *, partial: bool) -> rebuild.Rebuilt:
    """Lines and ledger into a new warehouse."""
    rebuilt = rebuild.rebuild(settings, ledger_file, originals=originals, partial=partial)
    progress.report("rebuild", f"{rebuilt.attempts:,} attempts, {rebuilt.lines:,} lines")
    return rebuilt


@task(name="write missing evidence", **IDEMPOTENT)
def write_evidence(settings: Settings) -> None:
    """The evidence of the batches that are held back."""
    with connect(settings) as connection:
        quarantine.write_missing_evidence(settings, connection)
