"""What the reference data may hold, whatever its form: the header of CSV, types of columns, dates, numbers and ids."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from flows.reference_files import Kind

WRITTEN = {
    "text": "text, a whole number or a UUID",
    "date": "a date, as in 2024-01-31",
    "integer": "a whole number, as in 1800",
}
_EMPTY = r'"NULL"'
"""The type of a column of Parquet that never had a value."""
_WHOLE = r"U?(?:TINY|SMALL|BIG|HUGE)INT|U?INTEGER|DECIMAL\(\d+,0\)"
TAKEN = {
    "text": rf"VARCHAR|UUID|{_WHOLE}|{_EMPTY}",  # others give a text that no event names, as 7.0 for 7
    "date": rf"DATE|TIMESTAMP[^\[]*|VARCHAR|{_EMPTY}",
    "integer": rf"{_WHOLE}|DECIMAL\(\d+,\d+\)|FLOAT|DOUBLE|VARCHAR|{_EMPTY}",
}
"""Types of Parquet columns whose values can be such."""
WHITE_SPACE = (9, 10, 11, 12, 13, 32, 133, 160, 5760, *range(8192, 8203), 8232, 8233, 8239, 8287, 12288)
"""As in the macro `trim_unicode`."""
_TRIMMED = "".join(map(chr, WHITE_SPACE))


def trimmed(text: str) -> str:
    """An id as it is taken: without white space on its ends."""
    return text.strip(_TRIMMED)


def of_header(kind: Kind, header: Sequence[str]) -> Iterator[str]:
    """What is wrong with the first line of a CSV file."""
    expected = f"line 1 has to be the header {','.join(kind.columns)}"
    if not header:
        yield f"is empty; {expected}"
    elif missing := [name for name in kind.columns if name not in header]:
        yield f"column {' and '.join(missing)} is missing; {expected}"
    elif len({name.lower() for name in header}) < len(header):  # for the engine, letters have no case here
        yield f"a column stands there twice; {expected}"


def of_types(kind: Kind, types: Mapping[str, str]) -> Iterator[str]:
    """What is wrong with the columns of a Parquet file, by the engine's names of their types."""
    if missing := [name for name in kind.columns if name not in types]:
        yield f"column {' and '.join(missing)} is missing; there have to be {','.join(kind.columns)}"
        return
    for column in kind.columns:
        wanted = kind.types.get(column, "text")
        if not re.fullmatch(TAKEN[wanted], types[column]):
            yield f"column {column} is of the type {types[column]}, not {WRITTEN[wanted]}"


# SQL


def misfits(kind: Kind) -> dict[str, str]:
    """For each column that is more than text: what holds where it is given, and cannot be taken as its type."""
    return {column: f"{column} is not null and ({misfit(column, type_)})" for column, type_ in kind.types.items()}


def misfit(column: str, type_: str) -> str:
    """What holds where a value that is not null cannot be taken as the type."""
    cast = f"try_cast({column} as {type_})"
    if type_ == "integer":  # a cast would round
        return f"{cast} is null or {cast} is distinct from try_cast({column} as double)"
    return (
        f"coalesce({cast} not between date '0001-01-01' and date '9999-12-31', true)"
        # for the engine, this word is a date too
        f" or case when {cast} = date '1970-01-01' then contains(lower({column}::varchar), 'epoch') else false end"
    )


def trimmed_sql(column: str) -> str:
    """Trimming looks at every character; most ids need none, as their ends are plain ones."""
    white_space = " || ".join(f"chr({code_point})" for code_point in WHITE_SPACE)
    text = f"{column}::varchar"
    is_plain = " and ".join(f"({text})[{end}] between '!' and '~'" for end in (1, -1))
    return f"case when {is_plain} then {text} else trim({text}, {white_space}) end"
