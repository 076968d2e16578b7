"""The working database: connections, transactions, the tables that Python writes, and the writer lock."""

from __future__ import annotations

import atexit
import json
import os
import shlex
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows import faults
from flows.errors import BackupError, PipelineError, WarehouseLockedError

if TYPE_CHECKING:
    import duckdb
    from filelock import BaseFileLock

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
create table if not exists ops.run_steps (
    run_id varchar, step varchar, position integer, seconds double
);
create table if not exists ops.revalidations (
    run_id varchar, batch_id varchar, filename varchar, rules_before varchar, rules_after varchar,
    status_before varchar, reason_before varchar, status_after varchar, reason_after varchar,
    invalid_before bigint, invalid_after bigint, rows_changed bigint, judged_at timestamp
);
create table if not exists ops.reference_versions (
    content_hash varchar, seen_at timestamp, is_built boolean, pending boolean
);
create table if not exists ops.gold_versions (version varchar);
create table if not exists ops.publishing (run_id varchar);
create table if not exists ops.published_files (fingerprint varchar);
create table if not exists ops.unpublished_models (relation varchar, strategy varchar, unique_key varchar);
create table if not exists ops.unpublished_keys (key_hash ubigint, event_at timestamp);
create table if not exists ops.unpublished_listening (user_id varchar, episode_id varchar, event_date date);
create table if not exists ops.spare_files (fingerprint varchar);
create table if not exists ops.spare_models as from ops.unpublished_models limit 0;
create table if not exists ops.spare_keys as from ops.unpublished_keys limit 0;
create table if not exists ops.spare_listening as from ops.unpublished_listening limit 0;
-- what a warehouse that was made before this table has become, everybody knows already
create table if not exists ops.batch_transitions as
select batch_id, status, run_id, updated_at as changed_at, true as is_announced from ops.batches where not pending;
-- for warehouses that were made before these columns were
alter table ops.batches add column if not exists rules_version varchar;
alter table ops.batches add column if not exists missing_since timestamp;
alter table ops.batches add column if not exists raw_pruned_at timestamp;
alter table ops.runs add column if not exists newest_event_at timestamp;
alter table ops.validation_results add column if not exists rules_version varchar;
create table if not exists ops.engine_builds (token varchar);
create table if not exists ops.kept_ledgers (address varchar, token varchar);
"""

CONFIGURATION: dict[str, str | bool | int | float | list[str]] = {"autoinstall_known_extensions": "false"}
"""Of every connection to a database file, dbt's too (`profiles.yml`): the engine fetches nothing from anywhere.

One process may open a file with one configuration only, compared to the letter.
"""

HEADERS_BYTES = 3 * 4096
"""Of a DuckDB file, before its first block."""

SECONDS_TO_GIVE_A_NAME = 5.0
"""Taking the lock and writing the name are two steps; a busy machine can be slow between them."""

NAMELESS = "another process"


@dataclass(frozen=True)
class Holder:
    """Who holds the right to write the warehouse, for which run (if for one), and since when (UTC, ISO 8601)."""

    host: str
    pid: int
    purpose: str
    run: str | None
    since: str

    def __str__(self) -> str:
        """The holder in words."""
        run = f", run {self.run}" if self.run else ""
        return f"process {self.pid} on {self.host} ({self.purpose}{run}, since {self.since} UTC)"


def _silence_exit() -> None:
    """The DuckDB module prints about its own memory when the interpreter ends; nobody can act on that."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


atexit.register(_silence_exit)


def utc_now() -> datetime:
    """The time in UTC without a zone, as the warehouse stores it."""
    return datetime.now(UTC).replace(tzinfo=None)


