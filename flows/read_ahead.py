"""Objects read in a known order, their next parts on the way while one is used, so that memory stays flat."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Protocol

from flows.domain import StoredObject

PART_BYTES = 4 * 2**20
"""An object is read in parts of this size; a smaller one is one part."""
PARTS_AHEAD = 16
"""So many parts are on the way, or wait to be used: of one object, or of as many small ones."""

Fetch = Callable[[StoredObject, int, int], "Future[bytes]"]
"""Begins to read an object from one byte to before another."""


class Readable(Protocol):
    """What loading needs of an open file."""

    def read(self, size: int, /) -> bytes:
        """The next bytes, at most so many; none at the end. Raises `OSError`."""


class ReadAhead:
    """Opens objects in the order in which they were given; `explain` says what an error of theirs is raised as.

    `succeeded` is told of each part that came; `parts_ahead` says how many more than the one in use are on the way.
    """

    def __init__(
        self,
        objects: Iterable[StoredObject],
        fetch: Fetch,
        explain: Callable[[Exception], Exception],
        succeeded: Callable[[], None],
        *,
        parts_ahead: int = PARTS_AHEAD,
    ) -> None:
        self._parts = (
            (place, stored, start)
            for place, stored in enumerate(objects)
            for start in range(0, max(stored.size_bytes, 1), PART_BYTES)
        )
        self._count = parts_ahead
        self._fetch = fetch
        self._explain = explain
        self._succeeded = succeeded
        self._ahead: deque[tuple[int, StoredObject, Future[bytes]]] = deque()
        self._left = -1

    @contextmanager
    def open(self, stored: StoredObject) -> Iterator[Readable]:
        """The next object; what is not read of it is passed over. Reading raises `OSError` where it has changed."""
        self._fill()
        if not self._ahead or self._ahead[0][1] != stored:
            raise ValueError(f"{stored} is not the next in the order that was given")
        place = self._ahead[0][0]
        try:
            yield _Reader(self, place)
        finally:
            self._leave(place)

    def next_part(self, place: int) -> bytes:
        """The next part of the object that stands in this place of the order; empty at its end."""
        if not self._ahead or self._ahead[0][0] != place:
            return b""
        *_, part = self._ahead.popleft()
        self._fill()
        try:
            content = part.result()
        except Exception as error:
            raise self._explain(error) from error
        self._succeeded()
        return content

    def close(self) -> None:
        """Stop what is on the way."""
        for *_, part in self._ahead:
            part.cancel()
        self._ahead.clear()

    def _fill(self) -> None:
        while len(self._ahead) < self._count and (part := next(self._parts, None)):
            place, stored, start = part
            if place != self._left:
                end = min(start + PART_BYTES, stored.size_bytes)
                self._ahead.append((place, stored, self._fetch(stored, start, end)))

    def _leave(self, place: int) -> None:
        self._left = place
        while self._ahead and self._ahead[0][0] == place:
            self._ahead.popleft()[-1].cancel()


class _Reader:
    """One object, read from its beginning to its end."""

    def __init__(self, ahead: ReadAhead, place: int) -> None:
        self._ahead = ahead
        self._place = place
        self._part, self._position = b"", 0

    def read(self, size: int, /) -> bytes:
        if self._position >= len(self._part):
            self._part, self._position = self._ahead.next_part(self._place), 0
        piece = self._part[self._position : self._position + size]
        self._position += len(piece)
        return piece
