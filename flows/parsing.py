"""Groups of files into Parquet by workers, each with an engine of its own in memory.

A worker reads files of the landing directory and writes into a folder that the run reads, and knows no database; so it
can be a thread, a process, or another machine. What it made counts once the run has committed it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from flows import faults
from flows.errors import LandingError
from flows.filling import Filled, Stamped, Writer, fill
from flows.reading import Limits
from flows.warehouse import CONFIGURATION, TABLES

AHEAD = 2
"""For each worker, so many groups may be under way: one being parsed, the other waiting for its turn."""


@dataclass(frozen=True)
class Job:
    """A group of files, and the Parquet file that their rows go to."""

    group: tuple[Stamped, ...]
    run_id: str
    limits: Limits
    memory_limit: str
    into: Path


class Promise(Protocol):
    """What a job is going to give: of all task runners' futures, what is needed here."""

    def result(self) -> Filled | None:
        """Wait for it. Raises what the job has raised."""


@dataclass(frozen=True)
class Workers:
    """Who parses, how many at a time, and where to, which is empty."""

    submit: Callable[[Job], Promise]
    count: int
    folder: Path
    memory_limit: str
    """Of each."""

    def parsed(
        self, groups: Iterable[list[Stamped]], run_id: str, limits: Limits
    ) -> Generator[tuple[Job, Filled | None]]:
        """Each job with what it gave, in the order of the groups; none where the engine had too little memory."""
        under_way: deque[tuple[Job, Promise]] = deque()
        for number, group in enumerate(groups):
            job = Job(tuple(group), run_id, limits, self.memory_limit, self.folder / f"{number}.parquet")
            under_way.append((job, self.submit(job)))
            if len(under_way) >= AHEAD * self.count:
                yield _first(under_way)
        while under_way:
            yield _first(under_way)


def _first(under_way: deque[tuple[Job, Promise]]) -> tuple[Job, Filled | None]:
    job, promise = under_way.popleft()
    return job, promise.result()


def parse(job: Job) -> Filled | None:
    """All lines of the files into the Parquet file of the job; none where the engine has too little memory for that.

    Raises `LandingError` where the folder for it is not there, which a worker on another machine has to share.
    """
    import duckdb

    if not job.into.parent.is_dir():
        raise LandingError(
            f"A worker has no folder {job.into.parent}, which it has to share with the run (PODCAST_LOADING_FOLDER)."
        )
    with duckdb.connect(config=CONFIGURATION) as connection:
        connection.execute(f"set memory_limit = '{job.memory_limit}'; set threads = 1")
        connection.execute("set preserve_insertion_order = false; set enable_progress_bar = false")
        connection.execute(f"set temp_directory = {_quoted(job.into.with_suffix('.tmp'))}")
        connection.execute(TABLES)
        try:
            filled = fill(Writer(connection, job.limits), job.group, job.run_id)
            connection.execute(f"copy bronze.raw_events to {_quoted(job.into)} (format parquet)")
        except duckdb.OutOfMemoryException as error:
            if faults.FULL.search(f"{error}"):  # no room on the disk for what did not fit into the memory
                raise
            return None
    return filled


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"
