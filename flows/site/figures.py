"""The figures of the site, each from a query on tables that are published too."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flows.domain import VALIDATION_CODES
from flows.warehouse import read_dicts

if TYPE_CHECKING:
    import duckdb

TREND_RUNS = 30
"""Runs that the trends go back."""
LONG_HOURS = 72
"""From which an age is given in days."""

KINDS = {
    "facts": "facts",
    "duplicates": "duplicates",
    "invalid": "invalid",
    "malformed": "malformed",
    "held_back": "held back",
}
"""Where a line can be, by column of `ops.runs`."""


@dataclass(frozen=True)
class Series:
    """One value for each label of its chart; None where there is none."""

    name: str
    values: tuple[float | None, ...]


@dataclass(frozen=True)
class Chart:
    """Bars of several series on top of each other, or lines where `is_line`; labels are ends of runs (UTC)."""

    key: str
    title: str
    unit: str
    labels: tuple[str, ...]
    series: tuple[Series, ...]
    is_line: bool = False
    is_sideways: bool = False

    @property
    def rows(self) -> list[tuple[Any, ...]]:
        """The same as a table: label, and a value for each series."""
        return list(zip(self.labels, *(s.values for s in self.series), strict=True))


def charts(connection: duckdb.DuckDBPyConnection, runs: Sequence[dict[str, Any]]) -> list[Chart]:
    """The trends over runs as `last_passed` gives them; none where there is none, when tables may be missing too."""
    if not runs:
        return []
    ids = [run["run_id"] for run in runs]
    labels = tuple(f"{run['finished_at']:%Y-%m-%d %H:%M:%S}" for run in runs)
    return [
        Chart("volume", "Lines by where they went", "lines", labels, _kinds(runs)),
        Chart("invalid", "Share of lines by validation code", "%", labels, _codes(connection, ids)),
        _freshness(runs, labels),
        Chart("steps", "Duration of the steps", "seconds", labels, _steps(connection, ids)),
    ]


def last_passed(connection: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    """The last runs that passed, oldest first, as rows of `ops.runs`."""
    return read_dicts(
        connection,
        """
        select * from (
            select * from ops.runs where status = 'passed' order by finished_at desc, run_id limit ?
        ) order by finished_at, run_id
        """,
        [TREND_RUNS],
    )


def funnel(run: dict[str, Any]) -> Chart:
    """Where the lines of a run are now, and all lines ever loaded; the kinds add up to all lines."""
    series = tuple(
        Series(name, (_share(run[f"total_{column}"], run["total_lines"]), _share(run[column], run["lines"])))
        for column, name in KINDS.items()
    )
    return Chart("funnel", "Where every line went", "%", ("warehouse", "this run"), series, is_sideways=True)


def _kinds(runs: Sequence[dict[str, Any]]) -> tuple[Series, ...]:
    return tuple(Series(name, tuple(run[column] for run in runs)) for column, name in KINDS.items())


def _freshness(runs: Sequence[dict[str, Any]], labels: tuple[str, ...]) -> Chart:
    """Time between the newest fact and the end of the run, in hours, or in days where it is long."""
    pairs = [(run["finished_at"], run["newest_event_at"]) for run in runs]
    ages = [(finished_at - newest).total_seconds() if newest else None for finished_at, newest in pairs]
    is_long = max((age for age in ages if age), default=0) > LONG_HOURS * 3600
    unit, seconds = ("days", 86400) if is_long else ("hours", 3600)
    values = tuple(None if age is None else round(age / seconds, 2) for age in ages)
    title = "Age of the newest published event"
    return Chart("freshness", title, unit, labels, (Series("age", values),), is_line=True)


def _codes(connection: duckdb.DuckDBPyConnection, run_ids: Sequence[str]) -> tuple[Series, ...]:
    """Per cent of the lines that each run loaded; a line with two codes counts for both."""
    sums = ", ".join(f"sum({code}) as {code}" for code in VALIDATION_CODES)
    rows = read_dicts(
        connection,
        f"""
        select batches.run_id, sum(batch_profiles.lines) as lines, {sums}
        from ops.batches
        inner join ops.batch_profiles on batches.batch_id = batch_profiles.batch_id
        where batches.run_id in (select unnest(?::varchar[]))
        group by batches.run_id
        """,
        [list(run_ids)],
    )
    by_run = {row["run_id"]: row for row in rows}
    return _series(
        VALIDATION_CODES,
        run_ids,
        lambda code, run_id: _share(by_run[run_id][code], by_run[run_id]["lines"]) if run_id in by_run else None,
    )


def _steps(connection: duckdb.DuckDBPyConnection, run_ids: Sequence[str]) -> tuple[Series, ...]:
    rows = read_dicts(
        connection,
        "select run_id, step, seconds from ops.run_steps where run_id in (select unnest(?::varchar[])) "
        "order by position, step",
        [list(run_ids)],
    )
    seconds = {(row["step"], row["run_id"]): round(row["seconds"], 3) for row in rows}
    return _series(
        dict.fromkeys(row["step"] for row in rows), run_ids, lambda step, run_id: seconds.get((step, run_id))
    )


def _series(
    names: Iterable[str], run_ids: Sequence[str], value: Callable[[str, str], float | None]
) -> tuple[Series, ...]:
    """A series for each name, without those that have nothing to show."""
    found = (Series(name.replace("_", " "), tuple(value(name, run_id) for run_id in run_ids)) for name in names)
    return tuple(series for series in found if any(series.values))


def _share(part: int, whole: int) -> float | None:
    """Per cent, of more than nothing."""
    return round(100 * part / whole, 3) if whole else None
