"""Files taken apart into rows of one connection, with what the ledger is to have of each; nothing is committed here.

Python hands blocks of bytes cut at line ends to the engine, which splits, decodes and parses them.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass, field, replace
from datetime import datetime
from threading import Event
from typing import TYPE_CHECKING

from flows import storage
from flows.domain import Arrival, Batch, BatchStatus, Loaded, fingerprint
from flows.errors import UnreadableFileError
from flows.loading_sql import INSERT_BLOCK, INSERT_BLOCKS, INSERT_BYTES
from flows.reading import HashedFile, Limits, bearable, decompressed, lines_of_bytes, read_blocks, without_line_ends

if TYPE_CHECKING:
    import duckdb

    from flows.storage import Opener, Store

STATEMENT_BYTES = 2 * 2**20
"""A statement inserts about this many bytes of blocks: one, or many of small files. More at once costs copies."""

Stamped = tuple[Arrival, datetime]
"""A file, and the `load_at` of its rows."""


@dataclass(frozen=True)
class Block:
    """Whole lines of one file: `lines` bytes of them, the first being physical line `first_line`."""

    batch_id: str
    filename: str
    load_at: datetime
    first_line: int
    content: bytes


@dataclass
class Writer:
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
        """Insert what was collected."""
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


@dataclass(frozen=True)
class Filled:
    """The attempts whose rows were written, as the ledger is to have them, and files that were left out, with why."""

    batches: tuple[Batch, ...] = ()
    left_out: tuple[tuple[str, str], ...] = ()

    @property
    def loaded(self) -> Loaded:
        """The sum of it."""
        return Loaded(
            batches=len(self.batches),
            rows=sum(b.row_count for b in self.batches),
            bytes=sum(b.size_bytes for b in self.batches),
            left_out=self.left_out,
        )


def fill(writer: Writer, group: Sequence[Stamped], run_id: str, *, refusal: str | None = None) -> Filled:
    """All lines of files into rows; with a refusal, batches without rows."""
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
    return Filled(tuple(_with_counts(writer.connection, batches)), tuple(left_out))


def batch_id(filename: str, attempt: int) -> str:
    """Sixteen hexadecimal digits that any history gives the same attempt at the same file."""
    return hashlib.sha256(f"{attempt}\0{filename}".encode()).hexdigest()[:16]


def _load_file(
    arrival: Arrival, load_at: datetime, writer: Writer, run_id: str, refusal: str | None, open_file: Opener
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


def _hand_over(filename: str, source: HashedFile, writer: Writer, identifier: str, load_at: datetime) -> str | None:
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
