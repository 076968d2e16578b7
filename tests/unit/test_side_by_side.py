"""Transactions side by side: committed in order, rolled back from the first that fails on, no thread left."""

import threading
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import duckdb
import pytest

from flows import side_by_side

Connection = duckdb.DuckDBPyConnection


@pytest.fixture
def connection() -> Iterator[Connection]:
    with duckdb.connect() as connection:
        connection.execute("create table t (job integer)")
        yield connection
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("transaction")]


def jobs_in(connection: Connection) -> list[int]:
    return [job for (job,) in connection.execute("select job from t order by rowid").fetchall()]


def insert(cursor: Connection, job: int, _: threading.Event) -> int:
    cursor.execute("insert into t values (?)", [job])
    return job * 10


def test_each_is_committed_before_it_is_given_and_in_order(connection: Connection) -> None:
    later_are_filled = threading.Event()

    def first_last(cursor: Connection, job: int, ended: threading.Event) -> int:
        result = insert(cursor, job, ended)
        if job == 0:
            assert later_are_filled.wait(60)
        elif job == 2:
            later_are_filled.set()
        return result

    found = []
    with closing(side_by_side.committed(connection, range(9), first_last, threads=2)) as results:
        for result in results:
            found.append(result)
            assert jobs_in(connection) == [result // 10 for result in found]
    assert found == [job * 10 for job in range(9)]


def test_an_error_comes_to_the_caller_behind_the_commits_before_it(connection: Connection) -> None:
    def failing(cursor: Connection, job: int, ended: threading.Event) -> int:
        if job == 3:
            raise LookupError(job)
        return insert(cursor, job, ended)

    found: list[int] = []
    with pytest.raises(LookupError):
        found.extend(side_by_side.committed(connection, range(9), failing, threads=3))
    assert jobs_in(connection) == [0, 1, 2]


@pytest.mark.parametrize("error", [KeyboardInterrupt, GeneratorExit, ValueError])
def test_who_leaves_interrupts_what_runs_and_leaves_nothing_of_it(
    connection: Connection, error: type[BaseException]
) -> None:
    """The others are in a statement that takes hours, or wait for the event."""
    running, reached = threading.Barrier(3), []

    def endless(cursor: Connection, job: int, ended: threading.Event) -> int:
        result = insert(cursor, job, ended)
        if job:
            running.wait(60)
            reached.append(job)
        if job == 1:
            cursor.execute("select count(*) from range(1000000) as a, range(1000000) as b where a.range * b.range = 7")
        if job == 2:
            ended.wait()
        return result

    def leave() -> None:
        with closing(side_by_side.committed(connection, range(3), endless, threads=3)) as results:
            for _ in results:
                running.wait(60)
                raise error

    with pytest.raises(error):
        leave()
    assert sorted(reached) == [1, 2]
    assert jobs_in(connection) == [0]


def test_no_more_are_open_than_can_be_held(connection: Connection) -> None:
    drawn: list[int] = []

    def jobs() -> Iterator[int]:
        for job in range(50):
            drawn.append(job)
            yield job

    results: Any = side_by_side.committed(connection, jobs(), insert, threads=2)
    next(results)
    assert len(drawn) == side_by_side.AHEAD * 2
    results.close()
    assert jobs_in(connection) == [0]
