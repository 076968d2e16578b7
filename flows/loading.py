"""Files into `bronze.raw_events`: every line kept, with its number, in the transaction of its ledger entry.

Python hands blocks of bytes cut at line ends to the engine, which splits, decodes and parses them.
"""

from __future__ import annotations

import hashlib
import io
import os
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from flows import faults, ledger, storage
from flows.domain import Arrival, Batch, BatchStatus, Loaded, StoredObject, fingerprint
from flows.errors import UnreadableFileError
from flows.warehouse import transaction, utc_now

if TYPE_CHECKING:
    import duckdb

    from flows.read_ahead import Readable
    from flows.storage import Opener, Store

BLOCK_BYTES = 4 * 2**20
"""A block is cut at the first line end after this many bytes."""
STATEMENT_BYTES = 2 * 2**20
"""A statement inserts about this many bytes of blocks: one, or many of small files. More at once costs copies."""
TOGETHER_LINES = 2048
"""Rows that the engine holds in memory together, whatever its limit says, wherever a query reads or writes them."""
TRANSACTION_FILES = 1000
TRANSACTION_BYTES = 512 * 2**20
"""A transaction ends after the file that passes one of the two."""

NOT_BLANK = r"[^\s\x0b\x{85}\p{Z}]"
"""Matches a line with a character other than the 25 that have the Unicode property White_Space."""
UTF8_BOM = b"\xef\xbb\xbf"
KEYS = ("event_type", "user_id", "episode_id", "timestamp", "duration")


@dataclass(frozen=True)
class Limits:
    """What one file may ask of the memory, in bytes: its longest line, and what it unpacks to if compressed."""

    line: int = 32 * 2**20
    unpacked: int = 20_000 * 2**20

    @property
    def together(self) -> int:
        """What `TOGETHER_LINES` lines in a row may hold."""
        return 8 * self.line


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
    total = Loaded()
    writer = _Writer(connection, limits or Limits(), store)
    for group in _groups(_not_recorded(connection, arrivals)):
        total = _sum([total, _load_within_memory(writer, group, run_id)])
        progress(total)
    return total


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
                _load_again(batch, _HashedFile(file), writer, path)
    writer.flush()
    rows = connection.execute("select batch_id, count(*) from bronze.raw_events group by batch_id").fetchall()
    return dict(rows)


def _load_again(batch: Batch, source: _HashedFile, writer: _Writer, path: Path | StoredObject) -> None:
    chunks = _decompressed(batch.filename, source, max_bytes=writer.limits.unpacked)
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


def _groups(arrivals: Sequence[Arrival]) -> Iterator[list[Arrival]]:
    """Arrivals by transaction."""
    group: list[Arrival] = []
    size = 0
    for arrival in arrivals:
        group.append(arrival)
        size += arrival.file.size_bytes
        if len(group) >= TRANSACTION_FILES or size >= TRANSACTION_BYTES:
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
    latest: datetime = datetime.min  # noqa: DTZ901 - UTC without a zone, as everywhere

    def now(self) -> datetime:
        """The time, which never decreases within a run, even when the clock is set back."""
        self.latest = max(self.latest, utc_now())
        return self.latest

    def add(self, block: Block) -> None:
        if not block.content.strip():
            return  # blank lines, which are no rows; a file can be packed full of them
        self.blocks.append(replace(block, content=_without_line_ends(block.content)))
        self.size += len(block.content)
        if self.size >= STATEMENT_BYTES:
            self.flush()

    def flush(self) -> None:
        blocks = [block if _is_utf8(block.content) else self._insert_bytes(block) for block in self.blocks]
        if blocks:
            columns = ("batch_id", "filename", "load_at", "first_line", "content")
            self.connection.execute(INSERT_TEXT, [[getattr(block, name) for block in blocks] for name in columns])
        self.blocks, self.size = [], 0

    def _insert_bytes(self, block: Block) -> Block:
        """The block without the lines that are not UTF-8, which are inserted."""
        content, numbers, lines = _without_bytes(block)
        self.connection.execute(INSERT_BYTES, [block.batch_id, block.filename, block.load_at, numbers, lines])
        return replace(block, content=content)

    def forget(self) -> None:
        """Give up what was collected in a transaction that was rolled back."""
        self.blocks, self.size = [], 0

    def take_back(self, batch_id: str) -> None:
        """Forget a batch whose file could not be read to its end."""
        self.flush()
        self.connection.execute("delete from bronze.raw_events where batch_id = ?", [batch_id])


