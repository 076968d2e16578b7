"""A home over the whole sample, and what has become of it, whichever engine builds its tables."""

from __future__ import annotations

from typing import Any

import duckdb
from engine_place import SAMPLE, Place, counted, land

HELD_BACK, DISCARDED = "2024-01-11/events-0004.json", "2024-01-08/events-0001.json"


def land_sample(place: Place) -> None:
    for path in sorted(path for path in SAMPLE.rglob("*") if path.is_file()):
        land(place, path.relative_to(SAMPLE), path.read_bytes())


def state(place: Place) -> tuple[Any, ...]:
    """What the ledger says of each file, and what has become of all lines by the last run that published."""
    with duckdb.connect(str(place.home / "warehouse" / "podcast.duckdb"), read_only=True) as connection:
        batches = "filename, attempt, status, reason, row_count, invalid_count, raw_pruned_at is null, pending"
        ledger = connection.execute(f"select {batches} from ops.batches order by all").fetchall()
    with duckdb.connect(str(place.home / "warehouse" / "published.duckdb"), read_only=True) as connection:
        totals = "total_lines, total_malformed, total_invalid, total_duplicates, total_facts, total_held_back"
        last = f"select {totals} from ops.runs order by finished_at desc limit 1"
        return ledger, connection.execute(last).fetchall(), facts(place)


def facts(place: Place) -> int:
    return counted(place)["gold.fact_user_interactions"]


def raw_lines(place: Place) -> int:
    with duckdb.connect(str(place.home / "warehouse" / "podcast.duckdb"), read_only=True) as connection:
        return int(connection.execute("select count(*) from bronze.raw_events").fetchall()[0][0])