@contextmanager
def connect(settings: Settings) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection to the working database with its tables in place; made on first use.

    Raises `WarehouseLockedError` when it is open elsewhere, `DamagedWarehouseError` when it cannot be read, and
    `BackupError` when a restore ended in its middle. A full disk, a missing right and the like are told apart
    here, for everything that happens on the connection.
    """
    refuse_half_restored(settings)
    with faults.in_words(settings), open_database(settings, settings.warehouse_path) as connection:
        yield connection


def open_file(path: Path, *, read_only: bool = False) -> duckdb.DuckDBPyConnection:
    """A connection to a database file as it is. Raises `duckdb.Error`."""
    import duckdb

    return duckdb.connect(str(path), read_only=read_only, config=CONFIGURATION)


@contextmanager
def open_database(settings: Settings, path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection to a database file with the tables that Python writes in place."""
    import duckdb

    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        connection = open_file(path)
    except duckdb.Error as error:
        raise faults.damaged(error, settings) from None
    try:
        if missing := missing_bytes(connection, path):
            raise faults.damaged(EOFError(f"its last {missing:,} bytes are missing"), settings)
        connection.execute(f"set memory_limit = '{settings.memory_limit}'")
        # What has been freed goes back to the system sooner: 0.16 GB of 3.1 in a first load of ten million events.
        connection.execute("set global allocator_flush_threshold = '16MB'")
        connection.execute("set global allocator_bulk_deallocation_flush_threshold = '64MB'")
        # Order is carried by columns; keeping it in storage too costs a slower checkpoint and a larger file.
        connection.execute("set preserve_insertion_order = false")
        connection.execute("set enable_progress_bar = false")
        connection.execute(TABLES)
        _bring_up_to_date(connection)
        yield connection
    finally:
        connection.close()


def _bring_up_to_date(connection: duckdb.DuckDBPyConnection) -> None:
    """For warehouses that were made before a column, or the name that a table has now.

    Of touched_keys there is a view where another engine builds the tables.
    """
    wanted = "schema_name = 'ops' and table_name in ('touched_keys', 'spark_builds')"
    found = connection.execute(f"select table_name from duckdb_tables() where {wanted}").fetchall()
    if ("touched_keys",) in found:
        connection.execute("alter table ops.touched_keys add column if not exists batch_id varchar")
    if ("spark_builds",) in found:
        with transaction(connection):
            connection.execute("insert into ops.engine_builds from ops.spark_builds")
            connection.execute("drop table ops.spark_builds")


def restore_mark(settings: Settings) -> Path:
    """The file that is there while a restore exchanges the files; it says what is restored, and where the old is."""
    return settings.home / "warehouse" / "restoring.json"