def _load_within_memory(writer: _Writer, group: list[Arrival], run_id: str) -> Loaded:
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
        return _sum([_load_within_memory(writer, [arrival], run_id) for arrival in group])
    with transaction(writer.connection):
        return _load_group(writer, group, run_id, refusal=_TOO_MUCH)


_TOO_MUCH = (
    "to take it apart needs more memory than the engine has (PODCAST_MEMORY_LIMIT); look for very long lines in it, "
    "or raise the setting and reprocess the batch"
)


def _load_group(writer: _Writer, group: list[Arrival], run_id: str, *, refusal: str | None = None) -> Loaded:
    batches: list[Batch] = []
    left_out: list[tuple[str, str]] = []
    with storage.opening((arrival.file.path for arrival in group), writer.store) as open_file:
        for arrival in group:
            try:
                batches.append(_load_file(arrival, writer, run_id, refusal, open_file))
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


def _load_file(arrival: Arrival, writer: _Writer, run_id: str, refusal: str | None, open_file: Opener) -> Batch:
    """Read one file to its end, handing its blocks to the writer, if none refuses it before. Raises `OSError`."""
    identifier, load_at = batch_id(arrival.file.filename, arrival.attempt), writer.now()
    with open_file(arrival.file.path) as file:
        source = _HashedFile(file)
        refusal = refusal or _hand_over(arrival.file.filename, source, writer, identifier, load_at)
        source.read_to_end()
        # Of an object, no part is given that is not of the content that was listed.
        if isinstance(file, io.BufferedReader) and fingerprint(os.fstat(file.fileno())) != arrival.file.fingerprint:
            raise OSError(None, storage.CHANGED)
    return _new_batch(arrival, identifier, source, load_at=load_at, run_id=run_id, detail=refusal)


def _hand_over(filename: str, source: _HashedFile, writer: _Writer, identifier: str, load_at: datetime) -> str | None:
    """All blocks of a file to the writer; else none of them, and why. Raises `OSError`."""
    try:
        chunks = _decompressed(filename, source, max_bytes=writer.limits.unpacked)
        blocks = read_blocks(chunks, max_line_bytes=writer.limits.line)
        for first_line, content in _bearable(blocks, max_bytes=writer.limits.together):
            writer.add(Block(identifier, filename, load_at, first_line, content))
    except UnreadableFileError as error:
        writer.take_back(identifier)
        return f"{error}"
    return None


