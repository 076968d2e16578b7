"""The golden week: a landing small enough to check by eye, and what every mart says of it.

`tests/golden/week` has the landing and, in prose, who listened to what; `expected` in it has a file for each table.
The files are sorted, null is an empty cell, floats have 6 digits. After a change of a definition, rewrite them with

    .venv/bin/python tests/golden_week.py --rewrite

and check each difference against the prose. Without `--rewrite`, differences are shown and nothing is written.

A test of another reading of the definitions hands over what it found, with the names of its columns:

    assert golden_week.differences("episode_daily", columns, rows) == []
"""

import csv
import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime
from pathlib import Path

import marts_oracle
import oracle

FOLDER = Path(__file__).parent / "golden" / "week"
"""`events.ndjson` with the reference data beside it."""
EXPECTED = FOLDER / "expected"
EVENTS = "events.ndjson"
TABLES = tuple(marts_oracle.ROWS)

DIGITS = 6
LOAD_AT = datetime(2024, 2, 1, tzinfo=UTC)
"""Any time after the week will do: no expected column tells it."""
NOT_COMPARED = ("last_load_at",)

Row = tuple[str, ...]


# --- The landing --------------------------------------------------------------------------------


def users() -> list[oracle.User]:
    return [(user_id, _day(signup), country or None) for user_id, signup, country in _cells(FOLDER / "users.csv")]


def episodes() -> list[oracle.Episode]:
    return [
        (episode_id, podcast_id or None, title or None, _day(release), int(seconds) if seconds else None)
        for episode_id, podcast_id, title, release, seconds in _cells(FOLDER / "episodes.csv")
    ]


def world() -> oracle.World:
    """The facts and dimensions of the week."""
    batch = oracle.Batch(EVENTS, (FOLDER / EVENTS).read_bytes(), LOAD_AT)
    return oracle.evaluate([batch], users(), episodes(), rules=oracle.Rules(), thresholds=oracle.Thresholds())


def marts() -> marts_oracle.Marts:
    """What the oracle makes of the week; each episode has one version, seen when the week was loaded."""
    week = world()
    versions = [
        marts_oracle.Version(episode_id, seconds, oracle.utc(LOAD_AT)) for episode_id, *_, seconds in episodes()
    ]
    return marts_oracle.evaluate_marts(
        week.facts, week.dim_users, week.dim_episodes, versions, marts_oracle.MartRules()
    )


def _day(text: str) -> date | None:
    return date.fromisoformat(text) if text else None


def _cells(path: Path) -> Iterator[list[str]]:
    """The records of a file without its header."""
    with path.open(newline="", encoding="utf-8") as file:
        yield from list(csv.reader(file))[1:]


# --- The expected files -------------------------------------------------------------------------


def header(table: str) -> list[str]:
    return [column for column in marts_oracle.columns(table) if column not in NOT_COMPARED]


def expected(table: str) -> list[Row]:
    """The rows as they stand in the file; raises ValueError where its columns are others."""
    with (EXPECTED / f"{table}.csv").open(newline="", encoding="utf-8") as file:
        found, *rows = csv.reader(file)
    if found != header(table):
        raise ValueError(f"{table}.csv has the columns {found}, not {header(table)}: see the docstring of golden_week")
    return [tuple(row) for row in rows]


def differences(table: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """The rows that the expected file lacks, and those of it that are not there; columns it lacks are passed over."""
    missing = expected(table)
    more = []
    for row in (_written(row) for row in _picked(table, columns, rows)):
        same = next((other for other in missing if _same(row, other)), None)
        if same is None:
            more.append(row)
        else:
            missing.remove(same)
    return [f"{table}: not expected {row}" for row in more] + [f"{table}: not found {row}" for row in missing]


def rewrite() -> None:
    """Write what the oracle says now over the expected files."""
    found = marts()
    EXPECTED.mkdir(exist_ok=True)
    for table in TABLES:
        rows = _picked(table, marts_oracle.columns(table), marts_oracle.rows(found, table))
        with (EXPECTED / f"{table}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(header(table))
            writer.writerows(_written(row) for row in rows)


def _picked(table: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[list[object]]:
    positions = [list(columns).index(column) for column in header(table)]
    return ([row[position] for position in positions] for row in rows)


def _written(row: Iterable[object]) -> Row:
    return tuple(_text(value) for value in row)


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.{DIGITS}f}"
    return value.isoformat(" ") if isinstance(value, datetime) else str(value)


def _same(found: Row, expected: Row) -> bool:
    return all(one == other or _close(one, other) for one, other in zip(found, expected, strict=True))


def _close(one: str, other: str) -> bool:
    """Whether both are floats that differ in how the last digit was rounded."""
    try:
        are_floats = "." in one and "." in other
        return are_floats and math.isclose(float(one), float(other), rel_tol=0, abs_tol=1.5 * 10**-DIGITS)
    except ValueError:
        return False


def main(arguments: Sequence[str]) -> int:
    """0 where the expected files say what the oracle says."""
    if list(arguments) == ["--rewrite"]:
        rewrite()
        return 0
    found = marts()
    wrong = [
        text
        for table in TABLES
        for text in differences(table, marts_oracle.columns(table), marts_oracle.rows(found, table))
    ]
    sys.stdout.writelines(f"{text}\n" for text in wrong)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
