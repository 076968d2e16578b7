"""The reference data before it is used: columns, ids, types and text, so that a broken file changes nothing.

What is said of a file comes into logs and onto the site: lines and columns are named, values never are.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flows.errors import ReferenceDataError

if TYPE_CHECKING:
    from pathlib import Path

SHOWN = 5
"""Problems of one file that are told."""


@dataclass(frozen=True)
class Reference:
    """A file of reference data; the first column is its id, `types` has those that are more than text."""

    name: str
    columns: tuple[str, ...]
    types: dict[str, str]


FILES = (
    Reference("users.csv", ("user_id", "signup_date", "country"), {"signup_date": "date"}),
    Reference(
        "episodes.csv",
        ("episode_id", "podcast_id", "title", "release_date", "duration_seconds"),
        {"release_date": "date", "duration_seconds": "integer"},
    ),
)
WRITTEN = {"date": "a date, as in 2024-01-31", "integer": "a whole number, as in 1800"}

Row = tuple[int, list[str]]
"""The number of the line on which a record starts, and its fields."""


def check(folder: Path) -> None:
    """Raise `ReferenceDataError` naming what is wrong in which line of which file, for all files together."""
    problems = [f"{folder / file.name}: {problem}" for file in FILES for problem in _some(_problems(folder, file))]
    if problems:
        raise ReferenceDataError(
            "The reference data is broken; nothing was changed, the last published state stays.\n"
            + "\n".join(problems)
            + "\nCorrect the files, or name another folder with PODCAST_SEEDS; then: podcast run"
        )


def _some(problems: Iterator[str]) -> list[str]:
    """The first few, and how many more there are."""
    found = list(problems)
    more = len(found) - SHOWN
    return found[:SHOWN] + ([f"and {more:,} more problems"] if more > 0 else [])


def _problems(folder: Path, file: Reference) -> Iterator[str]:
    try:
        content = (folder / file.name).read_bytes()
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
        yield from _of_header(file, header)
        if set(file.columns) <= set(header):
            yield from _of_rows(file, header, rows)


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


def _of_header(file: Reference, header: Sequence[str]) -> Iterator[str]:
    expected = f"line 1 has to be the header {','.join(file.columns)}"
    if not header:
        yield f"is empty; {expected}"
    elif missing := [name for name in file.columns if name not in header]:
        yield f"column {' and '.join(missing)} is missing; {expected}"
    elif len(set(header)) < len(header):
        yield f"a column stands there twice; {expected}"


def _of_rows(file: Reference, header: Sequence[str], rows: Sequence[Row]) -> Iterator[str]:
    whole = []
    for line, fields in rows:
        if len(fields) == len(header):
            whole.append((line, dict(zip(header, fields, strict=True))))
        else:
            yield f"line {line:,} has {len(fields)} fields, the header {len(header)}"
    yield from _of_ids(file.columns[0], whole)
    for column, type_ in file.types.items():
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
        yield f"line {line:,}: {column} is not {WRITTEN[type_]}"
