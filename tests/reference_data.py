"""The same reference data in every form that the pipeline takes."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import duckdb

COLUMNS = {
    "users": {"user_id": "varchar", "signup_date": "date", "country": "varchar"},
    "episodes": {
        "episode_id": "varchar",
        "podcast_id": "varchar",
        "title": "varchar",
        "release_date": "date",
        "duration_seconds": "integer",
    },
}


def _typed(seeds: Path, name: str) -> str:
    path = str(seeds / f"{name}.csv").replace("'", "''")
    columns = ", ".join(f"'{column}': '{type_}'" for column, type_ in COLUMNS[name].items())
    return f"select *, row_number() over () as n from read_csv('{path}', columns = {{{columns}}}, header = true)"


def _copy(query: str, path: Path, options: str) -> None:
    target = str(path).replace("'", "''")
    duckdb.connect().execute(f"copy (select columns(lambda c: c <> 'n') from ({query})) to '{target}' ({options})")


def as_parquet(seeds: Path, folder: Path, name: str) -> None:
    """One file."""
    folder.mkdir(parents=True, exist_ok=True)
    _copy(_typed(seeds, name), folder / f"{name}.parquet", "format parquet")


def as_parquet_parts(seeds: Path, folder: Path, name: str) -> None:
    """Two parts, and what other programs leave beside such."""
    (folder / name).mkdir(parents=True)
    for part in (0, 1):
        _copy(
            f"from ({_typed(seeds, name)}) where n % 2 = {part}",
            folder / name / f"part-{part}.parquet",
            "format parquet",
        )
    (folder / name / "_SUCCESS").touch()
    (folder / name / ".part-0.parquet.crc").touch()


def as_csv_parts(seeds: Path, folder: Path, name: str) -> None:
    """Two parts, one of them compressed."""
    (folder / name).mkdir(parents=True)
    for part in (0, 1):
        _copy(
            f"from ({_typed(seeds, name)}) where n % 2 = {part}",
            folder / name / f"part-{part}.csv",
            "format csv, header",
        )
    whole = folder / name / "part-1.csv"
    whole.with_name("part-1.csv.gz").write_bytes(gzip.compress(whole.read_bytes()))
    whole.unlink()


FORMS: dict[str, Callable[[Path, Path, str], None]] = {
    "parquet": as_parquet,
    "parquet parts": as_parquet_parts,
    "csv parts": as_csv_parts,
}
