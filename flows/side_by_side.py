"""Transactions side by side, each on a cursor of its own in a thread, committed one after the other in their order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from threading import Event
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    import duckdb

Job = TypeVar("Job")
Result = TypeVar("Result")

AHEAD = 2
"""For each thread, so many transactions may be open: one being filled, the other waiting to be committed."""


@dataclass(frozen=True)
class _Open(Generic[Result]):
    """A transaction that is being filled, or waits to be committed."""

    cursor: duckdb.DuckDBPyConnection
    result: Future[Result]


def committed(
    connection: duckdb.DuckDBPyConnection,
    jobs: Iterable[Job],
    work: Callable[[duckdb.DuckDBPyConnection, Job, Event], Result],
    *,
    threads: int,
) -> Generator[Result]:
    """What `work` gave for each job, after its transaction is committed, in the order of the jobs.

    Jobs are drawn, and all is committed, in the calling thread. When a job fails, or the caller ends, those before it
    are committed, and it and all behind it rolled back; `work` is then told by the event, and the statement that it is
    in is interrupted. No thread is left when this ends.
    """
    ended = Event()
    opened: deque[_Open[Result]] = deque()
    executor = ThreadPoolExecutor(threads, thread_name_prefix="transaction")
    try:
        for job in jobs:
            cursor = connection.cursor()
            opened.append(_Open(cursor, executor.submit(_filled, cursor, job, work, ended)))
            if len(opened) >= AHEAD * threads:
                yield _first_committed(opened)
        while opened:
            yield _first_committed(opened)
    finally:
        ended.set()
        _close(opened, executor)


def _filled(
    cursor: duckdb.DuckDBPyConnection,
    job: Job,
    work: Callable[[duckdb.DuckDBPyConnection, Job, Event], Result],
    ended: Event,
) -> Result:
    cursor.execute("begin")
    return work(cursor, job, ended)


def _first_committed(opened: deque[_Open[Result]]) -> Result:
    """Wait for the first to be filled, and commit it; one that fails stays to be rolled back."""
    first = opened[0]
    result = first.result.result()
    first.cursor.execute("commit")
    opened.popleft()
    first.cursor.close()
    return result


def _close(opened: Iterable[_Open[Result]], executor: ThreadPoolExecutor) -> None:
    """End the threads, then roll back what they have left."""
    executor.shutdown(wait=False, cancel_futures=True)
    for one in opened:
        while not one.result.done():
            one.cursor.interrupt()  # again and again: between two statements it is lost
            with suppress(Exception):
                one.result.exception(timeout=0.05)
    executor.shutdown(wait=True)
    for one in opened:
        with suppress(Exception):  # a full disk can make a connection unusable, and there is nothing to roll back
            one.cursor.close()  # which rolls back
