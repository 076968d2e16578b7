"""A backup: the two databases, the evidence, the reference data and the ledger, copied at rest and checked."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from flows import files, joining, ledger, manifest, reference_files
from flows.copying import Order, copy_in_process
from flows.errors import BackupError
from flows.manifest import DATABASE, EVIDENCE, LEDGER, PUBLISHED, REFERENCE, Manifest
from flows.warehouse import connect

if TYPE_CHECKING:
    import duckdb

    from flows.settings import Settings

HISTORY = ("runs", "run_steps", "validation_results", "revalidations")
"""Tables of `ops` that only grow, exported beside the ledger where they are there."""
TIME_FORMAT = "%Y-%m-%dT%H:%M:%S.%fZ"


@dataclass(frozen=True)
class Backup:
    """A backup that is whole: where it is, and what its manifest says."""

    path: Path
    manifest: Manifest


def back_up(settings: Settings, *, out: Path | None = None) -> Backup:
    """Copy everything that cannot be made again, check the copy, and give it its name at the very end.

    Raises `BackupError` when there is nothing to back up, the target is not free, or the copy is not right.
    """
    if not settings.warehouse_path.exists():
        raise BackupError(f"There is nothing to back up: no warehouse under {settings.home}. Start with: podcast run")
    now = datetime.now(UTC)
    target = _target(settings, out, now)
    with joining.writer(settings, purpose="backup"):
        partial = _empty_folder(settings, target)
        try:
            taken = copy_in_process(_order(settings, partial, now))
            files.rename(partial, target)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
    return Backup(target, taken)


def prune(settings: Settings, *, keep: int) -> list[Path]:
    """Delete all but the newest `keep` backups of the default folder; returns what was deleted."""
    if keep < 1:
        raise BackupError(f"keep={keep}: at least 1 backup is kept, or all of them with none given.")
    found = [path.parent for path in backups_dir(settings).glob(f"*/{manifest.NAME}")]
    outdated = sorted(found, key=lambda path: path.name)[:-keep]
    for path in outdated:
        # First its name: half of a backup must not look whole.
        partial = _partial(path)
        files.rename(path, partial)
        shutil.rmtree(partial)
    return outdated


def backups_dir(settings: Settings) -> Path:
    """Where backups go unless another place is named."""
    return settings.home / "backups"


def reference_sources(settings: Settings) -> dict[str, Path]:
    """The reference data, whichever form it has, by its names in a backup."""
    found = reference_files.find(settings.seeds)
    return {f"{REFERENCE}/{label}": path for source in found for label, path in source.labels().items()}


def _target(settings: Settings, out: Path | None, now: datetime) -> Path:
    """The folder that the backup becomes; it must be free, and nothing may land there."""
    target = (out or backups_dir(settings) / f"{now:%Y-%m-%dT%H-%M-%S}.{now.microsecond // 1000:03}Z").absolute()
    landing = settings.landing_dir
    if isinstance(landing, Path) and target.resolve().is_relative_to(landing.resolve()):
        raise BackupError(f"{target} lies in the landing directory, where the backup would be read as events.")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise BackupError(f"{target} exists already and is not empty. Name another folder with --out.")
    return target


def _empty_folder(settings: Settings, target: Path) -> Path:
    """The folder to fill, beside the target; what crashes left behind goes."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = _partial(target)
    for folder in (partial, *backups_dir(settings).glob(_partial(Path("*")).name)):
        shutil.rmtree(folder, ignore_errors=True)
    partial.mkdir()
    return partial


def _partial(target: Path) -> Path:
    """The name of a backup that is not whole yet, or no longer."""
    return target.with_name(f".{target.name}.backup-partial")


def _order(settings: Settings, folder: Path, now: datetime) -> Order:
    """Bring the database to rest, export the ledger, and say what is to be copied."""
    with connect(settings) as connection:
        connection.execute("checkpoint")
        tables = {DATABASE: manifest.count_rows_of(connection, settings.warehouse_path.stem)}
        newest = _export(connection, folder, set(tables[DATABASE]))
    log = settings.warehouse_path.with_name(f"{DATABASE}.wal")
    if log.exists():
        raise BackupError(
            f"{log} is still there, so that a copy would be stale. Run `podcast run`, then back up again."
        )
    sources = {DATABASE: settings.warehouse_path, **reference_sources(settings)}
    if settings.published_path.exists():
        sources[PUBLISHED] = settings.published_path
        tables[PUBLISHED] = manifest.count_rows(settings.published_path)
    evidence = settings.quarantine_dir
    if isinstance(evidence, Path):  # what lies in a bucket stays there
        for path in files.files_below(evidence):
            sources[f"{EVIDENCE}/{path.relative_to(evidence).as_posix()}"] = path
    return Order(
        folder=str(folder),
        sources={name: str(path) for name, path in sources.items()},
        created_at=now.isoformat(timespec="seconds"),
        versions={"podcast-pipeline": _version("podcast-pipeline"), "duckdb": _version("duckdb")},
        newest_load_at=newest,
        tables=tables,
    )


def _export(connection: duckdb.DuckDBPyConnection, folder: Path, tables: set[str]) -> str | None:
    """The ledger and the history as JSON lines; the newest time of loading."""
    columns = ", ".join(ledger.COLUMNS)
    _write(connection, f"select {columns} from ops.batches order by load_at, filename, attempt", folder / LEDGER)
    for table in HISTORY:
        if f"ops.{table}" in tables:
            _write(connection, f"select * from ops.{table}", folder / f"{table}.jsonl")
    row = connection.execute(f"select strftime(max(load_at), '{TIME_FORMAT}') from ops.batches").fetchone()
    return row[0] if row else None


def _write(connection: duckdb.DuckDBPyConnection, query: str, target: Path) -> None:
    quoted = str(target).replace("'", "''")
    connection.execute(f"copy ({query}) to '{quoted}' (format json, timestampformat '{TIME_FORMAT}')")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "unknown"