def _new_batch(
    arrival: Arrival,
    identifier: str,
    source: _HashedFile,
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


# Reading bytes


@dataclass
class _HashedFile:
    """A file whose bytes are hashed as they are read, before any decompression."""

    file: Readable
    digest: Any = field(default_factory=hashlib.sha256)
    size: int = 0

    def chunks(self, size: int) -> Iterator[bytes]:
        while chunk := self.file.read(size):
            self.digest.update(chunk)
            self.size += len(chunk)
            yield chunk

    def read_to_end(self) -> None:
        for _ in self.chunks(BLOCK_BYTES):
            pass


class _Decompressor(Protocol):
    """What `zlib` and `zstandard` decompression objects have in common."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, /) -> bytes: ...


def _decompressed(filename: str, source: _HashedFile, *, max_bytes: int) -> Iterator[bytes]:
    """The content of a plain, gzip or zstd file in pieces. Raises `UnreadableFileError`."""
    if filename.endswith(".gz"):
        # 31: a gzip header and its check sum, largest window
        return _within(max_bytes, _inflate(source, lambda: zlib.decompressobj(31), zlib.error, piece=2**14))
    if filename.endswith(".zst"):
        import zstandard

        frame = zstandard.ZstdDecompressor().decompressobj
        return _within(max_bytes, _inflate(source, frame, zstandard.ZstdError, piece=2**10))
    return source.chunks(BLOCK_BYTES)


def _within(max_bytes: int, chunks: Iterator[bytes]) -> Iterator[bytes]:
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if size > max_bytes:
            raise UnreadableFileError(
                f"it unpacks to more than {_megabytes(max_bytes)} (PODCAST_MAX_UNPACKED_MB); {_WAY_OUT}"
            )
        yield chunk


_WAY_OUT = "land it in smaller parts, or raise the setting and reprocess the batch"


def _megabytes(size: int) -> str:
    return f"{size / 2**20:,g} MB"


def _inflate(
    source: _HashedFile, new: Callable[[], _Decompressor], broken: type[Exception], *, piece: int
) -> Iterator[bytes]:
    """Every member of a compressed file, each read to its check sum.

    Pieces of so many bytes go in, since what comes out of one may be a thousand times as large (gzip), or 32
    thousand times (zstd, where four bytes can stand for 128 KiB).
    """
    member: _Decompressor | None = None
    started = False
    try:
        for chunk in source.chunks(piece):
            rest = chunk if member else chunk.lstrip(b"\0") if started else chunk
            started = True
            while rest:
                member = member or new()
                yield member.decompress(rest)
                # Zero bytes between or after members are padding, as of tapes.
                rest = member.unused_data.lstrip(b"\0") if member.eof else b""
                member = None if member.eof else member
    except broken as error:
        raise UnreadableFileError(f"the compressed data is broken: {error}") from None
    if member is not None:
        raise UnreadableFileError("the compressed data ends too early; the file was cut off")


def read_blocks(chunks: Iterator[bytes], *, max_line_bytes: int = Limits.line) -> Iterator[tuple[int, bytes]]:
    """(number of the first line, whole lines) of about `BLOCK_BYTES`; a byte order mark at the start is dropped.

    Raises `UnreadableFileError` naming the line that is longer than `max_line_bytes`.
    """
    parts: list[bytes] = []
    size, unfinished, first_line, is_start = 0, 0, 1, True
    for chunk in chunks:
        parts.append(chunk)
        size += len(chunk)
        unfinished = len(chunk) - chunk.rfind(b"\n") - 1 if b"\n" in chunk else unfinished + len(chunk)
        if unfinished > max_line_bytes:
            raise _too_long(first_line + b"".join(parts).count(b"\n"), max_line_bytes)
        if size >= BLOCK_BYTES and b"\n" in chunk:
            content = b"".join(parts)
            cut = content.rfind(b"\n")
            block, rest = content[:cut], content[cut + 1 :]
            _check_lines(block, first_line, max_line_bytes)
            yield first_line, block.removeprefix(UTF8_BOM) if is_start else block
            first_line += block.count(b"\n") + 1
            parts, size, is_start = [rest], len(rest), False
    content = b"".join(parts)
    if content:
        _check_lines(content, first_line, max_line_bytes)
        yield first_line, content.removeprefix(UTF8_BOM) if is_start else content


def _bearable(blocks: Iterator[tuple[int, bytes]], *, max_bytes: int) -> Iterator[tuple[int, bytes]]:
    """The blocks, as long as `TOGETHER_LINES` lines in a row, in whole blocks, hold no more than `max_bytes`."""
    window: deque[tuple[int, int]] = deque()
    size = 0
    for first_line, content in blocks:
        window.append((first_line, len(content)))
        size += len(content)
        last_line = first_line + content.count(b"\n")
        while len(window) > 1 and last_line - window[1][0] >= TOGETHER_LINES:
            size -= window.popleft()[1]
        if size > max_bytes:
            raise UnreadableFileError(
                f"lines {window[0][0]:,} to {last_line:,} hold more than {_megabytes(max_bytes)} together "
                f"(8 times PODCAST_MAX_LINE_MB); shorten them, or raise the setting and reprocess the batch"
            )
        yield first_line, content


def _check_lines(block: bytes, first_line: int, max_line_bytes: int) -> None:
    if len(block) <= max_line_bytes:
        return
    for number, line in enumerate(block.split(b"\n"), start=first_line):
        if len(line) > max_line_bytes:
            raise _too_long(number, max_line_bytes)


def _too_long(line_number: int, max_line_bytes: int) -> UnreadableFileError:
    return UnreadableFileError(
        f"line {line_number:,} is longer than {_megabytes(max_line_bytes)} (PODCAST_MAX_LINE_MB); {_WAY_OUT}"
    )


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def _without_line_ends(content: bytes) -> bytes:
    """The lines without the carriage return that some have before the line feed."""
    return content.replace(b"\r\n", b"\n").removesuffix(b"\r") if b"\r" in content else content


def _without_bytes(block: Block) -> tuple[bytes, list[int], list[bytes]]:
    """The block with a blank for each line that is not UTF-8, and the numbers and contents of these."""
    lines = block.content.split(b"\n")
    odd = [place for place, line in enumerate(lines) if not (line.isascii() or _is_utf8(line))]
    found = [lines[place] for place in odd]
    for place in odd:
        lines[place] = b""
    return b"\n".join(lines), [block.first_line + place for place in odd], found


# The statements

_KEY_LIST = "[" + ", ".join(f"'{key}'" for key in KEYS) + "]"
_STRING = r'"(?:[^"\\]|\\.)*"'

# The engine's JSON reader takes NaN, Infinity and a comma before a closing bracket, which JSON does not
# have. A line in which one of them stands is looked at again with its strings emptied.
_LOOSE = r"(?i)nan|inf|,\s*[}\]]"
_IS_STRICT = f"""not (
    regexp_matches(line, '{_LOOSE}')
    and regexp_matches(regexp_replace(line, '{_STRING}', '""', 'gs'), '{_LOOSE}')
)"""

# It also gives a number that is not a plain integer back in its own notation (1e3 as 1000.0). Where such a
# number may be the value of a key, all numbers outside strings are quoted first, so that their text stays.
_HAS_ODD_NUMBER = r'"\s*:\s*-?[0-9]+[.eE]|"\s*:\s*-0'
# (The number added to the line's end is there for every match to reach: without it, one would start inside a
# string behind the last number.)
_QUOTED = (
    "left(regexp_replace(object_line || ' 0', "
    rf"""'((?:{_STRING}|[^"0-9-])*)(-?[0-9][0-9.eE+-]*)', '\1"\2"', 'gs'), -4)"""
)


# And of a key that stands twice it takes the first value, where every other reader of JSON takes the last.
def _of_last(function: str) -> str:
    """`function` of the last member of each key's name, as a list in the order of `KEYS`."""
    members = (
        f"{function}(text, '$.*')[len(keys) + 1 - nullif(list_position(list_reverse(keys), '{key}'), 0)]"
        for key in KEYS
    )
    return f"[{', '.join(members)}]"


