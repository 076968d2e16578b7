"""The warehouse made anew from the landing files, as an exported ledger says it was.

Lines and ledger go into a file beside the warehouse, which gets its name when all is in: a rebuild that is
killed before can simply be started again, and one that is killed after is finished by the next run. The versions of the
reference data are not in the landing files: their history begins anew with the reference data of the day.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import MISSING, dataclass, field, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows import engines, files, landing, ledger, loading, storage, transitions
from flows.backup import HISTORY, TIME_FORMAT
from flows.domain import Batch, BatchStatus, ObjectFolder, StoredObject, fingerprint
from flows.errors import RebuildError, UnreadableFileError
from flows.warehouse import open_database, refuse_half_restored, utc_now

if TYPE_CHECKING:
    import duckdb

    from flows.settings import Settings


@dataclass
class Matched:
    """The attempts of a ledger: those whose content was found, without lines, over and gone, needed and gone."""

    found: list[tuple[Batch, Path | StoredObject]] = field(default_factory=list)
    without_lines: list[Batch] = field(default_factory=list)
    gone: list[Batch] = field(default_factory=list)
    needed: list[tuple[Batch, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Rebuilt:
    """What was put together: attempts, lines, and for each attempt whose lines are not there its file and why."""

    attempts: int
    lines: int
    not_there: tuple[tuple[str, str], ...]


def rebuild(settings: Settings, ledger_file: Path, *, originals: Path | None = None, partial: bool = False) -> Rebuilt:
    """Put lines and ledger together in a new warehouse, everything pending for the run that has to follow.

    `originals` is a folder with contents that are no longer under their name. Raises `RebuildError` when a
    warehouse is there, the ledger cannot be read, or (unless `partial`) content that is in force is not found.
    """
    with engines.writer_lock(settings, purpose="rebuild"):
        refuse_half_restored(settings)
        if settings.warehouse_path.exists():
            raise RebuildError(
                f"There is a warehouse already: {settings.warehouse_path}. Nothing was changed. If it is of a rebuild "
                "that ended early, finish that with: podcast run. Otherwise move it away first."
            )
        batches = read_ledger(ledger_file)
        names = {batch.filename: None for batch in batches if batch.row_count}
        matched = _match(batches, _landed(settings, list(names)), _by_hash(originals))
        if matched.needed and not partial:
            raise _content_missing(settings, matched)
        engines.forget_kept(settings)
        lines = _build(settings, matched, ledger_file.parent)
    return Rebuilt(
        attempts=len(matched.found) + len(matched.without_lines) + len(matched.gone),
        lines=lines,
        not_there=tuple(_reports(matched)),
    )


# The ledger


def read_ledger(path: Path) -> list[Batch]:
    """The attempts of an exported ledger, in the order in which they were loaded. Raises `RebuildError`."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")  # no other line end: file names hold them
    except (OSError, UnicodeDecodeError) as error:
        raise RebuildError(
            f"The ledger {path} cannot be read: {getattr(error, 'strerror', None) or error}. "
            "Name the ledger.jsonl of a backup."
        ) from None
    batches = [_batch(line, f"{path}, line {number}") for number, line in enumerate(lines, 1) if line.strip()]
    if not batches or len({b.batch_id for b in batches}) < len(batches):
        problem = "names a batch twice" if batches else "names no batch"
        raise RebuildError(f"The ledger {path} {problem}, so it is not one. Name the ledger.jsonl of a backup.")
    return sorted(batches, key=lambda b: (b.load_at, b.filename, b.attempt))


def _batch(line: str, where: str) -> Batch:
    """One attempt; a column that the export lacks is null where it may be, and one that it has more is left."""
    try:
        entry = json.loads(line)
        values = {f.name: _value(f.name, entry.get(f.name, _default(f))) for f in fields(Batch)}
    except (ValueError, TypeError, AttributeError) as error:
        raise _no_entry(where, str(error)) from None
    if lacking := [f.name for f in fields(Batch) if values[f.name] is None and "None" not in str(f.type)]:
        raise _no_entry(where, f"{', '.join(lacking)} missing")
    return Batch(**values)


