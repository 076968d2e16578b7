"""The reference data before it is used: columns, ids, types and text, so that a broken file changes nothing.

What is said of a file comes into logs and onto the site: lines and columns are named, values never are.
"""

from __future__ import annotations

import csv
import io
import tempfile
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from flows import reference_files, reference_parts
from flows.errors import ReferenceDataError
from flows.reference_files import Kind, Source

SHOWN = 5
"""Problems of the users, and of the episodes, that are told."""


Row = tuple[int, list[str]]
"""The number of the line on which a record starts, and its fields."""


def check(folder: Path, *, memory_limit: str = "2GB", scratch: Path | None = None) -> None:
    """Raise `ReferenceDataError` naming what is wrong in which line of which file, for all files together.

    What the engine reads is looked at within the limit of memory, with a folder to put aside what is more.
    """
    try:
        sources = reference_files.find(folder)
    except ValueError as error:
        problems = [f"{folder}: {error}"]
    else:
        problems = [
            problem for source in sources for problem in _some(source, _problems(source, memory_limit, scratch))
        ]
    if problems:
        raise ReferenceDataError(
            "The reference data is broken; nothing was changed, the last published state stays.\n"
            + "\n".join(problems)
            + "\nCorrect the files, or name another folder with PODCAST_SEEDS; then: podcast run"
        )


def _some(source: Source, problems: Iterator[str]) -> list[str]:
    """The first few, and how many more there are."""
    found = list(islice(problems, SHOWN))
    more = sum(1 for _ in problems)
    where = source.files[0].parent if source.folder else source.files[0]
    return found + ([f"{where}: and {more:,} more problems"] if more else [])


def _problems(source: Source, memory_limit: str, scratch: Path | None) -> Iterator[str]:
    if source.is_seed:
        (path,) = source.files
        return (f"{path}: {problem}" for problem in _of_seed(source.kind, path))
    scratch = scratch or Path(tempfile.gettempdir()) / "podcast-reference"
    return reference_parts.problems(source, memory_limit=memory_limit, scratch=scratch)


def _of_seed(kind: Kind, path: Path) -> Iterator[str]:
    try:
        content = path.read_bytes()
        text = content.decode("utf-8-sig")
        header, rows = _records(text)
    except OSError as error:
        yield f"cannot be read: {error.strerror}"
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        yield f"line {line:,} is not UTF-8; save the file as UTF-8"
    except csv.Error as error:
        yield f"is no CSV: {error}"
    else:
        yield from reference_parts.of_header(kind, header)
        if set(kind.columns) <= set(header):
            yield from _of_rows(kind, header, rows)


def _records(text: str) -> tuple[list[str], list[Row]]:
    """The header and the other records; blank lines are none."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows, start = [], 1
    try:
        for fields in reader:
            if fields:
                rows.append((start, fields))
            start = reader.line_num + 1
    except csv.Error as error:
        raise csv.Error(f"the record that starts in line {start:,}: {error}") from None
    return (rows[0][1], rows[1:]) if rows else ([], [])


def _of_rows(kind: Kind, header: Sequence[str], rows: Sequence[Row]) -> Iterator[str]:
    whole = []
    for line, fields in rows:
        if len(fields) == len(header):
            whole.append((line, dict(zip(header, fields, strict=True))))
        else:
            yield f"line {line:,} has {len(fields)} fields, the header {len(header)}"
    yield from _of_ids(kind.columns[0], whole)
    for column, type_ in kind.types.items():
        yield from _of_type(column, type_, whole)


def _of_ids(column: str, rows: Sequence[tuple[int, dict[str, str]]]) -> Iterator[str]:
    first: dict[str, int] = {}
    for line, row in rows:
        if not row[column].strip():
            yield f"line {line:,}: {column} is blank"
        elif line != (before := first.setdefault(row[column], line)):
            yield f"line {line:,}: {column} is that of line {before:,}; every line needs one of its own"


def _of_type(column: str, type_: str, rows: Sequence[tuple[int, dict[str, str]]]) -> Iterator[str]:
    """What the engine cannot take as the type of the column; nothing is null."""
    import duckdb

    given = [(line, row[column]) for line, row in rows if row[column]]
    with duckdb.connect() as connection:
        wrong = connection.execute(
            f"""
            select line
            from (select unnest(?::bigint[]) as line, unnest(?::varchar[]) as value)
            where try_cast(value as {type_}) is null
            order by line
            """,
            [[line for line, _ in given], [value for _, value in given]],
        ).fetchall()
    for (line,) in wrong:
        yield f"line {line:,}: {column} is not {reference_parts.WRITTEN[type_]}"