# Nearly all lines are of the plainest kind: the five keys at most, each once, and as values null, a text without an
# escape, or a whole number. What says so in one pass needs no other look but the one that takes the values out.
_PLAIN_VALUE = r'(?:"[^"\\\x00-\x1f]*"|null|0|[1-9][0-9]{0,17})'
_MEMBER = f'"(?:{"|".join(KEYS)})": ?{_PLAIN_VALUE}'
_IN_ORDER = rf'\{{"{KEYS[0]}": ?{_PLAIN_VALUE}{"".join(f"""(?:, ?"{k}": ?{_PLAIN_VALUE})?""" for k in KEYS[1:])}\}}'
_IN_ANY_ORDER = rf"\{{{_MEMBER}(?:, ?{_MEMBER}){{0,{len(KEYS) - 1}}}\}}"
_TWICE = "|".join(f'"{key}":.*"{key}":' for key in KEYS)
_IS_PLAIN = f"""case
    when regexp_full_match(line, '{_IN_ORDER}') then true
    when regexp_full_match(line, '{_IN_ANY_ORDER}') then not regexp_matches(line, '{_TWICE}')
    else false
end"""
_PLAIN_KEYS = "{" + ", ".join(f'"{key}": "VARCHAR"' for key in KEYS) + "}"
_SCALARS = ", ".join(
    f"case when types[{i}] not in ('OBJECT', 'ARRAY') then texts[{i}] end as {key}" for i, key in enumerate(KEYS, 1)
)


