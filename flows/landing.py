"""What is in the landing directory: find files, check them, and tell which of them are to be loaded."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from flows import ledger, storage
from flows.domain import Arrival, Batch, BatchStatus, LandedFile, Landing, ObjectFolder, Plan, StoredObject, fingerprint
from flows.errors import LandingError
from flows.files import sha256

if TYPE_CHECKING:
    import duckdb

    from flows.settings import Settings
    from flows.storage import Store

EVENT_SUFFIXES = (".json", ".ndjson", ".jsonl")
COMPRESSED_SUFFIXES = (".gz", ".zst")


@dataclass
class _Findings:
    files: list[LandedFile] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    young: list[LandedFile] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)


def discover(settings: Settings, connection: duckdb.DuckDBPyConnection) -> Plan:
    """Compare the landing directory with the ledger; only files that are new or were touched are read.

    Raises `LandingError` where the directory cannot be read.
    """
    known = ledger.fingerprints(connection)
    landing = look(settings, known)
    changed = [f for f in landing.files if known.get(f.filename) != f.fingerprint]
    attempts = ledger.attempts(connection, [f.filename for f in changed if f.filename in known])
    hashes = content_hashes([f for f in changed if f.filename in attempts], storage.of_landing(settings))
    unread = {name: f"cannot be read: {_why(value)}" for name, value in hashes.items() if isinstance(value, OSError)}
    arrivals, touched = find_arrivals([f for f in changed if f.filename not in unread], attempts, hashes)
    ledger.touch(connection, touched)
    return Plan(
        arrivals=arrivals,
        missing=_note_missing(connection, known, landing),
        pending_batches=len(ledger.pending(connection)),
        unsettled=landing.unsettled,
        ignored=landing.ignored,
        refused=(*landing.refused, *unread.items()),
    )


def _why(error: OSError) -> str:
    return error.strerror or f"{error}"


def _note_missing(connection: duckdb.DuckDBPyConnection, known: Mapping[str, str], landing: Landing) -> tuple[str, ...]:
    """The files with rows that are gone since the last look, noted in the ledger; their rows stay."""
    seen = {f.filename for f in landing.files}.union(landing.unchanged, landing.unsettled)
    seen |= {name for name, _ in landing.refused}
    unseen_folders = tuple(f"{name}/" for name, _ in landing.refused)
    gone = {name for name in known.keys() - seen if not name.startswith(unseen_folders)}
    before = ledger.missing(connection)
    ledger.mark_missing(connection, gone - before, before - gone)
    return tuple(sorted(ledger.with_rows(connection, gone - before)))


def look(settings: Settings, known: Mapping[str, str]) -> Landing:
    """What lies in the landing directory, on a disk or in a bucket. Raises `LandingError`."""
    store = storage.of_landing(settings)
    if store is not None:
        return find_objects(store)
    return find_files(Path(str(settings.landing_dir)), known=known, settle_seconds=settings.settle_seconds)


def find_files(directory: Path, *, known: Mapping[str, str], settle_seconds: float) -> Landing:
    """Look at every file below `directory`; `known` maps file names to the fingerprints already loaded.

    A new or changed file that was written less than `settle_seconds` ago is looked at a second time,
    that much later, and left alone if it changed meanwhile. Raises `LandingError` where the directory
    cannot be read.
    """
    root = _root(directory)
    found = _Findings()
    newest_settled = time.time_ns() - int(settle_seconds * 1e9)
    for entry in _walk(root, found):
        _look_at(entry, root, found, known=known, newest_settled=newest_settled)
    unsettled = _look_again(found, settle_seconds)
    return Landing(
        files=tuple(sorted(found.files, key=lambda f: f.filename)),
        unchanged=tuple(found.unchanged),
        unsettled=tuple(sorted(unsettled)),
        ignored=tuple(sorted(found.ignored)),
        refused=tuple(sorted(found.refused)),
    )


def find_objects(store: Store) -> Landing:
    """Look at every object of the landing folder; objects appear whole, so that none has to settle.

    Raises `LandingError` where they cannot be listed.
    """
    found = _Findings()
    for stored in store.objects():
        name = stored.key.removeprefix(store.folder.prefix)
        if (not name or name.endswith("/")) and not stored.size_bytes:
            continue  # stands for a folder, as some programs put it
        if not is_event_file(name):
            found.ignored.append(name)
        elif reason := _object_refusal(name, stored):
            found.refused.append((name, reason))
        else:
            found.files.append(landed_object(name, stored))
    return Landing(
        files=tuple(sorted(found.files, key=lambda f: f.filename)),
        ignored=tuple(sorted(found.ignored)),
        refused=tuple(sorted(found.refused)),
    )


def landed_object(filename: str, stored: StoredObject) -> LandedFile:
    """An object as a file of the landing directory."""
    return LandedFile(filename, stored, stored.size_bytes, stored.fingerprint)


def _object_refusal(name: str, stored: StoredObject) -> str | None:
    """Why an object is not even looked into: its name must be one that a file could have, and no other's."""
    if not {"", ".", ".."}.isdisjoint(name.split("/")) or "\0" in name:
        return "has a name that is no path: an empty part, . or .. between its slashes; rename it"
    return None if stored.etag else "has no etag, by which a change of it would be seen"


