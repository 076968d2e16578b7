"""The pipeline's tables against the oracle's, row by row."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import marts_oracle
import oracle
import pytest

if TYPE_CHECKING:
    from histories import History

RAW = """
    select filename, line_number, event_type, user_id, episode_id, "timestamp", duration, rescued,
        rescued_bytes, is_malformed, load_at
    from bronze.raw_events
    where batch_id in (select max_by(batch_id, attempt) from ops.batches group by filename)
"""
EARLIER_ATTEMPTS = """
    select coalesce(sum(row_count), 0) from ops.batches
    where batch_id not in (select max_by(batch_id, attempt) from ops.batches group by filename)
"""
VALIDATED = "select filename, line_number, validation_errors, is_valid from bronze.validated_events"
SILVER = """
    select user_id, episode_id, event_type, "timestamp", duration, filename, line_number, load_at
    from silver.cleansed_events
"""
FACTS = """
    select user_id, episode_id, event_type, "timestamp", event_date, duration, load_at
    from gold.fact_user_interactions
"""

LOADED_BEFORE = """
    select load_at, status, row_count from ops.batches
    where batch_id not in (select max_by(batch_id, attempt) from ops.batches group by filename)
"""
QUALITY = f"""
    select load_date, batches, {", ".join(f"{state}_batches" for state in oracle.STATES)},
        received, malformed, invalid, {", ".join(oracle.CODES)}, duplicates, facts, held_back
    from gold.quality_daily order by load_date