def _insert(lines: str) -> str:
    """The insert of all lines that `lines` selects (batch, file, line number, text)."""
    return f"""
insert into bronze.raw_events by name
with lines as (
    {lines}
),
seen as materialized (
    select *, coalesce({_IS_PLAIN}, false) as is_plain
    from lines
),
plain as (
    select *, json_transform(case when is_plain then line end, '{_PLAIN_KEYS}') as json
    from seen
    where is_plain
),
json as (
    -- null where the line is no JSON: whatever the engine computes early, it never meets broken text
    select *, case when json_valid(line) and {_IS_STRICT} then line end as json_line
    from seen
    where not is_plain and regexp_matches(line, '{NOT_BLANK}')
),
objects as (
    select *, case when json_type(json_line) = 'OBJECT' then json_line end as object_line
    from json
),
members as (
    select
        *,
        json_keys(object_line) as keys,
        len(keys) > len(list_distinct(keys)) as has_repeated_keys,
        coalesce(not list_has_all({_KEY_LIST}, keys), false) as has_further_keys,
        case
            when regexp_matches(object_line, '{_HAS_ODD_NUMBER}') then {_QUOTED}
            else object_line
        end as text,
    from objects
),
valued as (
    select
        *,
        case
            when has_repeated_keys then {_of_last("json_extract_string")}
            else json_extract_string(text, {_KEY_LIST})
        end as texts,
        case
            when has_repeated_keys then {_of_last("json_type")}
            else json_type(text, {_KEY_LIST})
        end as types,
    from members
)
select
    batch_id,
    filename,
    line_number,
    {", ".join(f"json.{key}" for key in KEYS)},
    null as rescued,
    null as rescued_bytes,
    false as is_malformed,
    false as has_further_keys,
    load_at
from plain
union all by name
select
    batch_id,
    filename,
    line_number,
    {_SCALARS},
    case
        when object_line is null
            or has_further_keys or has_repeated_keys or list_has_any(types, ['OBJECT', 'ARRAY'])
        then line
    end as rescued,
    null as rescued_bytes,
    object_line is null as is_malformed,
    has_further_keys,
    load_at
from valued
"""


INSERT_TEXT = _insert("""
    select
        batch_id, filename, load_at,
        first_line + unnest(range(len(block_lines))) as line_number,
        unnest(block_lines) as line
    from (
        select
            unnest(?::varchar[]) as batch_id,
            unnest(?::varchar[]) as filename,
            unnest(?::timestamp[]) as load_at,
            unnest(?::bigint[]) as first_line,
            string_split(decode(unnest(?::blob[])), chr(10)) as block_lines
    )
""")
"""Inserts the lines of blocks; takes their columns as lists."""

INSERT_BYTES = """
insert into bronze.raw_events by name
select
    ?::varchar as batch_id,
    ?::varchar as filename,
    ?::timestamp as load_at,
    unnest(?::bigint[]) as line_number,
    unnest(?::blob[]) as rescued_bytes,
    true as is_malformed,
    false as has_further_keys
"""
"""Inserts the lines of one block that are not UTF-8."""
