"""Files into `bronze.raw_events`: every line kept, with its number, in the transaction of its ledger entry.

Python hands blocks of bytes cut at line ends to the engine, which splits, decodes and parses them.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

from flows import faults, ledger, side_by_side, storage
from flows.domain import Arrival, Batch, BatchStatus, Loaded, StoredObject, fingerprint
from flows.errors import UnreadableFileError
from flows.loading_sql import INSERT_BLOCK, INSERT_BLOCKS, INSERT_BYTES
from flows.reading import HashedFile, Limits, bearable, decompressed, lines_of_bytes, read_blocks, without_line_ends
from flows.warehouse import transaction, utc_now

if TYPE_CHECKING:
    import duckdb

    from flows.storage import Opener, Store

STATEMENT_BYTES = 2 * 2**20
"""A statement inserts about this many bytes of blocks: one, or many of small files. More at once costs copies."""
TRANSACTION_FILES = 1000
TRANSACTION_BYTES = 512 * 2**20
"""A transaction ends after the file that passes one of the two."""
MOST_THREADS = 8
"""So many files are loaded at a time, and no more than the engine has threads: each holds some copies of a block."""
SHARE_BYTES = 8 * 2**20
SHARES = 4
"""Beside others, a transaction ends after this many bytes or its part, of so many for each thread, if that is more."""


@dataclass(frozen=True)
class Block:
    """Whole lines of one file: `lines` bytes of them, the first being physical line `first_line`."""

    batch_id: str
    filename: str
    load_at: datetime
    first_line: int
    content: bytes


def load_files(
    connection: duckdb.DuckDBPyConnection,
    arrivals: Sequence[Arrival],
    *,
    run_id: str,
    limits: Limits | None = None,
    store: Store | None = None,
    progress: Callable[[Loaded], None] = lambda _: None,
) -> Loaded:
    """Load new attempts in order of file name, many files in one transaction.

    A file that is gone or may not be read is left out and named; one whose compression is broken, or that
    passes a limit, becomes a quarantined batch without rows. `store` is the bucket that the files lie in, if
    they lie in one. Raises `LandingError` when that is out of reach.
    """
    step = _Step(run_id, limits or Limits(), store)
    total = Loaded()
    with closing(_loaded_groups(connection, _not_recorded(connection, arrivals), step)) as groups:
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
    writer = _Writer(connection, step.limits, step.store)
    for group in left:
        yield _load_within_memory(writer, clock.stamp(group), step.run_id)


def _side_by_side(
    connection: duckdb.DuckDBPyConnection, groups: Sequence[list[Arrival]], step: _Step, clock: _Clock, threads: int
) -> Generator[Loaded]:
    def fill(cursor: duckdb.DuckDBPyConnection, group: list[Stamped], ended: Event) -> Loaded:
        return _load_group(_Writer(cursor, step.limits, ended=ended), group, step.run_id)

    return side_by_side.committed(connection, map(clock.stamp, groups), fill, threads=threads)


def _engine_threads(connection: duckdb.DuckDBPyConnection) -> int:
    """As many as there are cores, where nothing else is set."""
    (threads,) = connection.execute("select current_setting('threads')").fetchone() or (1,)
    return int(threads)


Stamped = tuple[Arrival, datetime]
"""A file, and the `load_at` of its rows."""


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
    writer = _Writer(connection, no_limits)
    with storage.opening((path for _, path in known), store) as open_file:
        for batch, path in known:
            with open_file(path) as file:
                _load_again(batch, HashedFile(file), writer, path)
    writer.flush()
    rows = connection.execute("select batch_id, count(*) from bronze.raw_events group by batch_id").fetchall()
    return dict(rows)


def _load_again(batch: Batch, source: HashedFile, writer: _Writer, path: Path | StoredObject) -> None:
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


@dataclass
class _Writer:
    """Collects blocks and inserts them a statement at a time."""

    connection: duckdb.DuckDBPyConnection
    limits: Limits
    store: Store | None = None
    blocks: list[Block] = field(default_factory=list)
    size: int = 0
    ended: Event | None = None

    def add(self, block: Block) -> None:
        """Raises `CancelledError` where the rows are no longer wanted."""
        if self.ended and self.ended.is_set():
            raise CancelledError
        if not block.content.strip():
            return  # blank lines, which are no rows; a file can be packed full of them
        self.blocks.append(replace(block, content=without_line_ends(block.content)))
        self.size += len(block.content)
        if self.size >= STATEMENT_BYTES:
            self.flush()

    def flush(self) -> None:
        blocks = [self._without_bytes(block) for block in self.blocks]
        rows = [(b.batch_id, b.filename, b.load_at, b.first_line, b.content) for b in blocks]
        if len(rows) == 1:
            self.connection.execute(INSERT_BLOCK, rows[0])
        elif rows:
            self.connection.execute(INSERT_BLOCKS, [list(column) for column in zip(*rows, strict=True)])
        self.blocks, self.size = [], 0

    def _without_bytes(self, block: Block) -> Block:
        """The block without the lines that are not UTF-8, which are inserted."""
        content, numbers, lines = _without_bytes(block)
        if lines:
            self.connection.execute(INSERT_BYTES, [block.batch_id, block.filename, block.load_at, numbers, lines])
        return replace(block, content=content)

    def forget(self) -> None:
        """Give up what was collected in a transaction that was rolled back."""
        self.blocks, self.size = [], 0

    def take_back(self, batch_id: str) -> None:
        """Forget a batch whose file could not be read to its end."""
        self.flush()
        self.connection.execute("delete from bronze.raw_events where batch_id = ?", [batch_id])


def _load_within_memory(writer: _Writer, group: list[Stamped], run_id: str) -> Loaded:
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


def _load_group(writer: _Writer, group: Sequence[Stamped], run_id: str, *, refusal: str | None = None) -> Loaded:
    batches: list[Batch] = []
    left_out: list[tuple[str, str]] = []
    with storage.opening((arrival.file.path for arrival, _ in group), writer.store) as open_file:
        for arrival, load_at in group:
            try:
                batches.append(_load_file(arrival, load_at, writer, run_id, refusal, open_file))
            except OSError as error:
                writer.take_back(batch_id(arrival.file.filename, arrival.attempt))
                left_out.append((arrival.file.filename, f"cannot be read: {error.strerror or error}"))
    writer.flush()
    finished = _with_counts(writer.connection, batches)
    ledger.record(writer.connection, finished)
    return Loaded(
        batches=len(finished),
        rows=sum(b.row_count for b in finished),
        bytes=sum(b.size_bytes for b in finished),
        left_out=tuple(left_out),
    )


def batch_id(filename: str, attempt: int) -> str:
    """Sixteen hexadecimal digits that any history gives the same attempt at the same file."""
    return hashlib.sha256(f"{attempt}\0{filename}".encode()).hexdigest()[:16]


def _load_file(
    arrival: Arrival, load_at: datetime, writer: _Writer, run_id: str, refusal: str | None, open_file: Opener
) -> Batch:
    """Read one file to its end, handing its blocks to the writer, if none refuses it before. Raises `OSError`."""
    identifier = batch_id(arrival.file.filename, arrival.attempt)
    with open_file(arrival.file.path) as file:
        source = HashedFile(file)
        refusal = refusal or _hand_over(arrival.file.filename, source, writer, identifier, load_at)
        source.read_to_end()
        # Of an object, no part is given that is not of the content that was listed.
        if isinstance(file, io.BufferedReader) and fingerprint(os.fstat(file.fileno())) != arrival.file.fingerprint:
            raise OSError(None, storage.CHANGED)
    return _new_batch(arrival, identifier, source, load_at=load_at, run_id=run_id, detail=refusal)


def _hand_over(filename: str, source: HashedFile, writer: _Writer, identifier: str, load_at: datetime) -> str | None:
    """All blocks of a file to the writer; else none of them, and why. Raises `OSError`."""
    try:
        chunks = decompressed(filename, source, max_bytes=writer.limits.unpacked)
        blocks = read_blocks(chunks, max_line_bytes=writer.limits.line)
        for first_line, content in bearable(blocks, max_bytes=writer.limits.together):
            writer.add(Block(identifier, filename, load_at, first_line, content))
    except UnreadableFileError as error:
        writer.take_back(identifier)
        return f"{error}"
    return None


def _new_batch(
    arrival: Arrival,
    identifier: str,
    source: HashedFile,
    *,
    load_at: datetime,
    run_id: str,
    detail: str | None,
) -> Batch:
    return Batch(
        batch_id=identifier,
        filename=arrival.file.filename,
        attempt=arrival.attempt,
        content_hash=source.digest.hexdigest(),
        size_bytes=source.size,
        fingerprint=arrival.file.fingerprint,
        status=BatchStatus.QUARANTINED if detail else BatchStatus.LOADED,
        gate="load" if detail else None,
        reason="unreadable_file" if detail else None,
        detail=detail,
        decision=None,
        decided_by=None,
        row_count=0,
        malformed_count=0,
        invalid_count=None,
        mutates=arrival.mutates,
        pending=True,
        run_id=run_id,
        load_at=load_at,
        updated_at=load_at,
    )


def _with_counts(connection: duckdb.DuckDBPyConnection, batches: list[Batch]) -> list[Batch]:
    """The batches with the counts of the rows that were just written; one without rows is empty."""
    if not batches:
        return []
    rows = connection.execute(
        """
        select batch_id, count(*), count(*) filter (is_malformed)
        from bronze.raw_events
        where load_at >= ? and batch_id in (select unnest(?::varchar[]))
        group by batch_id
        """,
        [min(b.load_at for b in batches), [b.batch_id for b in batches]],
    ).fetchall()
    counts = {identifier: (lines, malformed) for identifier, lines, malformed in rows}
    return [_counted(batch, *counts.get(batch.batch_id, (0, 0))) for batch in batches]


def _counted(batch: Batch, lines: int, malformed: int) -> Batch:
    is_empty = lines == 0 and batch.status is BatchStatus.LOADED and batch.mutates is None
    return replace(
        batch,
        row_count=lines,
        malformed_count=malformed,
        status=BatchStatus.EMPTY if is_empty else batch.status,
        pending=not is_empty,
    )


def _without_bytes(block: Block) -> tuple[bytes, list[int], list[bytes]]:
    """The block with a blank for each line that is not UTF-8, and the numbers and contents of these."""
    kept, numbers, found = [], [], []
    begin, number = 0, block.first_line
    for start, end in lines_of_bytes(block.content):
        kept.append(block.content[begin:start])
        number += kept[-1].count(b"\n")
        numbers.append(number)
        found.append(block.content[start:end])
        begin = end
    return b"".join([*kept, block.content[begin:]]), numbers, found