def find_arrivals(
    files: Sequence[LandedFile], attempts: Mapping[str, Sequence[Batch]], hashes: Mapping[str, str | OSError]
) -> tuple[tuple[Arrival, ...], tuple[tuple[str, str], ...]]:
    """The files to load as new attempts, and (batch id, fingerprint) of those that were touched but not changed.

    `files` are new or touched; `attempts` has the ledger's attempts at each file name, in order, and `hashes` the
    content of each file that has some.
    """
    arrivals, touched = [], []
    for file in files:
        past = attempts.get(file.filename, ())
        if past and hashes[file.filename] in _current_hashes(past):
            touched.append((past[-1].batch_id, file.fingerprint))
        else:
            arrivals.append(arrival(file, past))
    return tuple(arrivals), tuple(touched)


def arrival(file: LandedFile, past: Sequence[Batch]) -> Arrival:
    """The next attempt at a file, given the attempts before it."""
    return Arrival(file, attempt=past[-1].attempt + 1 if past else 1, mutates=_published(past))


def content_hashes(landed: Sequence[LandedFile], store: Store | None) -> dict[str, str | OSError]:
    """SHA-256 of each file's bytes by its name; of a file that is gone it is empty.

    An object that is not given now, perhaps in a moment, has the error instead: it must not be taken for a changed one.
    Raises `LandingError` where the server gives none.
    """
    objects = [file.path for file in landed if isinstance(file.path, StoredObject)]
    if store is not None and objects:
        return dict(zip([file.filename for file in landed], store.hashes(objects), strict=True))
    return {file.filename: content_hash(file.path) for file in landed if isinstance(file.path, Path)}


def content_hash(path: Path) -> str:
    """SHA-256 of the file's bytes as they lie there, compressed or not, in hexadecimal; empty if it is gone."""
    try:
        return sha256(path)
    except OSError:
        return ""


def landed_again(
    place: Path | ObjectFolder, attempts: Sequence[Sequence[Batch]], *, store: Store | None = None
) -> tuple[Arrival, ...]:
    """The next attempt at each file that the ledger knows, read as it lies there now.

    A person asked for it: a changed file is taken as the correction that it is. Raises `LandingError` naming
    all files that are gone.
    """
    arrivals, gone = [], []
    filenames = [past[-1].filename for past in attempts]
    found = _in_bucket(store, filenames) if store else _in_directory(Path(str(place)), filenames)
    for past, file in zip(attempts, found, strict=True):
        if isinstance(file, LandedFile):
            arrivals.append(replace(arrival(file, past), mutates=None))
        else:
            gone.append(f"{past[-1].filename}: {file}")
    if gone:
        raise LandingError(
            f"Files that cannot be read again in {place}; land them again, or choose without them.\n" + "\n".join(gone)
        )
    return tuple(arrivals)


def _in_directory(directory: Path, filenames: Sequence[str]) -> Iterator[LandedFile | str | None]:
    """Each file, or why it cannot be had."""
    for filename in filenames:
        path = directory / filename
        try:
            info = path.stat()
        except OSError as error:
            yield error.strerror
        else:
            yield LandedFile(filename, path, info.st_size, fingerprint(info))


