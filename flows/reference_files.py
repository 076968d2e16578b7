"""Where the reference data lies, and in which form: a seed as dbt has it, or files for the engine alone."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from pathlib import Path

from flows import files

SUFFIXES = {".parquet": "parquet", ".csv": "csv", ".csv.gz": "csv"}


@dataclass(frozen=True)
class Kind:
    """What there is reference data of; the first column is its id, `types` has those that are more than text."""

    name: str
    columns: tuple[str, ...]
    types: dict[str, str]


KINDS = (
    Kind("users", ("user_id", "signup_date", "country"), {"signup_date": "date"}),
    Kind(
        "episodes",
        ("episode_id", "podcast_id", "title", "release_date", "duration_seconds"),
        {"release_date": "date", "duration_seconds": "integer"},
    ),
)


class Form(StrEnum):
    """How the data lies there: as a seed of dbt's, or as what only the engine can read."""

    SEED = "seed"
    PARQUET = "parquet"
    CSV = "csv"


@dataclass(frozen=True)
class Source:
    """The files of users or of episodes, in the order of their names; `folder` is that of parts, with its slash."""

    kind: Kind
    form: Form
    files: tuple[Path, ...]
    folder: str = ""

    @property
    def name(self) -> str:
        """`users` or `episodes`."""
        return self.kind.name

    @property
    def is_seed(self) -> bool:
        """Whether it is a seed, which the engine reads by a copy."""
        return self.form is Form.SEED

    @property
    def where(self) -> Path:
        """What to name where all of it is meant."""
        return self.files[0].parent if self.folder else self.files[0]

    def labels(self) -> dict[str, Path]:
        """The files by their path below the folder of the reference data."""
        return {f"{self.folder}{path.name}": path for path in self.files}

    def patterns(self) -> list[str]:
        """The files as the engine takes them: it reads every path as a pattern."""
        if not self.folder:
            return [escaped(path) for path in self.files]
        there = {suffix for suffix in SUFFIXES for path in self.files if path.name.endswith(suffix)}
        return [f"{escaped(self.files[0].parent)}/[!._]*{suffix}" for suffix in sorted(there)]


def find(folder: Path) -> tuple[Source, ...]:
    """The users and the episodes of a folder. Raises `ValueError` where one has no form or several, and `OSError`."""
    found = {kind.name: list(_forms(folder, kind)) for kind in KINDS}
    if missing := [name for name, sources in found.items() if not sources]:
        raise ValueError(f"{' and '.join(f'{name}.csv' for name in missing)} not found there")
    if several := [sources for sources in found.values() if len(sources) > 1]:
        raise ValueError("; ".join(_of_several(sources) for sources in several))
    return tuple(source for (source,) in found.values())


def content_hash(folder: Path) -> str:
    """Hash of the names and the bytes of all files, in hexadecimal. Raises `ValueError` and `OSError`."""
    digest = hashlib.sha256()
    for source in find(folder):
        for label, path in source.labels().items():
            status = path.stat()
            mark = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
            digest.update(f"{label}\0{_sha256(path, mark)}\0".encode())
    return digest.hexdigest()


def forget() -> None:
    """Let go of the hashes that were made, as a new process would have none."""
    _sha256.cache_clear()


def header(path: Path) -> list[str]:
    """The first line of a CSV file as names of columns, of which none is blank; empty where the line is.

    Raises `OSError` (a broken compression is one, or `EOFError`), `UnicodeDecodeError` and `csv.Error`.
    """
    line = files.first_line(path).decode("utf-8-sig")
    names = next(csv.reader([line], strict=True), [])
    return [name or f"column {position}" for position, name in enumerate(names, 1)]


def escaped(path: Path) -> str:
    """A path that the engine reads as itself: it takes every path for a pattern."""
    return "".join(f"[{character}]" if character in "*?[" else character for character in str(path))


@lru_cache(maxsize=10_000)
def _sha256(path: Path, mark: tuple[int, ...]) -> str:
    """The hash of a file as it was when its size, times and place were `mark`; a run asks for it again and again."""
    del mark
    return files.sha256(path)


def _forms(folder: Path, kind: Kind) -> Iterator[Source]:
    """Every form in which the data is there."""
    for form, path in ((Form.SEED, folder / f"{kind.name}.csv"), (Form.PARQUET, folder / f"{kind.name}.parquet")):
        if path.is_file():
            yield Source(kind, form, (path,))
    if (folder / kind.name).is_dir():
        for form in (Form.PARQUET, Form.CSV):
            if parts := _parts(folder / kind.name, form):
                yield Source(kind, form, parts, folder=f"{kind.name}/")


def _parts(folder: Path, form: Form) -> tuple[Path, ...]:
    """The files of a form in a folder, without those that other programs hide from readers by their names."""
    suffixes = tuple(suffix for suffix, of in SUFFIXES.items() if of == form)
    paths = (path for path in folder.iterdir() if path.name.endswith(suffixes) and path.name[0] not in "._")
    return tuple(sorted(path for path in paths if path.is_file()))


def _of_several(sources: list[Source]) -> str:
    """What to say of data that is there more than once."""
    there = [f"{s.folder}*.{s.form}" if s.folder else s.files[0].name for s in sources]
    return f"{' and '.join(there)} are there at once; keep one of them"
