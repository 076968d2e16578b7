"""Files into `bronze.raw_events`: every line kept, with its number, in the transaction of its ledger entry."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

from flows import faults, ledger, side_by_side, storage
from flows.domain import Arrival, Batch, Loaded, StoredObject
from flows.errors import UnreadableFileError
from flows.filling import Block, Stamped, Writer, batch_id, fill
from flows.loading_sql import INSERT_PARSED
from flows.reading import HashedFile, Limits, decompressed, read_blocks
from flows.reference_files import escaped
from flows.warehouse import transaction, utc_now

if TYPE_CHECKING:
    import duckdb

    from flows.parsing import Workers
    from flows.storage import Store

TRANSACTION_FILES = 1000
TRANSACTION_BYTES = 512 * 2**20
"""A transaction ends after the file that passes one of the two."""
MOST_THREADS = 8
"""So many files are loaded at a time, and no more than the engine has threads: each holds some copies of a block."""
SHARE_BYTES = 8 * 2**20
SHARES = 4
"""Beside others, a transaction ends after this many bytes or its part, of so many for each thread, if that is more."""


def load_files(
    connection: duckdb.DuckDBPyConnection,
    arrivals: Sequence[Arrival],
    *,
    run_id: str,
    limits: Limits | None = None,
    store: Store | None = None,
    workers: Workers | None = None,
    progress: Callable[[Loaded], None] = lambda _: None,
) -> Loaded:
    """Load new attempts in order of file name, many files in one transaction.

    A file that is gone or may not be read is left out and named; one whose compression is broken, or that
    passes a limit, becomes a quarantined batch without rows. `store` is the bucket that the files lie in, if
    they lie in one; of no bucket, files are taken apart by `workers` if there are some. Raises `LandingError` when the
    bucket is out of reach.
    """
    step = _Step(run_id, limits or Limits(), store)
    left = _not_recorded(connection, arrivals)
    by_workers = _parsed_groups(connection, left, step, workers) if workers and not store else None
    total = Loaded()
    with closing(by_workers or _loaded_groups(connection, left, step)) as groups:
        for loaded in groups:
            total = _sum([total, loaded])
            progress(total)
    return total


@dataclass(frozen=True)
class _Step:
    """What the loading of every file of a run has in common."""

    run_id: str
    limits: Limits
    store: Store | None


def _loaded_groups(
    connection: duckdb.DuckDBPyConnection, arrivals: Sequence[Arrival], step: _Step
) -> Generator[Loaded]:
    """What each transaction has loaded, after its commit, in order of file name.

    Several are filled side by side. If that is too much for the engine, the rest is loaded one after the other. So are
    the objects of a bucket, which are read ahead in their order.
    """
    import duckdb

    threads = 1 if step.store else min(_engine_threads(connection), MOST_THREADS)
    left = deque(_groups(arrivals, threads))
    clock = _Clock()
    if threads > 1 and len(left) > 1:
        try:
            with closing(_side_by_side(connection, list(left), step, clock, threads)) as committed:
                for loaded in committed:
                    left.popleft()
                    yield loaded
        except duckdb.OutOfMemoryException as error:
            if faults.FULL.search(f"{error}"):  # no room on the disk for what did not fit into the memory
                raise
    writer = Writer(connection, step.limits, step.store)
    for group in left:
        yield _load_within_memory(writer, clock.stamp(group), step.run_id)


def _side_by_side(
    connection: duckdb.DuckDBPyConnection, groups: Sequence[list[Arrival]], step: _Step, clock: _Clock, threads: int
) -> Generator[Loaded]:
    def fill(cursor: duckdb.DuckDBPyConnection, group: list[Stamped], ended: Event) -> Loaded:
        return _load_group(Writer(cursor, step.limits, ended=ended), group, step.run_id)

    return side_by_side.committed(connection, map(clock.stamp, groups), fill, threads=threads)


def _parsed_groups(
    connection: duckdb.DuckDBPyConnection, arrivals: Sequence[Arrival], step: _Step, workers: Workers
) -> Generator[Loaded]:
    """What each transaction has loaded that a worker has prepared, after its commit, in order of file name."""
    groups = map(_Clock().stamp, _groups(arrivals, workers.count))
    with closing(workers.parsed(groups, step.run_id, step.limits)) as parsed:
        for job, filled in parsed:
            if filled is None:
                yield _load_within_memory(Writer(connection, step.limits), list(job.group), step.run_id)
                continue
            with transaction(connection):
                connection.execute(INSERT_PARSED, [escaped(job.into)])
                ledger.record(connection, filled.batches)
            job.into.unlink()
            yield filled.loaded


def _engine_threads(connection: duckdb.DuckDBPyConnection) -> int:
    """As many as there are cores, where nothing else is set."""
    (threads,) = connection.execute("select current_setting('threads')").fetchone() or (1,)
    return int(threads)


@dataclass
class _Clock:
    """Gives files the time before they are loaded; it never decreases within a run, even when the clock is set back."""

    latest: datetime = datetime.min  # noqa: DTZ901 - UTC without a zone, as everywhere

    def stamp(self, group: Sequence[Arrival]) -> list[Stamped]:
        return [(arrival, self.now()) for arrival in group]

    def now(self) -> datetime:
        self.latest = max(self.latest, utc_now())
        return self.latest


def load_known(
    connection: duckdb.DuckDBPyConnection,
    known: Sequence[tuple[Batch, Path | StoredObject]],
    *,
    store: Store | None = None,
) -> dict[str, int]:
    """Load the lines of attempts under the ids and times that a ledger gives them; the rows of each, by batch id.

    Enters nothing in the ledger. Raises `UnreadableFileError` when a file no longer has the content of its
    attempt, `OSError` when it cannot be read.
    """
    no_limits = Limits(line=2**62, unpacked=2**62)  # the files were within those of their time
    writer = Writer(connection, no_limits)
    with storage.opening((path for _, path in known), store) as open_file:
        for batch, path in known:
            with open_file(path) as file:
                _load_again(batch, HashedFile(file), writer, path)
    writer.flush()
    rows = connection.execute("select batch_id, count(*) from bronze.raw_events group by batch_id").fetchall()
    return dict(rows)


def _load_again(batch: Batch, source: HashedFile, writer: Writer, path: Path | StoredObject) -> None:
    chunks = decompressed(batch.filename, source, max_bytes=writer.limits.unpacked)
    for first_line, content in read_blocks(chunks, max_line_bytes=writer.limits.line):
        writer.add(Block(batch.batch_id, batch.filename, batch.load_at, first_line, content))
    if source.digest.hexdigest() != batch.content_hash:
        raise UnreadableFileError(f"{path} changed while it was read. Put the former content back, and start again.")


def _sum(parts: Sequence[Loaded]) -> Loaded:
    return Loaded(
        sum(part.batches for part in parts),
        sum(part.rows for part in parts),
        sum(part.bytes for part in parts),
        sum((part.left_out for part in parts), start=()),
    )


def _not_recorded(connection: duckdb.DuckDBPyConnection, arrivals: Sequence[Arrival]) -> list[Arrival]:
    """What is still to be loaded, in order of file name: a retry may come after a commit."""
    identifiers = [batch_id(a.file.filename, a.attempt) for a in arrivals]
    done = ledger.recorded(connection, identifiers)
    left = [a for a, identifier in zip(arrivals, identifiers, strict=True) if identifier not in done]
    return sorted(left, key=lambda a: a.file.filename)


def _groups(arrivals: Sequence[Arrival], threads: int) -> Iterator[list[Arrival]]:
    """Arrivals by transaction: for several threads, some for each, so that none is done long before the others."""
    share = max(SHARE_BYTES, sum(a.file.size_bytes for a in arrivals) // (SHARES * threads))
    most = TRANSACTION_BYTES if threads == 1 else min(TRANSACTION_BYTES, share)
    group: list[Arrival] = []
    size = 0
    for arrival in arrivals:
        group.append(arrival)
        size += arrival.file.size_bytes
        if len(group) >= TRANSACTION_FILES or size >= most:
            yield group
            group, size = [], 0
    if group:
        yield group


def _load_within_memory(writer: Writer, group: list[Stamped], run_id: str) -> Loaded:
    """The files in one transaction; if that is too much for the engine, each in its own, and a single one held back.

    How much a line takes depends on what it is made of: a hundred times its length, where every byte is a value.
    """
    import duckdb

    try:
        with transaction(writer.connection):
            return _load_group(writer, group, run_id)
    except duckdb.OutOfMemoryException as error:
        if faults.FULL.search(f"{error}"):  # no room on the disk for what did not fit into the memory
            raise
        writer.forget()
    if len(group) > 1:
        return _sum([_load_within_memory(writer, [stamped], run_id) for stamped in group])
    with transaction(writer.connection):
        return _load_group(writer, group, run_id, refusal=_TOO_MUCH)


_TOO_MUCH = (
    "to take it apart needs more memory than the engine has (PODCAST_MEMORY_LIMIT); look for very long lines in it, "
    "or raise the setting and reprocess the batch"
)


def _load_group(writer: Writer, group: Sequence[Stamped], run_id: str, *, refusal: str | None = None) -> Loaded:
    filled = fill(writer, group, run_id, refusal=refusal)
    ledger.record(writer.connection, filled.batches)
    return filled.loaded
