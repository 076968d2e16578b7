"""Reference data that the engine reads, before it is used: the checks of `reference`, as queries over all parts.

What is said of a file comes into logs and onto the site: rows and columns are named, values never are, and so nothing
of what the engine says about them. Rows of Parquet and records of CSV are counted from 1.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows import reference_files
from flows.reference_files import Form, Kind, Source

if TYPE_CHECKING:
    import duckdb

NOTHING_FETCHED: dict[str, Any] = {"autoinstall_known_extensions": "false"}
WRITTEN = {"date": "a date, as in 2024-01-31", "integer": "a whole number, as in 1800"}
TAKEN = {
    "date": ("DATE", "TIMESTAMP", "VARCHAR"),
    "integer": ("TINYINT", "SMALLINT", "INT", "BIGINT", "HUGEINT", "U", "DECIMAL", "FLOAT", "DOUBLE", "VARCHAR"),
}
"""Types of Parquet columns whose values can be such."""
REJECTS = 10_000
"""Records of one CSV file that are no such, of which the engine takes a note."""
WORDS = {Form.PARQUET: "row", Form.CSV: "record"}
REASONS = {
    "MISSING COLUMNS": "has fewer fields than the header",
    "TOO MANY COLUMNS": "has more fields than the header",
    "UNQUOTED VALUE": "begins a record that is no CSV: a quote is not closed, or stands within a value",
    "LINE SIZE OVER MAXIMUM": "is longer than 2 MB",
    "INVALID ENCODING": "is not UTF-8; save the file as UTF-8",
}
CSV_OPTIONS = (
    "header = true, auto_detect = false, delim = ',', quote = '\"', escape = '\"', strict_mode = true, "
    "hive_partitioning = false"
)
"""As in the macro `reference_rows`."""
WHITE_SPACE = (9, 10, 11, 12, 13, 32, 133, 160, 5760, *range(8192, 8203), 8232, 8233, 8239, 8287, 12288)
"""As in the macro `trim_unicode`."""


def problems(source: Source, *, memory_limit: str, scratch: Path) -> Iterator[str]:
    """What is wrong in which file; only files that can be read by their columns are looked into."""
    unreadable = list(chain.from_iterable(_of_file(source, path) for path in source.files))
    if unreadable:
        return iter(unreadable)
    return _within(source, {"memory_limit": memory_limit, "temp_directory": str(scratch)})


def of_header(kind: Kind, header: Sequence[str]) -> Iterator[str]:
    """What is wrong with the first line of a CSV file."""
    expected = f"line 1 has to be the header {','.join(kind.columns)}"
    if not header:
        yield f"is empty; {expected}"
    elif missing := [name for name in kind.columns if name not in header]:
        yield f"column {' and '.join(missing)} is missing; {expected}"
    elif len({name.lower() for name in header}) < len(header):  # for the engine, letters have no case here
        yield f"a column stands there twice; {expected}"


# One file: can it be read, and has it the columns


def _of_file(source: Source, path: Path) -> Iterator[str]:
    try:
        with path.open("rb"):
            found = _of_csv(source, path) if source.form is Form.CSV else _of_parquet(source.kind, path)
            yield from (f"{path}: {problem}" for problem in found)
    except OSError as error:
        yield f"{path}: cannot be read: {error.strerror or 'it is no gzip, or not whole'}"


def _of_csv(source: Source, path: Path) -> Iterator[str]:
    try:
        header = reference_files.header(path)
        first = reference_files.header(source.files[0])
    except UnicodeDecodeError:
        yield "line 1 is not UTF-8; save the file as UTF-8"
    except (csv.Error, EOFError):
        yield "is no CSV: line 1 is not whole"
    else:
        yield from of_header(source.kind, header)
        if header != first and header:
            yield f"its columns are not those of {source.files[0].name}; every part has the same in the same order"


def _of_parquet(kind: Kind, path: Path) -> Iterator[str]:
    import duckdb

    try:
        with duckdb.connect(config=NOTHING_FETCHED) as connection:
            described = connection.execute("describe from read_parquet(?)", [reference_files.escaped(path)]).fetchall()
    except duckdb.Error:
        yield "is no Parquet file, or not whole"
        return
    types = {column[0]: str(column[1]) for column in described}
    if missing := [name for name in kind.columns if name not in types]:
        yield f"column {' and '.join(missing)} is missing; there have to be {','.join(kind.columns)}"
    else:
        yield from (
            f"column {column} is of the type {types[column]}, not {WRITTEN[type_]}"
            for column, type_ in kind.types.items()
            if not types[column].startswith(TAKEN[type_])
        )


# All parts together: a look that counts, and only where it finds something one that names rows


def _within(source: Source, limits: dict[str, str]) -> Iterator[str]:
    import duckdb

    with duckdb.connect(config=NOTHING_FETCHED | limits) as connection:
        try:
            is_right = _is_right(connection, source)
        except duckdb.Error:
            damaged = [path for path in source.files if not _can_be_scanned(connection, source, path)]
            if not damaged:  # it is no fault of a file
                raise
            yield from (f"{path}: is damaged: it has an end, and cannot be read up to there" for path in damaged)
        else:
            if not is_right:
                yield from _named(connection, source)


def _is_right(connection: duckdb.DuckDBPyConnection, source: Source) -> bool:
    """Whether there is nothing to tell; at the cost of one scan and one set of ids."""
    key = _trimmed(source.kind.columns[0])
    faults = [
        f"count(*) - count(nullif({key}, ''))",
        *(f"count(*) filter ({f})" for f in _misfits(source.kind).values()),
    ]
    counts = f"select count(*) - count(distinct {key}), {', '.join(faults)} from {_scan(source)}"
    (found,) = connection.execute(counts).fetchall()  # all: only at the end of a query are its rejects there
    return not any(found) and not _rejects(connection)


def _can_be_scanned(connection: duckdb.DuckDBPyConnection, source: Source, path: Path) -> bool:
    import duckdb

    try:
        # a value that nobody needs is not unpacked
        connection.execute(f"select bit_xor(hash({', '.join(source.kind.columns)})) from {_scan(source, path)}")
    except duckdb.Error:
        return False
    return True


def _named(connection: duckdb.DuckDBPyConnection, source: Source) -> Iterator[str]:
    """Every problem with its file and its row."""
    yield from (f"{path}: line {line:,} {REASONS[reason]}" for path, line, reason in _rejects(connection))
    _number_rows(connection, source)
    word, key = WORDS[source.form], source.kind.columns[0]
    blank = f"select part, number from numbered where nullif({_trimmed(key)}, '') is null order by all"
    for part, number in _rows(connection, blank):
        yield f"{source.files[part]}: {word} {number:,}: {key} is blank"
    for part, number, other, before in _rows(connection, _repeated(key)):
        elsewhere = "" if other == part else f" of {source.files[other].name}"
        yield (
            f"{source.files[part]}: {word} {number:,}: {key} is that of {word} {before:,}{elsewhere}; "
            f"every {word} needs one of its own"
        )
    for column, misfit in _misfits(source.kind).items():
        written = WRITTEN[source.kind.types[column]]
        for part, number in _rows(connection, f"select part, number from numbered where {misfit} order by all"):
            yield f"{source.files[part]}: {word} {number:,}: {column} is not {written}"


def _rows(connection: duckdb.DuckDBPyConnection, query: str) -> Iterator[tuple[int, ...]]:
    """The rows of a result that may be long."""
    result = connection.execute(query)
    while rows := result.fetchmany(10_000):
        yield from rows


def _number_rows(connection: duckdb.DuckDBPyConnection, source: Source) -> None:
    """All rows of all parts, with the position of the part and the number of the row in it."""
    columns = ", ".join(source.kind.columns)
    connection.execute(
        f"create temp table numbered as select 0 as part, 0::bigint as number, {columns} from {_scan(source)} limit 0"
    )
    for part, path in enumerate(source.files):
        connection.execute(
            f"insert into numbered select {part}, row_number() over (), {columns} from {_scan(source, path)}"
        )


def _repeated(key: str) -> str:
    """The rows whose id another row before has, with the first such."""
    return f"""
        with keys as (select part, number, nullif({_trimmed(key)}, '') as id from numbered),
        ranked as (
            select
                *,
                row_number() over in_order as place,
                first_value(part) over in_order as first_part,
                first_value(number) over in_order as first_number
            from keys
            where id is not null
            window in_order as (partition by id order by part, number)
        )
        select part, number, first_part, first_number from ranked where place > 1 order by all
    """


def _rejects(connection: duckdb.DuckDBPyConnection) -> list[tuple[str, int, str]]:
    """The records of CSV files that the scans before came to and could not take: file, line on which it starts, why."""
    tables = "select count(*) from duckdb_tables() where table_name in ('reject_errors', 'reject_scans')"
    if connection.execute(tables).fetchone() != (2,):
        return []
    return connection.execute(
        """
        select file_path, line, min(error_type::varchar)
        from reject_errors inner join reject_scans using (scan_id, file_id)
        group by all
        order by all
        """
    ).fetchall()


# SQL


def _scan(source: Source, path: Path | None = None) -> str:
    """The rows of one file, or of all."""
    patterns = [reference_files.escaped(path)] if path else source.patterns()
    quoted = "[" + ", ".join(_literal(pattern) for pattern in patterns) + "]"
    if source.form is Form.PARQUET:
        return f"read_parquet({quoted}, union_by_name = true, hive_partitioning = false)"
    columns = ", ".join(f"{_literal(name)}: 'varchar'" for name in reference_files.header(source.files[0]))
    rejects = "" if path else f", store_rejects = true, rejects_limit = {REJECTS}"
    return f"read_csv({quoted}, columns = {{{columns}}}, {CSV_OPTIONS}{rejects or ', ignore_errors = true'})"


def _misfits(kind: Kind) -> dict[str, str]:
    """For each column that is more than text: what holds where the engine cannot take it as its type."""
    return {column: f"{column} is not null and {_misfit(column, type_)}" for column, type_ in kind.types.items()}


def _misfit(column: str, type_: str) -> str:
    if type_ == "integer":  # a cast would round
        return (
            f"(try_cast({column} as integer) is null or try_cast({column} as integer) <> try_cast({column} as double))"
        )
    return f"try_cast({column} as {type_}) is null"


def _trimmed(column: str) -> str:
    """Trimming looks at every character; most ids need none, as their ends are plain ones."""
    white_space = " || ".join(f"chr({code_point})" for code_point in WHITE_SPACE)
    text = f"{column}::varchar"
    is_plain = " and ".join(f"({text})[{end}] between '!' and '~'" for end in (1, -1))
    return f"case when {is_plain} then {text} else trim({text}, {white_space}) end"


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
