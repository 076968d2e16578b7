"""A backup put back in place: checked first, copied beside, and only then exchanged for what is there."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from flows import engines, files, manifest
from flows.backup import reference_sources
from flows.errors import BackupError
from flows.manifest import DATABASE, EVIDENCE, PUBLISHED, REFERENCE, Manifest
from flows.warehouse import restore_mark

if TYPE_CHECKING:
    from flows.settings import Settings

DATABASES = (DATABASE, PUBLISHED)
IN_WAREHOUSE = (f"{DATABASE}.wal", DATABASE, PUBLISHED)
"""What belongs to a warehouse, in the order in which it leaves."""


@dataclass(frozen=True)
class Restored:
    """A backup that is in place; `aside` is where the former warehouse is, `other_reference` what differs there."""

    manifest: Manifest
    aside: Path | None
    other_reference: tuple[str, ...]


def restore(settings: Settings, backup: Path, *, force: bool = False) -> Restored:
    """Put the databases and the evidence of a backup in place of what is there, which is moved aside.

    Raises `BackupError` when the backup is not whole, or when a warehouse is there and `force` is not given.
    """
    backup = backup.absolute()
    with engines.writer_lock(settings, purpose=f"restore of {backup}"):
        _refuse_to_overwrite(settings, force=force)
        taken = manifest.read(backup)
        manifest.check(backup, taken)
        staged = _copy(settings, backup, taken)
        engines.forget_kept(settings)
        aside = _exchange(settings, backup, staged)
    return Restored(taken, aside, _other_reference(settings, taken))


def _refuse_to_overwrite(settings: Settings, *, force: bool) -> None:
    there = [path for path in _present(settings) if path.parent == settings.warehouse_path.parent]
    if there and not force:
        raise BackupError(
            f"There is a warehouse already: {', '.join(map(str, there))}. Nothing was changed. "
            "With --force it is moved aside, not deleted."
        )


def _present(settings: Settings) -> list[Path]:
    """What would be replaced."""
    paths = [settings.warehouse_path.with_name(name) for name in IN_WAREHOUSE]
    evidence = settings.quarantine_dir
    return [path for path in (*paths, evidence) if isinstance(path, Path) and path.exists()]


def _copy(settings: Settings, backup: Path, taken: Manifest) -> Path:
    """Copies of the databases and the evidence beside their place, checked like the backup.

    Evidence that is kept in a bucket is left as it is there.
    """
    staged = settings.home / ".restore-partial"
    shutil.rmtree(staged, ignore_errors=True)
    on_disk = isinstance(settings.quarantine_dir, Path)
    prefixes = (f"{EVIDENCE}/",) if on_disk else ()
    wanted = {name: e for name, e in taken.files.items() if name in DATABASES or name.startswith(prefixes)}
    for name in wanted:
        files.copy(backup / name, staged / name)
    if on_disk:
        (staged / EVIDENCE).mkdir(exist_ok=True)
    files.sync_folders(staged)
    manifest.check(staged, Manifest(taken.created_at, taken.versions, taken.newest_load_at, taken.tables, wanted))
    return staged


def _exchange(settings: Settings, backup: Path, staged: Path) -> Path | None:
    """Move what is there aside, and the copies into place; a mark says so until the last is there.

    While the mark is there, no writer opens the warehouse: half of the files would be another state.
    """
    mark = restore_mark(settings)
    fresh = settings.home / f"before-restore-{datetime.now(UTC):%Y-%m-%dT%H-%M-%S.%fZ}"
    aside = Path(json.loads(mark.read_text(encoding="utf-8"))["aside"]) if mark.exists() else fresh
    files.write(mark, json.dumps({"backup": str(backup), "aside": str(aside)}) + "\n")
    for path in _present(settings):
        # What has a namesake aside was put here by the restore that ended in its middle.
        _move(path, (fresh if (aside / path.name).exists() else aside) / path.name)
    if isinstance(settings.quarantine_dir, Path):
        settings.quarantine_dir.parent.mkdir(parents=True, exist_ok=True)
        files.move(staged / EVIDENCE, settings.quarantine_dir)
    for name in (PUBLISHED, DATABASE):
        if (staged / name).exists():
            files.rename(staged / name, settings.warehouse_path.with_name(name))
    files.remove(mark)
    shutil.rmtree(staged)
    return aside if aside.exists() else None


def _move(path: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    files.sync(target.parent.parent)
    files.move(path, target)
    files.sync(path.parent)


def _other_reference(settings: Settings, taken: Manifest) -> tuple[str, ...]:
    """Reference data that is not what it was, or not there as then; the next run takes it as it is now."""
    then = {name: entry.sha256 for name, entry in taken.files.items() if name.startswith(f"{REFERENCE}/")}
    now = {name: files.sha256(path) for name, path in reference_sources(settings).items()} if then else {}
    differing = [name for name in sorted(then | now) if then.get(name) != now.get(name)]
    return tuple(name.removeprefix(f"{REFERENCE}/") for name in differing)