def _in_bucket(store: Store, filenames: Sequence[str]) -> Iterator[LandedFile | str | None]:
    """Each file, or why it cannot be had."""
    for filename, stored in zip(filenames, store.look_up(filenames), strict=True):
        yield landed_object(filename, stored) if stored else "No such object"


def _current_hashes(past: Sequence[Batch]) -> set[str]:
    """Contents that are already accounted for: the latest attempt's and that of the published one."""
    current = (BatchStatus.PUBLISHED, BatchStatus.RELEASED)
    return {past[-1].content_hash} | {b.content_hash for b in past if b.status in current}


def _published(past: Sequence[Batch]) -> str | None:
    current = (BatchStatus.PUBLISHED, BatchStatus.RELEASED)
    return next((b.batch_id for b in reversed(past) if b.status in current), None)


def _root(directory: Path) -> Path:
    if not directory.is_dir():
        raise LandingError(
            f"The landing directory {directory} is not there. Create it, or name another with PODCAST_LANDING."
        )
    return directory.resolve()


def _walk(root: Path, found: _Findings) -> Iterator[os.DirEntry[str]]:
    """Every entry that is not a directory, depth first; what cannot be entered is noted as refused."""
    stack = [root]
    while stack:
        directory = stack.pop()
        try:
            entries = list(os.scandir(directory))
        except OSError as error:
            if directory == root:
                raise LandingError(f"The landing directory {root} cannot be read: {error.strerror}.") from None
            found.refused.append((_display(str(directory), root), f"cannot be read: {error.strerror}"))
            continue
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                stack.append(Path(entry.path))
            else:
                yield entry


def _look_at(
    entry: os.DirEntry[str], root: Path, found: _Findings, *, known: Mapping[str, str], newest_settled: int
) -> None:
    """Sort one entry into files, young files, ignored or refused."""
    name = _display(entry.path, root)
    if reason := _refusal(entry, root):
        found.refused.append((name, reason))
    elif not is_event_file(entry.name):
        found.ignored.append(name)
    else:
        info = entry.stat()
        mark = fingerprint(info)
        if known.get(name) == mark:
            found.unchanged.append(name)
            return
        file = LandedFile(name, Path(entry.path), info.st_size, mark)
        (found.young if info.st_mtime_ns > newest_settled else found.files).append(file)


def _refusal(entry: os.DirEntry[str], root: Path) -> str | None:
    """Why an entry is not even looked into, or None."""
    try:
        entry.path.encode()
        if entry.is_symlink():
            target = Path(entry.path).resolve(strict=True)
            if not target.is_relative_to(root):
                return "is a link that leaves the landing directory; copy the file instead"
            if target.is_dir():
                return "is a link to a directory, whose files are found at their own place"
        if is_event_file(entry.name) and not stat.S_ISREG(entry.stat().st_mode):
            return "is not a regular file"
    except UnicodeEncodeError:
        return "has a name that is not UTF-8; rename it"
    except (OSError, RuntimeError) as error:
        return f"cannot be looked at: {getattr(error, 'strerror', None) or error}"
    return None


def is_event_file(name: str) -> bool:
    """Whether a file name says that it holds events (the contract's suffixes, compared as they are)."""
    compression = next((suffix for suffix in COMPRESSED_SUFFIXES if name.endswith(suffix)), "")
    return name.removesuffix(compression).endswith(EVENT_SUFFIXES)


def _look_again(found: _Findings, settle_seconds: float) -> list[str]:
    """Wait once for the young files; those that stayed as they were are settled, the others are returned."""
    if not found.young:
        return []
    time.sleep(settle_seconds)
    unsettled = []
    for file in found.young:
        try:
            is_settled = fingerprint(Path(str(file.path)).stat()) == file.fingerprint
        except OSError:
            is_settled = False
        if is_settled:
            found.files.append(file)
        else:
            unsettled.append(file.filename)
    return unsettled


def _display(path: str, root: Path) -> str:
    """The name relative to the landing directory; bytes that are not UTF-8 shown as escapes."""
    name = path.removeprefix(f"{root}".rstrip("/") + "/")
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
