"""Reference data as a seed of dbt's: what is wrong in which line, and the copy that the engine is given.

What is said of a file comes into logs and onto the site: lines and columns are named, values never are.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import replace
from operator import itemgetter
from pathlib import Path

from flows import reference_rules
from flows.errors import ReferenceDataError
from flows.reference_files import Form, Kind, Source
from flows.reference_rules import WRITTEN, trimmed

Row = tuple[int, list[str]]
"""The number of the line on which a record starts, and its fields."""


def problems(source: Source) -> Iterator[str]:
    """What is wrong in which line."""
    (path,) = source.files
    return (f"{path}: {problem}" for problem in _of_seed(source.kind, path))


def copy(source: Source, folder: Path) -> Source:
    """A seed as the engine reads it without a guess: in a folder, as a part of CSV.

    It has the columns that the tables are made of, in their order, one kind of line end, every value in quotes, and
    the ids trimmed. Raises `ReferenceDataError` where the file is no longer what was checked, and `OSError`.
    """
    target = folder / f"{source.name}.csv"
    rows = _values(source.kind, source.files[0])
    with target.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="\n")
        writer.writerow(source.kind.columns)
        writer.writerows(rows)
    return replace(source, form=Form.CSV, files=(target,))


def _values(kind: Kind, path: Path) -> list[list[str]]:
    """Of each record the values of the kind's columns, the id first."""
    try:
        header, records = _records(path.read_bytes().decode("utf-8-sig"))
        values = itemgetter(*map(header.index, kind.columns))
        return [[trimmed(id_), *others] for id_, *others in (values(fields) for _, fields in records)]
    except (csv.Error, IndexError, ValueError):
        raise ReferenceDataError.of_change(path) from None  # what it came from may name a value


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
        yield from reference_rules.of_header(kind, header)
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
    for line, fields in rows:
        if len(fields) != len(header):
            yield f"line {line:,} has {len(fields)} fields, the header {len(header)}"
    whole = [row for row in rows if len(row[1]) == len(header)]
    yield from _of_ids(kind.columns[0], _column(header, kind.columns[0], whole))
    for column, type_ in kind.types.items():
        yield from _of_type(column, type_, _column(header, column, whole))


def _column(header: Sequence[str], column: str, rows: Sequence[Row]) -> Iterator[tuple[int, str]]:
    """The values of one column, with their lines; of a column that is there twice the last."""
    position = max(at for at, name in enumerate(header) if name == column)
    return ((line, fields[position]) for line, fields in rows)


def _of_ids(column: str, values: Iterator[tuple[int, str]]) -> Iterator[str]:
    first: dict[str, int] = {}
    for line, value in values:
        if not (id_ := trimmed(value)):
            yield f"line {line:,}: {column} is blank"
        elif line != (before := first.setdefault(id_, line)):
            yield f"line {line:,}: {column} is that of line {before:,}; every line needs one of its own"


def _of_type(column: str, type_: str, values: Iterator[tuple[int, str]]) -> Iterator[str]:
    """What cannot be taken as the type of the column; nothing is null."""
    import duckdb

    given = [(line, value) for line, value in values if value]
    with duckdb.connect() as connection:
        wrong = connection.execute(
            f"""
            select line
            from (select unnest(?::bigint[]) as line, unnest(?::varchar[]) as value)
            where {reference_rules.misfit("value", type_)}
            order by line
            """,
            [[line for line, _ in given], [value for _, value in given]],
        ).fetchall()
    for (line,) in wrong:
        yield f"line {line:,}: {column} is not {WRITTEN[type_]}"