"""


def write_reference_data(folder: Path, users: Iterable[Sequence[Any]], episodes: Iterable[Sequence[Any]]) -> Path:
    """users.csv and episodes.csv as a person would hand them over."""
    folder.mkdir(parents=True, exist_ok=True)
    headers = {
        "users.csv": ("user_id", "signup_date", "country"),
        "episodes.csv": ("episode_id", "podcast_id", "title", "release_date", "duration_seconds"),
    }
    for (name, header), rows in zip(headers.items(), (users, episodes), strict=True):
        with (folder / name).open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(header)
            writer.writerows(["" if value is None else value for value in row] for row in rows)
    return folder


def expected_world(
    warehouse: Path,
    contents: Mapping[str, bytes],
    users: list[Any],
    episodes: list[Any],
    *,
    decisions: Mapping[str, Any] | None = None,
) -> oracle.World:
    """What the oracle makes of the files, loaded when the ledger says they were."""
    rows = _rows(warehouse, "select filename, max_by(load_at, attempt) from ops.batches group by filename")
    batches = [oracle.Batch(name, contents[name], load_at, (decisions or {}).get(name)) for name, load_at in rows]
    return oracle.evaluate(batches, users, episodes, rules=oracle.Rules(), thresholds=oracle.Thresholds())


def assert_tables_equal(home: Path, world: oracle.World) -> None:
    """Every table of the contract, in the working database and in the published copy, equals the oracle's.

    The oracle knows the latest attempt at each file only; the lines of earlier ones are held back for good.
    """
    working = home / "warehouse" / "podcast.duckdb"
    published = home / "warehouse" / "published.duckdb"
    statuses = dict(_rows(working, "select filename, max_by(status, attempt) from ops.batches group by 1"))
    assert statuses == world.statuses
    _assert_same(
        _rows(working, RAW),
        [
            (
                r.filename, r.line_number, r.event_type, r.user_id, r.episode_id, r.timestamp, r.duration,
                r.rescued, r.rescued_bytes, r.malformed, r.load_at,
            )
            for r in world.raw
        ],
    )  # fmt: skip
    _assert_same(
        [(f, n, tuple(codes), valid) for f, n, codes, valid in _rows(working, VALIDATED)],
        [(r.filename, r.line_number, tuple(codes), not codes) for r, codes in world.validated],
    )
    loaded = dict(_rows(working, "select filename, max_by(load_at, attempt) from ops.batches group by filename"))
    lines = Counter(row.filename for row in world.raw)
    latest = [(loaded[name], str(state), lines[name]) for name, state in world.statuses.items()]
    for database in (working, published):
        _assert_silver_and_gold(database, world)
        _assert_quality(database, world, [*latest, *_rows(working, LOADED_BEFORE)])
    (counts,) = _rows(
        published,
        """
        select total_lines, total_malformed, total_invalid, total_duplicates, total_facts, total_held_back
        from ops.runs where status = 'passed' order by started_at desc limit 1
        """,
    )
    a, ((earlier,),) = world.accounting, _rows(working, EARLIER_ATTEMPTS)
    assert counts == (
        a.lines + earlier, a.malformed, a.invalid, a.duplicates, a.facts, a.held_back + earlier,
    )  # fmt: skip


def _assert_silver_and_gold(database: Path, world: oracle.World) -> None:
    _assert_same(
        _rows(database, SILVER),
        [
            (
                s.user_id,
                s.episode_id,
                s.event_type,
                s.timestamp,
                s.duration,
                s.filename,
                s.line_number,
                s.load_at,
            )
            for s in world.silver
        ],
    )
    _assert_same(
        _rows(database, FACTS),
        [
            (f.user_id, f.episode_id, f.event_type, f.timestamp, f.event_date, f.duration, f.load_at)
            for f in world.facts
        ],
    )
    _assert_same(
        _rows(database, "select user_id, signup_date, country, is_inferred from gold.dim_users"),
        world.dim_users,
    )
    _assert_same(
        _rows(
            database,
            "select episode_id, podcast_id, title, release_date, duration_seconds, is_inferred from gold.dim_episodes",
        ),
        world.dim_episodes,
    )
    top = _rows(
        database,
        "select episode_id, title, podcast_id, completion_count from gold.top_completed_episodes "
        "order by completion_count desc, episode_id",
    )
    assert top == [tuple(row) for row in world.top_completed_episodes]
    rates = _rows(
        database,
        "select country, avg_listen_through_rate, completion_count from gold.listen_through_by_country order by 1",
    )
    expected = sorted(world.listen_through_by_country)
    assert [(c, n) for c, _, n in rates] == [(c, n) for c, _, n in expected]
    assert [r for _, r, _ in rates] == pytest.approx([r for _, r, _ in expected], rel=1e-9)
    _assert_same(
        _rows(database, "select event_date, listener_count from gold.multi_episode_listeners_daily"),
        world.multi_episode_listeners_daily,
    )
    assert_marts(database, world)


VERSIONS = "select episode_id, duration_seconds, dbt_valid_from from silver.episodes_history"


def assert_marts(database: Path, world: oracle.World, rules: marts_oracle.MartRules | None = None) -> None:
    """Every mart, by the lengths that the history of the episodes has."""
    versions = [marts_oracle.Version(*row) for row in _rows(database, VERSIONS)]
    marts = marts_oracle.evaluate_marts(
        world.facts, world.dim_users, world.dim_episodes, versions, rules or marts_oracle.MartRules()
    )
    for table in marts_oracle.ROWS:
        names = marts_oracle.columns(table)
        found = _rows(database, f"select {', '.join(names)} from gold.{table}")
        assert_nearly_same(found, marts_oracle.rows(marts, table), table)


def assert_nearly_same(found: Iterable[Sequence[Any]], expected: Iterable[Sequence[Any]], table: str) -> None:
    """The same rows in any order, numbers with a fraction to nine digits; all else identifies a row."""
    ours, theirs = (sorted(map(_parted, rows), key=lambda parts: _sort_key(parts[0])) for rows in (found, expected))
    assert [exact for exact, _ in ours] == [exact for exact, _ in theirs], table
    for (exact, number), (_, other) in zip(ours, theirs, strict=True):
        assert number == pytest.approx(other, rel=1e-9), (table, exact)


def _parted(row: Sequence[Any]) -> tuple[list[Any], list[float]]:
    """What is compared as it is, with a mark in place of each float, and the floats."""
    return (
        [float if isinstance(value, float) else value for value in row],
        [value for value in row if isinstance(value, float)],
    )


def _assert_quality(database: Path, world: oracle.World, attempts: Iterable[tuple[Any, ...]]) -> None:
    """Every day of loading, with every line in one place."""
    days = oracle.quality_daily(world, attempts)
    assert _rows(database, QUALITY) == [
        (
            d.load_date, d.batches, *d.states, d.received, d.malformed, d.invalid, *d.codes,
            d.duplicates, d.facts, d.held_back,
        )
        for d in days
    ]  # fmt: skip
    assert [d for d in days if d.received != d.malformed + d.invalid + d.duplicates + d.facts + d.held_back] == []


def snapshot(database: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Silver and gold, whole, in an order of their own; but for the histories, which know when a run saw something."""
    with duckdb.connect(str(database), read_only=True) as connection:
        tables = connection.execute(
            "select schema_name || '.' || table_name from duckdb_tables() "
            "where schema_name in ('silver', 'gold') and table_name not like '%_history'"
        ).fetchall()
        return {t: sorted(connection.execute(f"from {t}").fetchall(), key=_sort_key) for (t,) in sorted(tables)}


