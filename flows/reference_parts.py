"""Reference data that the engine reads, before it is used: the checks of `reference`, as queries over all parts.

What is said of a file comes into logs and onto the site: rows and columns are named, values never are, and so nothing
of what the engine says about them. Rows of Parquet and records of CSV are counted from 1.
"""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows import reference_files, reference_rules
from flows.reference_files import Form, Kind, Source
from flows.reference_rules import WRITTEN, misfits, trimmed_sql

if TYPE_CHECKING:
    import duckdb

NOTHING_FETCHED: dict[str, Any] = {"autoinstall_known_extensions": "false"}
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
NO_GZIP = "it is no gzip, not whole, or damaged"
UNREADABLE = {
    Form.PARQUET: "is damaged: it has an end, and cannot be read up to there",
    Form.CSV: "is no CSV: its lines end in different ways, or a quote is misplaced; save it with one kind of line end",
}
UNREADABLE_TOGETHER = {
    Form.PARQUET: "a column has types that do not go together; give it the same in every part",
    Form.CSV: "cannot be read; save every part with one kind of line end, and quotes around whole values only",
}
"""Of all parts, where each can be read alone."""
CSV_OPTIONS = (
    "header = true, auto_detect = false, delim = ',', quote = '\"', escape = '\"', strict_mode = true, "
    "hive_partitioning = false"
)
"""As in the macro `read_files`."""


def problems(source: Source, *, memory_limit: str, scratch: Path) -> Iterator[str]:
    """What is wrong in which file; only files that can be read by their columns are looked into."""
    unreadable = list(chain.from_iterable(_of_file(source, path) for path in source.files))
    if unreadable:
        return iter(unreadable)
    return _within(source, {"memory_limit": memory_limit, "temp_directory": str(scratch)})


# One file: can it be read, and has it the columns


def _of_file(source: Source, path: Path) -> Iterator[str]:
    if "\\" in str(path):
        yield f"{path}: the engine does not find a path with a backslash; rename the file or the folder"
        return
    try:
        with path.open("rb"):
            found = _of_csv(source, path) if source.form is Form.CSV else _of_parquet(source.kind, path)
            yield from (f"{path}: {problem}" for problem in found)
    except OSError as error:
        yield f"{path}: cannot be read: {error.strerror or NO_GZIP}"
    except (EOFError, zlib.error):
        yield f"{path}: cannot be read: {NO_GZIP}"


def _of_csv(source: Source, path: Path) -> Iterator[str]:
    if path.suffix == ".gz":
        _unpack(path)
    try:
        header = reference_files.header(path)
        first = reference_files.header(source.files[0])
    except UnicodeDecodeError:
        yield "line 1 is not UTF-8; save the file as UTF-8"
    except csv.Error:
        yield "is no CSV: line 1 is not whole"
    else:
        yield from reference_rules.of_header(source.kind, header)
        if header != first and header:
            yield f"its columns are not those of {source.files[0].name}; every part has the same in the same order"


def _unpack(path: Path) -> None:
    """Read it to its end: the engine compares no checksum. Raises `OSError`, `EOFError` and `zlib.error`."""
    with gzip.open(path) as file:
        while file.read(2**20):
            pass


def _of_parquet(kind: Kind, path: Path) -> Iterator[str]:
    import duckdb

    try:
        with duckdb.connect(config=NOTHING_FETCHED) as connection:
            described = connection.execute("describe from read_parquet(?)", [reference_files.escaped(path)]).fetchall()
    except duckdb.Error:
        yield "is no Parquet file, or not whole"
        return
    yield from reference_rules.of_types(kind, {column[0]: str(column[1]) for column in described})


# All parts together: a look that counts, and only where it finds something one that names rows


def _within(source: Source, limits: dict[str, str]) -> Iterator[str]:
    import duckdb

    with duckdb.connect(config=NOTHING_FETCHED | limits) as connection:
        try:
            if not _is_right(connection, source):
                yield from _named(connection, source)
        except duckdb.Error as error:
            damaged = [path for path in source.files if not _can_be_scanned(connection, source, path)]
            if not damaged and isinstance(error, duckdb.OperationalError):  # memory or disk: it is no fault of a file
                raise
            yield from (f"{path}: {UNREADABLE[source.form]}" for path in damaged)
            if not damaged:
                yield f"{source.where}: {UNREADABLE_TOGETHER[source.form]}"


def _is_right(connection: duckdb.DuckDBPyConnection, source: Source) -> bool:
    """Whether there is nothing to tell; at the cost of one scan and one set of ids."""
    key = trimmed_sql(source.kind.columns[0])
    faults = [
        f"count(*) - count(distinct {key})",
        f"count(*) - count(nullif({key}, ''))",
        *(f"count(*) filter ({f})" for f in misfits(source.kind).values()),
    ]
    counts = f"select {_hash(source)}, {', '.join(faults)} from {_scan(source)}"
    ((_, *found),) = connection.execute(counts).fetchall()  # all: only at the end of a query are its rejects there
    return not any(found) and not _rejects(connection)


def _can_be_scanned(connection: duckdb.DuckDBPyConnection, source: Source, path: Path) -> bool:
    import duckdb

    try:
        connection.execute(f"select {_hash(source)} from {_scan(source, path)}")
    except duckdb.Error:
        return False
    return True


def _named(connection: duckdb.DuckDBPyConnection, source: Source) -> Iterator[str]:
    """Every problem with its file and its row."""
    yield from (f"{path}: line {line:,} {REASONS[reason]}" for path, line, reason in _rejects(connection))
    _number_rows(connection, source)
    word, key = WORDS[source.form], source.kind.columns[0]
    blank = f"select part, number from numbered where nullif({trimmed_sql(key)}, '') is null order by all"
    for part, number in _rows(connection, blank):
        yield f"{source.files[part]}: {word} {number:,}: {key} is blank"
    for part, number, other, before in _rows(connection, _repeated(key)):
        elsewhere = "" if other == part else f" of {source.files[other].name}"
        yield (
            f"{source.files[part]}: {word} {number:,}: {key} is that of {word} {before:,}{elsewhere}; "
            f"every {word} needs one of its own"
        )
    for column, misfit in misfits(source.kind).items():
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
        rows = _scan(source, path, take_note=False)
        connection.execute(f"insert into numbered select {part}, row_number() over (), {columns} from {rows}")


def _repeated(key: str) -> str:
    """The rows whose id another row before has, with the first such."""
    return f"""
        with keys as (select part, number, nullif({trimmed_sql(key)}, '') as id from numbered),
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


def _scan(source: Source, path: Path | None = None, *, take_note: bool = True) -> str:
    """The rows of one file, or of all; of the records of CSV that are none, a note is taken or not."""
    patterns = [reference_files.escaped(path)] if path else source.patterns()
    quoted = "[" + ", ".join(_literal(pattern) for pattern in patterns) + "]"
    if source.form is Form.PARQUET:
        return f"read_parquet({quoted}, union_by_name = true, hive_partitioning = false)"
    columns = ", ".join(f"{_literal(name)}: 'varchar'" for name in reference_files.header(source.files[0]))
    rejects = f"store_rejects = true, rejects_limit = {REJECTS}" if take_note else "ignore_errors = true"
    return f"read_csv({quoted}, columns = {{{columns}}}, {CSV_OPTIONS}, {rejects})"


def _hash(source: Source) -> str:
    """Of all that the tables are made of: a value that nobody needs is not unpacked, nor found to be no UTF-8."""
    return f"bit_xor(hash({', '.join(source.kind.columns)}))"


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
