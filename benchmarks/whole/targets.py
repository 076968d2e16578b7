"""What the pipeline aims at, read off the results."""

from __future__ import annotations

from whole.table import Results, Target, share

PIPELINE = "pipeline"
MILLION = 1_000_000


def first_load(events: int) -> str:
    """The name of its table."""
    return f"First load of {events:,} events"


def increment(events: int) -> str:
    """The name of a history in the table of increments."""
    return f"onto {events:,}"


INCREMENTS = "10,000 new events"
FIXED = "What a run costs at least"
SMALL = "100 lines a file"
MANY = "Files that are loaded already"
LOADING = "Loading alone"
DBT_RUN, NOTHING, HELP, STATUS, TINY = "dbt run", "nothing new", "podcast --help", "podcast status", "a tiny file"
SMALL_ONE, LOSSLESS, TYPED = "one file", "lossless", "typed read_ndjson"


def of(results: Results) -> list[Target]:
    """Every target, with what was measured of it."""
    first = [row for row in results.rows if row.name == PIPELINE and row.table.startswith("First load")]
    largest = max((row.rows or 0 for row in first), default=0)
    seconds = results.shares.get(first_load(10 * MILLION)) or results.shares.get(first_load(largest)) or {}
    suffix = "" if first_load(10 * MILLION) in results.shares else f" (of {largest:,})"
    nothing, many = _median(results, FIXED, NOTHING), next((r for r in results.rows if r.table == MANY), None)
    start = _median(results, FIXED, HELP)
    peaks = [peak for row in first for peak in row.peak_bytes]
    base = increment(100_000)
    loaded = next((row.rows or 0 for row in results.rows if row.table == LOADING), 0)
    return [
        Target(
            "first load of 10 million, by the hand-written script",
            results.ratio(first_load(10 * MILLION), PIPELINE),
            1.5,
        ),
        Target("first load of 1 million, by the hand-written script", results.ratio(first_load(MILLION), PIPELINE), 2),
        Target(
            "increment onto 10 million, by that onto 100,000",
            results.ratio(INCREMENTS, increment(10 * MILLION), base),
            1.2,
        ),
        Target(
            "increment onto 50 million, by that onto 100,000",
            results.ratio(INCREMENTS, increment(50 * MILLION), base),
            1.5,
        ),
        Target("a run with a tiny file, by `dbt run`", results.ratio(FIXED, TINY, DBT_RUN), 3),
        Target("a run with nothing new, after start-up", _after(nothing, start), 2, "s"),
        Target("`podcast --help`", start, 0.5, "s"),
        Target("`podcast status`", _median(results, FIXED, STATUS), 1, "s"),
        Target("1,000 files, by one with the same lines", _small(results), 1.5),
        Target(
            f"discovery of {many.name if many else '100,000 files'} that are loaded already",
            _after(many.median if many else None, start),
            5,
            "s",
        ),
        Target(f"gates and reports{suffix}", share(seconds, "gate ", "report"), 15, "%"),
        Target(f"publishing{suffix}", share(seconds, "publish"), 5, "%"),
        Target(
            f"peak memory of first loads of up to {largest:,} events", max(peaks) / 1e9 if peaks else None, 2.5, "GB"
        ),
        Target(
            f"speed of lossless loading of {loaded:,} events, by typed",
            results.ratio(LOADING, TYPED, LOSSLESS),
            0.85,
            better="higher",
        ),
    ]


def _median(results: Results, table: str, name: str) -> float | None:
    row = results.row(table, name)
    return row.median if row else None


def _after(seconds: float | None, start: float | None) -> float | None:
    """Start-up is what `podcast --help` takes."""
    return None if seconds is None else max(seconds - (start or 0), 0.0)


def _small(results: Results) -> float | None:
    names = [row.name for row in results.rows if row.table == SMALL and row.name != SMALL_ONE]
    return results.ratio(SMALL, names[0], SMALL_ONE) if names else None
