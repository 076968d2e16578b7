"""Files into blocks of whole lines: hashed as they are read, decompressed, within limits."""

from __future__ import annotations

import codecs
import hashlib
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from flows.errors import UnreadableFileError

if TYPE_CHECKING:
    from flows.read_ahead import Readable

BLOCK_BYTES = 8 * 2**20
"""A block is cut at the first line end after this many bytes."""
TOGETHER_LINES = 2048
"""Rows that the engine holds in memory together, whatever its limit says, wherever a query reads or writes them."""
WINDOW_BYTES = 2**12
"""So much is decoded at a time to find what is not UTF-8: the error holds a copy, and may come for every line."""
UTF8_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Limits:
    """What one file may ask of the memory, in bytes: its longest line, and what it unpacks to if compressed."""

    line: int = 32 * 2**20
    unpacked: int = 20_000 * 2**20

    @property
    def together(self) -> int:
        """What `TOGETHER_LINES` lines in a row may hold."""
        return 8 * self.line


@dataclass
class HashedFile:
    """A file whose bytes are hashed as they are read, before any decompression."""

    file: Readable
    digest: Any = field(default_factory=hashlib.sha256)
    size: int = 0

    def chunks(self, size: int) -> Iterator[bytes]:
        """What is left, in pieces of so many bytes."""
        while chunk := self.file.read(size):
            self.digest.update(chunk)
            self.size += len(chunk)
            yield chunk

    def read_to_end(self) -> None:
        """Hash what is left."""
        for _ in self.chunks(BLOCK_BYTES):
            pass


class _Decompressor(Protocol):
    """What `zlib` and `zstandard` decompression objects have in common."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, /) -> bytes: ...


def decompressed(filename: str, source: HashedFile, *, max_bytes: int) -> Iterator[bytes]:
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
    source: HashedFile, new: Callable[[], _Decompressor], broken: type[Exception], *, piece: int
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


def bearable(blocks: Iterator[tuple[int, bytes]], *, max_bytes: int) -> Iterator[tuple[int, bytes]]:
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


def lines_of_bytes(content: bytes) -> Iterator[tuple[int, int]]:
    """Where each line begins and ends that is not UTF-8."""
    begin = 0
    while (odd := _first_odd(content, begin)) is not None:
        start = content.rfind(b"\n", 0, odd) + 1
        end = content.find(b"\n", odd)
        begin = len(content) if end < 0 else end
        yield start, begin


def _first_odd(content: bytes, begin: int) -> int | None:
    """The place of the first byte from `begin` on that is not UTF-8."""
    view = memoryview(content)
    while begin < len(content):
        end = begin + WINDOW_BYTES
        try:
            _, size = codecs.utf_8_decode(view[begin:end], "strict", end >= len(content))
        except UnicodeDecodeError as error:
            return begin + error.start
        begin += size
    return None


def without_line_ends(content: bytes) -> bytes:
    """The lines without the carriage return that some have before the line feed."""
    return content.replace(b"\r\n", b"\n").removesuffix(b"\r") if b"\r" in content else content
