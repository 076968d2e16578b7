"""The working database: connections, transactions, the tables that Python writes, and the writer lock."""

from __future__ import annotations

import atexit
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.errors import WarehouseLockedError

if TYPE_CHECKING:
    import duckdb

    from flows.settings import Settings

TABLES = """
create schema if not exists bronze;
create schema if not exists silver;
create schema if not exists gold;
create schema if not exists ops;
create table if not exists bronze.raw_events (
    batch_id varchar, filename varchar, line_number bigint,
    event_type varchar, user_id varchar, episode_id varchar, "timestamp" varchar, duration varchar,
    rescued varchar, rescued_bytes blob, is_malformed boolean, has_further_keys boolean, load_at timestamp
);
create table if not exists ops.batches (
    batch_id varchar, filename varchar, attempt integer, content_hash varchar, size_bytes bigint,
    status varchar, gate varchar, reason varchar, detail varchar, decision varchar, decided_by varchar,
    row_count bigint, malformed_count bigint, invalid_count bigint, mutates varchar, pending boolean,
    fingerprint varchar, run_id varchar, load_at timestamp, updated_at timestamp
);
create table if not exists ops.runs (
    run_id varchar, started_at timestamp, finished_at timestamp, status varchar, message varchar,
    batches bigint, published_batches bigint, quarantined_batches bigint,
    lines bigint, malformed bigint, invalid bigint, duplicates bigint, facts bigint, held_back bigint,
    total_lines bigint, total_malformed bigint, total_invalid bigint, total_duplicates bigint,
    total_facts bigint, total_held_back bigint, inputs_hash varchar
);
create table if not exists ops.validation_results (
    run_id varchar, checkpoint varchar, expectation varchar, severity varchar, batch_id varchar,
    success boolean, observed varchar, threshold varchar, checked_at timestamp
);
"""


def _silence_exit() -> None:
    """The DuckDB module prints about its own memory when the interpreter ends; nobody can act on that."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


atexit.register(_silence_exit)


def utc_now() -> datetime:
    """The time in UTC without a zone, as the warehouse stores it."""
    return datetime.now(UTC).replace(tzinfo=None)


@contextmanager
def connect(settings: Settings) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection to the working database with its tables in place; made on first use."""
    import duckdb

    settings.warehouse_path.parent.mkdir(parents=True, exist_ok=True)
    try:
        connection = duckdb.connect(str(settings.warehouse_path))
    except duckdb.IOException as error:
        raise WarehouseLockedError(_opened_elsewhere(settings.warehouse_path, error)) from None
    try:
        connection.execute(f"set memory_limit = '{settings.memory_limit}'")
        # Order is carried by columns; keeping it in storage too costs a slower checkpoint and a larger file.
        connection.execute("set preserve_insertion_order = false")
        connection.execute("set enable_progress_bar = false")
        connection.execute(TABLES)
        yield connection
    finally:
        connection.close()


@contextmanager
def transaction(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Commit on success, roll back on any exception."""
    connection.execute("begin")
    try:
        yield
    except BaseException:
        connection.execute("rollback")
        raise
    connection.execute("commit")


def read_dicts(
    connection: duckdb.DuckDBPyConnection, sql: str, parameters: list[Any] | None = None
) -> list[dict[str, Any]]:
    """The rows of a small result, each as a dictionary by column name."""
    cursor = connection.execute(sql, parameters or [])
    names = [column[0] for column in cursor.description or ()]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


@contextmanager
def writer_lock(settings: Settings, *, purpose: str) -> Iterator[None]:
    """Hold the one right to write the warehouse; the operating system lets go of it when the process ends.

    Raises `WarehouseLockedError` at once, naming the holder, when another process has it.
    """
    from filelock import FileLock, Timeout

    path = settings.home / "warehouse" / "writer.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    holder = path.with_suffix(".json")
    lock = FileLock(path, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise WarehouseLockedError(
            f"The warehouse {settings.warehouse_path} is being written by {_holder(holder)}. "
            "Nothing was changed; wait until it has finished and try again."
        ) from None
    try:
        holder.write_text(
            json.dumps(
                {
                    "host": socket.gethostname(),
                    "pid": os.getpid(),
                    "purpose": purpose,
                    "since": utc_now().isoformat(timespec="seconds"),
                }
            )
        )
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def lock_holder(settings: Settings) -> str:
    """Who writes the warehouse now, in words."""
    return _holder(settings.home / "warehouse" / "writer.json")


def _holder(path: Path) -> str:
    try:
        held = json.loads(path.read_text())
        return f"process {held['pid']} on {held['host']} ({held['purpose']}, since {held['since']} UTC)"
    except (OSError, ValueError, KeyError):
        return "another process"


def _opened_elsewhere(path: Path, error: Exception) -> str:
    first_line = str(error).splitlines()[0]
    return (
        f"The warehouse {path} cannot be opened: {first_line} "
        "Only the pipeline may open it; to query, open published.duckdb beside it read-only."
    )
