"""What a backup holds: its manifest, and the check of everything that the manifest names."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from flows import files
from flows.errors import BackupError
from flows.warehouse import open_file

if TYPE_CHECKING:
    import duckdb

NAME = "manifest.json"
FORMAT = 1
"""The version of what a backup looks like; a greater one was made by a later version of this program."""

DATABASE = "podcast.duckdb"
PUBLISHED = "published.duckdb"
EVIDENCE = "quarantine"
REFERENCE = "reference"
LEDGER = "ledger.jsonl"

BASE_TABLES = """
    select schema_name || '.' || table_name
    from duckdb_tables()
    where database_name = ? and not internal and not temporary
    order by 1
"""


@dataclass(frozen=True)
class FileEntry:
    """One file of a backup: bytes, and their SHA-256 in hexadecimal."""

    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """`files` by path relative to the backup; `tables` gives the rows of each table by database file; times in UTC."""

    created_at: str
    versions: dict[str, str]
    newest_load_at: str | None
    tables: dict[str, dict[str, int]]
    files: dict[str, FileEntry]
    format: int = FORMAT

    @property
    def size_bytes(self) -> int:
        """The bytes of all files."""
        return sum(entry.size_bytes for entry in self.files.values())

    @property
    def rows(self) -> int:
        """The rows of all tables of all databases."""
        return sum(sum(counts.values()) for counts in self.tables.values())


def entries(folder: Path) -> dict[str, FileEntry]:
    """An entry for every file below a folder, but for a manifest."""
    paths = (path for path in files.files_below(folder) if path != folder / NAME)
    return {
        path.relative_to(folder).as_posix(): FileEntry(path.stat().st_size, files.sha256(path))
        for path in sorted(paths)
    }


def write(folder: Path, manifest: Manifest) -> None:
    """Write the manifest with a check sum of its own."""
    content = asdict(manifest)
    files.write(folder / NAME, json.dumps({**content, "manifest_sha256": _checksum(content)}, indent=2) + "\n")


def read(folder: Path) -> Manifest:
    """The manifest of a backup. Raises `BackupError` when it is not there, not whole, or of a later version."""
    path = folder / NAME
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        checksum, version = content.pop("manifest_sha256", None), content.get("format")
    except OSError as error:
        raise BackupError(
            f"{folder} is no backup: {NAME} cannot be read there ({error.strerror}). "
            "Name the folder that `podcast backup` printed."
        ) from None
    except (ValueError, AttributeError):
        raise _not_whole(path) from None
    if isinstance(version, int) and version > FORMAT:
        raise BackupError(
            f"{path} is of format {version}, and this version of podcast reads up to {FORMAT}. "
            f"Nothing was changed; use the version that made it: {content.get('versions')}."
        )
    if checksum != _checksum(content):
        raise _not_whole(path)
    entries = {name: FileEntry(**entry) for name, entry in content.pop("files").items()}
    return Manifest(**content, files=entries)


def check(folder: Path, manifest: Manifest) -> None:
    """Compare every file with its entry, then every table with its count of rows.

    Raises `BackupError` naming all files that are not as they were.
    """
    problems = [
        f"{name}: {problem}" for name, entry in manifest.files.items() if (problem := _look(folder, name, entry))
    ]
    problems = problems or list(_check_tables(folder, manifest))
    if problems:
        raise BackupError(
            f"The backup {folder} is damaged; nothing was changed. Take another backup, or another copy of this one.\n"
            + "\n".join(problems)
        )


def _check_tables(folder: Path, manifest: Manifest) -> Iterator[str]:
    for database, expected in manifest.tables.items():
        if database not in manifest.files:
            yield f"{database}: the manifest counts its rows and has no entry for it"
            continue
        try:
            found = count_rows(folder / database)
        except Exception as error:  # noqa: BLE001 - whatever the engine makes of a broken file
            made_with = manifest.versions.get("duckdb")
            yield f"{database}: cannot be opened ({str(error).splitlines()[0]}); it was made with duckdb {made_with}"
            continue
        for table in sorted(expected.keys() | found.keys()):
            if expected.get(table) != found.get(table):
                yield f"{database}: {table} has {found.get(table)} rows instead of {expected.get(table)}"


def count_rows(database: Path) -> dict[str, int]:
    """The rows of each table of a database file that nobody writes."""
    with open_file(database, read_only=True) as connection:
        return count_rows_of(connection, database.stem)


def count_rows_of(connection: duckdb.DuckDBPyConnection, catalog: str) -> dict[str, int]:
    """The rows of each table of an attached database."""
    tables = [table for (table,) in connection.execute(BASE_TABLES, [catalog]).fetchall()]
    counts = (connection.execute(f"select count(*) from {catalog}.{table}").fetchone() or (0,) for table in tables)
    return {table: int(count) for table, (count,) in zip(tables, counts, strict=True)}


def _look(folder: Path, name: str, entry: FileEntry) -> str | None:
    """What is wrong with a file of the backup, or None."""
    path = folder / name
    if _leaves(name) or not path.resolve().is_relative_to(folder.resolve()):
        return "lies outside of the backup; its manifest was not made by `podcast backup`"
    try:
        size = path.stat().st_size
        if size != entry.size_bytes:
            return f"has {size:,} bytes instead of {entry.size_bytes:,}"
        return None if files.sha256(path) == entry.sha256 else "has other bytes than when the backup was made"
    except OSError as error:
        return f"cannot be read: {error.strerror}"


def _leaves(name: str) -> bool:
    path = PurePosixPath(name)
    return path.is_absolute() or ".." in path.parts or "\\" in name or name in ("", ".")


def _checksum(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _not_whole(path: Path) -> BackupError:
    return BackupError(
        f"{path} is not as it was written: cut off, or changed. Nothing was changed; take another backup, "
        "or another copy of this one."
    )