def refuse_half_restored(settings: Settings) -> None:
    """Raise `BackupError` when a restore ended between its first and its last file."""
    try:
        mark = json.loads(restore_mark(settings).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return
    raise BackupError(
        f"A restore of {mark['backup']} ended in its middle, so the warehouse under {settings.home} is not whole. "
        f"Finish it: podcast restore --force {shlex.quote(mark['backup'])}\n"
        f"What was there before lies under {mark['aside']}."
    )


def missing_bytes(connection: duckdb.DuckDBPyConnection, path: Path) -> int:
    """By how much a database file is smaller than the blocks in it that are in use; 0 for a whole one.

    The engine opens a file that was cut off, and says something only when it comes to what is not there.
    """
    sizes = "select used_blocks * block_size from pragma_database_size() where database_name = current_database()"
    (used,) = connection.execute(sizes).fetchone() or (0,)
    return max(int(used) + HEADERS_BYTES - path.stat().st_size, 0)


def can_be_opened(path: Path) -> bool:
    """Whether a database is there and opens; one that another process has open to write does, for that process.

    Its headers and its catalog are read and checked, not its rows.
    """
    import duckdb

    if not path.exists():
        return False
    try:
        with open_file(path, read_only=True) as connection:
            return not missing_bytes(connection, path)
    except duckdb.Error as error:
        return bool(faults.LOCKED.search(f"{error}"))


@contextmanager
def transaction(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Commit on success, roll back on any exception."""
    connection.execute("begin")
    try:
        yield
    except BaseException:
        # a connection that a full disk has made unusable cannot roll back, and has nothing to
        with suppress(Exception):
            connection.execute("rollback")
        raise
    connection.execute("commit")


def copy_file(source: Path, target: Path) -> None:
    """Copy a database that is checkpointed and not being written, by another process.

    One that has the file open in the engine must never open it itself: closing that handle would drop the
    engine's lock, and with it what keeps a second writer out. Raises `PipelineError` when the copy fails.
    """
    copying = "import shutil, sys; shutil.copyfile(*sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", copying, source, target], capture_output=True, text=True, check=False
    )
    if done.returncode:
        reason = done.stderr.strip().rpartition("\n")[2]
        raise PipelineError(f"{source} could not be copied to {target}: {reason}. Nothing was changed.")


def read_dicts(
    connection: duckdb.DuckDBPyConnection, sql: str, parameters: list[Any] | dict[str, Any] | None = None
) -> list[dict[str, Any]]:
    """The rows of a small result, each as a dictionary by column name."""
    cursor = connection.execute(sql, parameters or [])
    names = [column[0] for column in cursor.description or ()]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


@dataclass
class Holding:
    """The right to write while it is held."""

    is_entered: bool = False
    """Whether the history tells how the run ended, so that the next one need not find it out."""


@contextmanager
def writer_lock(settings: Settings, *, purpose: str, run_id: str | None = None) -> Iterator[Holding]:
    """Hold the one right to write the warehouse; the operating system lets go of it when the process ends.

    The note of a run that ended from outside, or without giving the right back, stays for `history.record_crashes`.
    Raises `WarehouseLockedError` at once, naming the holder, when another process has it.
    """
    with faults.in_words(settings), _writer_lock(settings, purpose, run_id) as holding:
        yield holding


@contextmanager
def _writer_lock(settings: Settings, purpose: str, run_id: str | None) -> Iterator[Holding]:
    from filelock import FileLock

    path = settings.home / "warehouse" / "writer.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    note = _note(settings)
    lock = FileLock(path, timeout=0)
    holding = Holding()
    _acquire(lock, settings)
    try:
        _keep_note(note)
        since = utc_now().isoformat(timespec="seconds")
        _write_holder(note, Holder(socket.gethostname(), os.getpid(), purpose, run_id, since))
        yield holding
    except PipelineError:
        raise
    except BaseException:  # ended from outside, it may have had no time to say so; the engine makes an error of it
        if not holding.is_entered:
            _keep_note(note)
        raise
    finally:
        note.unlink(missing_ok=True)
        lock.release()


def _acquire(lock: BaseFileLock, settings: Settings) -> None:
    """Take the lock, or say who has it: one that took it this instant is given the time to write its name."""
    from filelock import Timeout

    patience = time.monotonic() + SECONDS_TO_GIVE_A_NAME
    while True:
        with suppress(Timeout):
            lock.acquire()
            return
        holder = current_holder(settings)
        if (holder and is_alive(holder)) or time.monotonic() > patience:
            raise WarehouseLockedError(
                f"The warehouse {settings.warehouse_path} is being written by {holder or NAMELESS}. "
                "Nothing was changed; wait until it has finished and try again."
            )
        time.sleep(0.02)


def _write_holder(note: Path, holder: Holder) -> None:
    """Whoever reads the note meanwhile finds nothing of it, or all."""
    being_written = note.with_suffix(".writing")
    being_written.write_text(json.dumps(asdict(holder)))
    being_written.replace(note)


def _keep_note(note: Path) -> None:
    """Set the note of a run aside, for the next run to enter it."""
    if (holder := _read_holder(note)) and holder.run:
        note.replace(note.with_name(f"crashed-{holder.run}.json"))


def crashed_holders(settings: Settings) -> dict[Path, Holder | None]:
    """The notes that crashed runs left behind, and what they say; none for one that cannot be read."""
    return {path: _read_holder(path) for path in sorted(_note(settings).parent.glob("crashed-*.json"))}


def lock_holder(settings: Settings) -> str:
    """Who writes the warehouse now, in words."""
    return str(current_holder(settings) or NAMELESS)


def current_holder(settings: Settings) -> Holder | None:
    """Who writes the warehouse, by its note, which is there still when the process was killed."""
    return _read_holder(_note(settings))


def is_alive(holder: Holder) -> bool:
    """Whether the process is there; that of another machine is taken to be."""
    if holder.host != socket.gethostname():
        return True
    try:
        os.kill(holder.pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def home_id(settings: Settings) -> str:
    """What tells this home, on this machine, from every other; made once."""
    path = settings.home / "warehouse" / "home.id"
    if not path.exists():
        path.write_text(uuid.uuid4().hex)
    return f"{socket.gethostname()}/{path.read_text()}"


def _note(settings: Settings) -> Path:
    return settings.home / "warehouse" / "writer.json"


def _read_holder(path: Path) -> Holder | None:
    try:
        return Holder(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None