def _no_entry(where: str, problem: str) -> RebuildError:
    return RebuildError(
        f"{where} is not an entry of a ledger: {problem}. Name the ledger.jsonl of a backup, as it was written."
    )


def _default(column: Any) -> Any:  # noqa: ANN401 - of the column's type
    return None if column.default is MISSING else column.default


def _value(name: str, value: Any) -> Any:  # noqa: ANN401 - of the column's type
    if value is None:
        return None
    if name == "status":
        return BatchStatus(value)
    if "datetime" in str(Batch.__dataclass_fields__[name].type):
        time = datetime.fromisoformat(value)
        return time.astimezone(UTC).replace(tzinfo=None) if time.tzinfo else time
    return value


# The files


def _match(
    batches: Sequence[Batch], landed: dict[str, tuple[str, Path | StoredObject]], originals: dict[str, Path]
) -> Matched:
    """Find for each attempt with lines a file that has its content."""
    matched = Matched()
    for batch in batches:
        if batch.row_count == 0:
            matched.without_lines.append(batch)
            continue
        content_hash, place = landed.get(batch.filename, ("", None))
        if place is not None and content_hash == batch.content_hash:
            matched.found.append((batch, place))
        elif batch.content_hash in originals:
            matched.found.append((batch, originals[batch.content_hash]))
        elif batch.status in ledger.IN_FORCE:
            matched.needed.append((batch, "has other content" if content_hash else "is not there"))
        else:
            matched.gone.append(batch)
    return matched


def _landed(settings: Settings, filenames: Sequence[str]) -> dict[str, tuple[str, Path | StoredObject]]:
    """Hash and place of those of the files that are in the landing directory. Raises `LandingError` of a bucket."""
    store = storage.of_landing(settings)
    if store is None:
        directory = Path(str(settings.landing_dir))
        return {name: (_hash_of_landed(directory, name), directory / name) for name in filenames}
    objects = {file.filename: file for file in landing.find_objects(store).files}
    wanted = [objects[name] for name in filenames if name in objects]
    hashes = landing.content_hashes(wanted, store)
    read = {name: value for name, value in hashes.items() if isinstance(value, str)}
    return {file.filename: (read.get(file.filename, ""), file.path) for file in wanted}


def _hash_of_landed(directory: Path, filename: str) -> str:
    """The hash of a file below the landing directory, empty where there is none."""
    path = directory / filename
    try:
        return files.sha256(path) if path.resolve().is_relative_to(directory.resolve()) else ""
    except (OSError, ValueError):
        return ""


def _by_hash(folder: Path | None) -> dict[str, Path]:
    """The files of a folder by their content."""
    if folder is None:
        return {}
    if not folder.is_dir():
        raise RebuildError(f"--originals {folder}: there is no such folder.")
    return {files.sha256(path): path for path in files.files_below(folder)}


def _content_missing(settings: Settings, matched: Matched) -> RebuildError:
    listed = "\n".join(
        f"{batch.filename} {problem}; attempt {batch.attempt} ({batch.status}, {batch.row_count:,} lines) "
        f"has sha256 {batch.content_hash}"
        for batch, problem in matched.needed
    )
    return RebuildError(
        f"{len(matched.needed):,} attempts whose lines belong into the warehouse have no file in "
        f"{settings.landing_dir} as it was loaded. Nothing was changed. Put each back under its name (or, where the "
        "name has another content by now, in a folder for --originals); --partial goes on without them.\n" + listed
    )


def _reports(matched: Matched) -> Iterator[tuple[str, str]]:
    """What to say of attempts whose lines are not there: file, and the rest of the sentence."""
    for batch in matched.gone:
        yield (
            batch.filename,
            f"(attempt {batch.attempt}, {batch.status}): its {batch.row_count:,} lines are no longer there",
        )
    for batch, problem in matched.needed:
        yield (
            batch.filename,
            f"{problem}: attempt {batch.attempt} ({batch.status}) is left out with its {batch.row_count:,} lines",
        )


