"""The published copy as the server reads it: kept open, exchanged when it was replaced, with bounds to each reading."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import duckdb

from flows import faults, metrics
from flows.api.problems import ProblemError
from flows.errors import PipelineError
from flows.published import open_published

if TYPE_CHECKING:
    from flows.settings import Settings

MEMORY_LIMIT = "512MB"
THREADS = 2
READINGS = 4
"""At one time; further ones wait for their turn."""
WAIT_SECONDS = 10.0
"""For a turn."""
TIMEOUT_SECONDS = 10.0
"""Of one statement."""
ATTEMPTS = 3
"""At opening a copy that is replaced meanwhile."""

Identity = tuple[int, int, int, int]


@dataclass
class Copy:
    """One published state, held open; what was opened stays what it is when the file is replaced."""

    identity: Identity
    connection: duckdb.DuckDBPyConnection
    run_id: str
    published_at: datetime
    size_bytes: int
    readers: int = 0
    figures: metrics.Figures | None = None
    """Worked out when they are first asked for."""


@dataclass(frozen=True)
class Reading:
    """What one request reads by; all of it is of one copy."""

    copy: Copy
    cursor: duckdb.DuckDBPyConnection
    timeout: float

    def rows(self, sql: str, values: Mapping[str, object] | None = None) -> list[dict[str, Any]]:
        """The rows of a statement, each by column name; it is interrupted when it takes too long."""
        timer = threading.Timer(self.timeout, self.cursor.interrupt)
        timer.daemon = True
        timer.start()
        try:
            done = self.cursor.execute(sql, dict(values or {}))
            names = [column[0] for column in done.description or ()]
            return [dict(zip(names, row, strict=True)) for row in done.fetchall()]
        finally:
            timer.cancel()


class Copies:
    """Opens the published copy when it is asked for, and again when the file is another one."""

    def __init__(self, settings: Settings, *, wait: float = WAIT_SECONDS, timeout: float = TIMEOUT_SECONDS) -> None:
        self._settings, self._wait, self._timeout = settings, wait, timeout
        self._slots = threading.BoundedSemaphore(READINGS)
        self._lock = threading.Lock()
        self._copy: Copy | None = None

    @contextmanager
    def reading(self) -> Iterator[Reading]:
        """Read one copy, whatever happens to the file meanwhile. Raises `ProblemError`."""
        if not self._slots.acquire(timeout=self._wait):
            raise ProblemError(503, "busy", "Too many requests are being answered; ask again later.", retry_after=5)
        try:
            copy = self._take()
            try:
                with self._explained(copy), copy.connection.cursor() as cursor:
                    yield Reading(copy, cursor, self._timeout)
            finally:
                self._give(copy)
        finally:
            self._slots.release()

    def look(self) -> None:
        """See whether there is a copy that can be opened, without waiting for a turn. Raises `ProblemError`."""
        self._give(self._take())

    def figures(self) -> metrics.Figures | None:
        """The figures of the copy; None where there is none that can be read."""
        try:
            with self.reading() as reading:
                copy = reading.copy
                if copy.figures is None:
                    copy.figures = metrics.read_figures(reading.rows, size_bytes=copy.size_bytes)
                return copy.figures
        except ProblemError as error:
            if error.code in ("busy", "too_slow"):
                raise
            return None

    def refresh(self) -> None:
        """Let go of a copy that was replaced, so that its room on the disk is free again."""
        with self._lock:
            if self._copy and self._identity() != self._copy.identity:
                self._retire()

    def close(self) -> None:
        """Let go of the copy."""
        with self._lock:
            self._retire()

    def _take(self) -> Copy:
        with self._lock:
            identity = self._identity()
            if self._copy is None or self._copy.identity != identity:
                self._retire()
                self._copy = self._open(identity)
            self._copy.readers += 1
            return self._copy

    def _give(self, copy: Copy) -> None:
        with self._lock:
            copy.readers -= 1
            if copy is not self._copy and not copy.readers:
                copy.connection.close()

    def _retire(self) -> None:
        """Keep the copy no longer; the last of its readers closes it."""
        copy, self._copy = self._copy, None
        if copy and not copy.readers:
            copy.connection.close()

    def _identity(self) -> Identity | None:
        try:
            info = self._settings.published_path.stat()
        except OSError:
            return None
        return (info.st_dev, info.st_ino, info.st_mtime_ns, info.st_size)

    def _open(self, identity: Identity | None) -> Copy:
        """Open what has the name now; replaced while it was being opened, it is opened again."""
        for _ in range(ATTEMPTS):
            if identity is None:
                detail = "Nothing is published yet. Start with: podcast run"
                raise ProblemError(503, "nothing_published", detail, retry_after=60)
            try:
                return self._open_once(identity)
            except ProblemError:
                before, identity = identity, self._identity()
                if before == identity:
                    raise
        raise _damaged()

    def _open_once(self, identity: Identity) -> Copy:
        try:
            connection = open_published(self._settings, memory_limit=MEMORY_LIMIT, threads=THREADS)
        except PipelineError:
            raise _damaged() from None
        try:
            last = connection.execute(
                "select run_id, finished_at from published.ops.runs where status = 'passed' "
                "order by finished_at desc, run_id limit 1"
            ).fetchone()
        except duckdb.Error:
            last = None
        if last is None:
            connection.close()
            raise _damaged()
        run_id, published_at = last
        return Copy(identity, connection, run_id, published_at, size_bytes=identity[-1])

    @contextmanager
    def _explained(self, copy: Copy) -> Iterator[None]:
        """Errors of the engine as problems; a copy that turns out to be damaged is not kept."""
        try:
            yield
        except duckdb.InterruptException:
            detail = "The answer takes too long to find; ask for less, by further filters."
            raise ProblemError(503, "too_slow", detail, retry_after=30) from None
        except duckdb.OutOfMemoryException:
            detail = "The answer takes more memory than there is for it; ask for less, by further filters."
            raise ProblemError(503, "too_large", detail, retry_after=30) from None
        except (duckdb.CatalogException, duckdb.BinderException):
            detail = "What is published was made by another version of this program. Make it anew: podcast run"
            raise ProblemError(503, "outdated_copy", detail, retry_after=60) from None
        except duckdb.Error as error:
            with self._lock:
                if copy is self._copy:
                    self._copy = None
            if isinstance(error, duckdb.IOException) or faults.DAMAGED.search(f"{error}"):
                raise _damaged() from None
            raise


def _damaged() -> ProblemError:
    detail = "The published copy is damaged, or is no database. The next run makes it anew: podcast run"
    return ProblemError(503, "damaged_copy", detail, retry_after=60)