def _rows(database: Path, sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(database), read_only=True) as connection:
        return connection.execute(sql).fetchall()


def _assert_same(found: Iterable[Sequence[Any]], expected: Iterable[Sequence[Any]]) -> None:
    assert sorted(map(tuple, found), key=_sort_key) == sorted((_plain(r) for r in expected), key=_sort_key)


def _plain(row: Any) -> tuple[Any, ...]:
    return tuple(row) if isinstance(row, tuple | list) else tuple(getattr(row, f) for f in row.__slots__)


def _sort_key(row: Sequence[Any]) -> list[tuple[str, str]]:
    return [(type(v).__name__, v.isoformat() if isinstance(v, date | datetime) else repr(v)) for v in row]


def assert_history_equals(home: Path, history: History) -> None:
    """Every table of the contract, in both databases, equals what the model makes of all attempts."""
    working = home / "warehouse" / "podcast.duckdb"
    published = home / "warehouse" / "published.duckdb"
    world = history.world()
    expected = {(a.filename, a.number): (a.status, a.lines() or 0) for a in history.all_attempts()}
    for database in (working, published):
        rows = _rows(database, "select filename, attempt, status, row_count from ops.batches")
        assert {(name, attempt): tuple(rest) for name, attempt, *rest in rows} == expected
        _assert_silver_and_gold(database, world)
        _assert_quality(database, world, [(a.load_at, a.status, a.lines() or 0) for a in history.all_attempts()])
    assert _rows(working, "select count(*) from ops.batches where pending") == [(0,)]
    _assert_same(
        [(f, n, tuple(codes), valid) for f, n, codes, valid in _rows(working, VALIDATED)],
        [(r.filename, r.line_number, tuple(codes), not codes) for r, codes in world.validated],
    )
    _assert_raw_lines(working, history)
    lines, accepted = sum(n for _, n in expected.values()), world.accounting
    totals = (
        lines, accepted.malformed, accepted.invalid, accepted.duplicates, accepted.facts, lines - accepted.lines,
    )  # fmt: skip
    if expected:
        assert _rows(published, TOTALS) == [totals]


TOTALS = """
    select total_lines, total_malformed, total_invalid, total_duplicates, total_facts, total_held_back
    from ops.runs where status = 'passed' order by started_at desc limit 1
"""
KEPT_RAW = """
    select raw_events.filename, attempt, line_number, raw_events.event_type, user_id, episode_id, "timestamp",
        duration, rescued, rescued_bytes, raw_events.load_at
    from bronze.raw_events inner join ops.batches using (batch_id)
"""


def _assert_raw_lines(working: Path, history: History) -> None:
    """Every line of every attempt, as it came, but for those that were pruned, which nothing public rests on."""
    pruned = set(_rows(working, "select filename, attempt from ops.batches where raw_pruned_at is not null"))
    kept = [a for a in history.all_attempts() if (a.filename, a.number) not in pruned]
    assert {a.status for a in history.all_attempts() if a not in kept} <= {"superseded", "discarded"}
    _assert_same(
        _rows(working, KEPT_RAW),
        [
            (
                r.filename, a.number, r.line_number, r.event_type, r.user_id, r.episode_id, r.timestamp,
                r.duration, r.rescued, r.rescued_bytes, r.load_at,
            )
            for a in kept
            if a.lines()
            for r in oracle.read_lines(a.filename, a.content, a.load_at)
        ],
    )  # fmt: skip