# The database


def _build(settings: Settings, matched: Matched, folder: Path) -> int:
    """The new database, whole, under the name of the warehouse; the number of its lines."""
    beside = settings.warehouse_path.with_name(f"{settings.warehouse_path.name}.rebuild")
    for left in (beside, beside.with_name(f"{beside.name}.wal")):
        left.unlink(missing_ok=True)
    with open_database(settings, beside) as connection:
        lines = _load(connection, matched, storage.of_landing(settings))
        ledger.enter(connection, [*_entries(matched, settings.landing_dir)])
        transitions.record_known(connection)
        for table in HISTORY:
            _load_history(connection, table, folder / f"{table}.jsonl")
        connection.execute("checkpoint")
    files.sync(beside)
    files.rename(beside, settings.warehouse_path)
    return lines


def _load(connection: duckdb.DuckDBPyConnection, matched: Matched, store: storage.Store | None) -> int:
    """The lines of all attempts that were found; each must have as many as the ledger says."""
    try:
        counts = loading.load_known(connection, matched.found, store=store)
    except (OSError, UnreadableFileError) as error:
        raise RebuildError(f"A landing file could not be read again: {error}. Nothing was changed.") from None
    wrong = [
        f"{batch.filename}: {counts.get(batch.batch_id, 0):,} lines instead of {batch.row_count:,}"
        for batch, _ in matched.found
        if counts.get(batch.batch_id, 0) != batch.row_count
    ]
    if wrong:
        raise RebuildError(
            "Files with the content that was loaded have another number of lines than the ledger says. Nothing was "
            "changed; use the version of podcast that made the backup, or take another export.\n" + "\n".join(wrong)
        )
    return sum(counts.values())


def _entries(matched: Matched, landing_dir: Path | ObjectFolder) -> Iterator[Batch]:
    """The ledger's rows as exported; those with something to compute or to show are pending."""
    for batch, place in matched.found:
        mark = batch.fingerprint
        if isinstance(place, StoredObject):
            mark = place.fingerprint
        elif isinstance(landing_dir, Path) and place.is_relative_to(landing_dir):
            mark = fingerprint(place.stat())
        yield _changed(batch, pending=True, fingerprint=mark, raw_pruned_at=None)
    for batch in matched.without_lines:
        yield _changed(batch, pending=batch.status is not BatchStatus.EMPTY)
    for batch in matched.gone:
        yield _changed(batch, pending=False, raw_pruned_at=getattr(batch, "raw_pruned_at", None) or utc_now())


def _changed(batch: Batch, **values: Any) -> Batch:  # noqa: ANN401 - of the columns' types
    """The batch with other values in those of the columns that the ledger has."""
    return replace(batch, **{name: value for name, value in values.items() if name in ledger.COLUMNS})


def _load_history(connection: duckdb.DuckDBPyConnection, table: str, path: Path) -> None:
    """The exported rows of a table of `ops`, in the columns that the table has."""
    columns = dict(
        connection.execute(
            "select column_name, data_type from duckdb_columns() where schema_name = 'ops' and table_name = ?", [table]
        ).fetchall()
    )
    if not columns or not path.exists():
        return
    described = ", ".join(f"'{name}': '{type_}'" for name, type_ in columns.items())
    escaped = "".join(f"[{c}]" if c in "*?[" else c for c in str(path))
    try:
        connection.execute(
            f"""
            insert into ops.{table} by name
            from read_json(
                ?, format = 'newline_delimited', columns = {{{described}}}, timestampformat = '{TIME_FORMAT}'
            )
            """,
            [escaped],
        )
    except Exception as error:
        raise RebuildError(
            f"{path} cannot be read: {str(error).splitlines()[0]}. Take it away or put it right."
        ) from error
