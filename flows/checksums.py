"""Checksums of a table that two engines work out alike, each over its own rows, whatever order these are in.

A value is written as a text that both engines write alike, and the first 60 bits of its MD5 are a number; these numbers
are summed, for each column and for whole rows, since a column's sum does not see values that have changed their rows.
Nothing is rounded: of a double it is the bits that count, of a timestamp its microseconds. Pure: it makes SQL, and
compares what that gives.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from flows.spark_tables import as_signed

Columns = Sequence[tuple[str, str]]
"""Names and types, these as DuckDB calls them."""


@dataclass(frozen=True)
class Dialect:
    """How an engine writes what the checksums are made of; `{}` is the column, or the expression."""

    quote: str
    """What names stand in."""
    text: str
    """Of a whole number, or of whether something is so."""
    day: str
    """Days since 1970 of a date."""
    instant: str
    """Microseconds since 1970 of a timestamp."""
    bits: str
    """Of a double as a whole number; every one that is no number has the same."""
    texts: str
    """Of an array of texts one text, from which no other array gives the same."""
    number: str
    """The first 60 bits of the MD5 of a text."""


DUCKDB = Dialect(
    quote='"',
    text="cast({} as varchar)",
    day="cast(date_diff('day', date '1970-01-01', {}) as varchar)",
    instant="cast(epoch_us({}) as varchar)",
    bits="case when isnan({0}) then 'nan' else cast(cast(cast({0} as bit) as bigint) as varchar) end",
    texts="array_to_string(list_transform({}, lambda one: coalesce(md5(one), '-')), ',')",
    number="cast('0x' || substr(md5({}), 1, 15) as bigint)",
)
SPARK = Dialect(
    quote="`",
    text="cast({} as string)",
    day="cast(datediff({}, date '1970-01-01') as string)",
    instant="cast(unix_micros(cast({} as timestamp_ltz)) as string)",
    bits="case when {0} is null then null when isnan({0}) then 'nan' "
    "else reflect('java.lang.Double', 'doubleToLongBits', {0}) end",
    texts="array_join(transform({}, one -> coalesce(md5(one), '-')), ',')",
    number="cast(conv(substr(md5({}), 1, 15), 16, 10) as bigint)",
)

_WHOLE = re.compile(r"boolean|u?(tiny|small|big|huge)int|u?integer|decimal\(\d+,\s*0\)")
_KINDS = {"date": "day", "timestamp": "instant", "double": "bits", "varchar[]": "texts"}


def is_known(type_: str) -> bool:
    """Whether columns of this type can be compared."""
    return type_ in ("varchar", "blob", *_KINDS) or bool(_WHOLE.fullmatch(type_))


def query(relation: str, columns: Columns, dialect: Dialect) -> str:
    """The SQL of one row: how many rows, the sum over whole rows, and of each column how many values and their sum."""
    numbers = ", ".join(f"{_number(name, type_, dialect)} as h{at}" for at, (name, type_) in enumerate(columns))
    names = [f"h{at}" for at in range(len(columns))]
    parts = " || ',' || ".join(f"coalesce({dialect.text.format(name)}, '-')" for name in names)
    sums = ", ".join(f"count({name}), {_sum(name)}" for name in names)
    return f"select count(*), {_sum(dialect.number.format(parts))}, {sums} from (select {numbers} from {relation}) as h"


def _number(name: str, type_: str, dialect: Dialect) -> str:
    column = f"{dialect.quote}{name}{dialect.quote}"
    if type_ in ("varchar", "blob"):
        return dialect.number.format(column)
    if type_ == "ubigint":
        column = as_signed(column)
    return dialect.number.format(str(getattr(dialect, _KINDS.get(type_, "text"))).format(column))


def _sum(number: str) -> str:
    return f"sum(cast({number} as decimal(38, 0)))"


@dataclass(frozen=True)
class Sums:
    """What an engine has worked out of a table of its own."""

    rows: int
    whole: int
    columns: dict[str, tuple[int, int]]
    """By column, the number of its values that are not null, and their sum."""

    @property
    def checksum(self) -> str:
        """The sum over whole rows, as it is shown."""
        return f"{self.whole:x}"


def read(row: Sequence[object], columns: Columns) -> Sums:
    """What the query has given; a sum of nothing is 0."""
    rows, whole, *rest = (int(str(value)) if value is not None else 0 for value in row)
    pairs = zip(rest[::2], rest[1::2], strict=True)
    return Sums(rows, whole, {name: pair for (name, _), pair in zip(columns, pairs, strict=True)})


@dataclass(frozen=True)
class Difference:
    """Where two engines differ in a table, and what each of them has found there."""

    relation: str
    where: str
    here: str
    there: str
    engine: str = "Spark"
    """Which is not DuckDB."""

    def __str__(self) -> str:
        """The difference in words; the first is what DuckDB has."""
        return f"{self.relation}, {self.where}: {self.here} in DuckDB, {self.there} on {self.engine}"


def differences(relation: str, here: Sums, there: Sums, *, engine: str = "Spark") -> list[Difference]:
    """Everything that is not the same; whole rows only where no column says which one it is."""
    found = (
        [Difference(relation, "rows", f"{here.rows:,}", f"{there.rows:,}", engine)] if here.rows != there.rows else []
    )
    for name in sorted({*here.columns, *there.columns}):
        ours, theirs = here.columns.get(name), there.columns.get(name)
        if ours != theirs:
            found.append(Difference(relation, f"column {name}", _shown(ours), _shown(theirs), engine))
    if not found and here.whole != there.whole:
        found.append(Difference(relation, "which values stand in one row", here.checksum, there.checksum, engine))
    return found


def _shown(column: tuple[int, int] | None) -> str:
    return "no such column" if column is None else f"checksum {column[1]:x} of {column[0]:,} values"
