"""The published copy, opened in an engine of its own that reads this one file and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flows import faults, warehouse

if TYPE_CHECKING:
    import duckdb

    from flows.settings import Settings


def open_published(settings: Settings, *, memory_limit: str, threads: int) -> duckdb.DuckDBPyConnection:
    """A connection whose schemas are `published.gold` and so on; it keeps what it opened when the file is replaced.

    Not opened by its path alone: the engine would give whoever opens that path again the file it has open already.
    Raises `DamagedWarehouseError`.
    """
    import duckdb

    connection = duckdb.connect(config=warehouse.CONFIGURATION)
    try:
        _attach(settings, connection, memory_limit=memory_limit, threads=threads)
        is_whole = not warehouse.missing_bytes(connection, settings.published_path)
    except (duckdb.Error, OSError):
        is_whole = False
    if not is_whole:
        connection.close()
        raise faults.damaged_copy(settings)
    return connection


def _attach(settings: Settings, connection: duckdb.DuckDBPyConnection, *, memory_limit: str, threads: int) -> None:
    path = str(settings.published_path).replace("'", "''")
    for statement in (
        f"set memory_limit = '{memory_limit}'",
        f"set threads = {threads}",
        "set temp_directory = ''",
        "set TimeZone = 'UTC'",
        "set enable_progress_bar = false",
        f"attach '{path}' as published (read_only)",
        "use published",
        "set enable_external_access = false",
        "set lock_configuration = true",
    ):
        connection.execute(statement)
