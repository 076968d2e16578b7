"""Whether the hand-written script has made the tables that the pipeline published, row by row."""

from __future__ import annotations

from pathlib import Path

import duckdb

from flows.publish import TABLES

BRONZE = "bronze.validated_events"
"""Not published: that of the working database."""
COMPARED = (
    BRONZE,
    "silver.users",
    "silver.episodes",
    "silver.cleansed_events",
    *(table for table in TABLES if table.startswith("gold.")),
)
LEFT_OUT = frozenset({"key_hash"})
"""Columns that only a warehouse with increments has a use for: by these it finds what to replace."""
EXACT_TO = 12
"""Digits of floating point numbers: some are sums whose order is the engine's."""


def differences(home: Path, by_hand: Path) -> dict[str, tuple[int, int]]:
    """Rows of each table that only the pipeline has, and that only the script has; without those that are equal.

    Times of loading are compared as the files that were loaded then, and their dates not at all.
    """
    with duckdb.connect() as connection:
        connection.execute("set preserve_insertion_order = false; set memory_limit = '4GB'; set TimeZone = 'UTC'")
        warehouse = home / "warehouse"
        for path, name in (
            (warehouse / "podcast.duckdb", "working"),
            (warehouse / "published.duckdb", "published"),
            (by_hand, "by_hand"),
        ):
            connection.execute(f"attach '{path}' as {name} (read_only)")
        for name, loaded in (("published", "published.ops.batches"), ("by_hand", f"by_hand.{BRONZE}")):
            connection.execute(
                f"create temp table loads_{name} as "
                f"select load_at, max(filename) as filename from {loaded} group by load_at"
            )
        found = {table: _difference(connection, table) for table in COMPARED}
    return {table: counts for table, counts in found.items() if counts != (0, 0)}


def _difference(connection: duckdb.DuckDBPyConnection, table: str) -> tuple[int, int]:
    ours = f"{'working' if table == BRONZE else 'published'}.{table}"
    columns = [name for name in _columns(connection, ours) if name not in LEFT_OUT]
    pipeline = _rows(connection, ours, columns, "published")
    script = _rows(connection, f"by_hand.{table}", columns, "by_hand")
    return _count(connection, pipeline, script), _count(connection, script, pipeline)


def _columns(connection: duckdb.DuckDBPyConnection, table: str) -> dict[str, str]:
    return {name: kind for name, kind, *_ in connection.execute(f"describe {table}").fetchall()}


def _rows(connection: duckdb.DuckDBPyConnection, table: str, columns: list[str], loads: str) -> str:
    """The rows in the form in which they are compared."""
    kinds = _columns(connection, table)
    terms = [_term(name, kinds.get(name), loads) for name in columns]
    return f"select {', '.join(terms)} from {table} as compared"


def _term(name: str, kind: str | None, loads: str) -> str:
    if kind is None:
        return f"'there is no such column' as {name}"
    if name == "load_date":
        return "null as load_date"
    if name in ("load_at", "last_load_at"):
        return f"(select filename from loads_{loads} as loads where loads.load_at = compared.{name}) as {name}"
    if kind == "DOUBLE":
        return f"""printf('%.{EXACT_TO}g', "{name}") as {name}"""
    return f'"{name}"'


def _count(connection: duckdb.DuckDBPyConnection, these: str, those: str) -> int:
    row = connection.execute(f"select count(*) from ({these} except all {those})").fetchone()
    return int(row[0]) if row else 0
