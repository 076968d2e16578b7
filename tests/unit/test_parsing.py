"""Loading by workers that take files apart into Parquet: the rows and the ledger of loading by the run itself."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pytest
from strategies import big_landing

from flows import landing, loading, loading_tasks, parsing, reading, warehouse
from flows.domain import Arrival, Loaded
from flows.errors import LandingError, SettingsError
from flows.filling import Filled
from flows.parsing import Job, Workers
from flows.reading import Limits
from flows.settings import Settings

EVENT = (
    b'{"event_type": "play", "user_id": "u1", "episode_id": "e1", "timestamp": "2026-01-02T03:04:05Z", "duration": 5}'
)
BAD = {
    "broken.json.gz": gzip.compress(EVENT)[:-5],
    "odd.json": b'\xff\xfe\n{"user_id": 1e3, "x": [NaN]}\n\n' + EVENT,
    "none.json": b"",
    "blank.json": b" \r\n\t\n",
}
ROWS = "select * exclude (load_at) from bronze.raw_events order by filename, line_number"
LEDGER = "select * exclude (load_at, updated_at) from ops.batches order by filename, attempt"


@contextmanager
def database() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute(warehouse.TABLES)
        yield connection


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with database() as connection:
        yield connection


@pytest.fixture
def many(monkeypatch: pytest.MonkeyPatch) -> None:
    """A group for every three files, and several blocks in a file."""
    monkeypatch.setattr(loading, "TRANSACTION_FILES", 3)
    monkeypatch.setattr(reading, "BLOCK_BYTES", 2000)


def arrivals(directory: Path, files: Mapping[str, bytes]) -> list[Arrival]:
    for name, content in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return [Arrival(file, attempt=1) for file in landing.find_files(directory, known={}, settle_seconds=0).files]


@contextmanager
def workers(folder: Path, parse: Callable[[Job], Filled | None] = parsing.parse) -> Iterator[Workers]:
    """Three threads, in a folder whose name the engine would take for a pattern."""
    into = folder / "by [workers]*"
    into.mkdir()
    with ThreadPoolExecutor(3) as executor:
        yield Workers(lambda job: executor.submit(parse, job), 3, into, "200MB")
    assert list(into.iterdir()) == []


def load(connection: duckdb.DuckDBPyConnection, found: list[Arrival], **options: Any) -> Loaded:
    return loading.load_files(connection, found, run_id="run", **options)


def held(connection: duckdb.DuckDBPyConnection) -> tuple[list[Any], list[Any]]:
    return connection.execute(ROWS).fetchall(), connection.execute(LEDGER).fetchall()


@pytest.mark.usefixtures("many")
def test_rows_and_ledger_are_those_of_loading_by_the_run(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    found = arrivals(tmp_path / "landing", big_landing(seed=3, files=30) | BAD)
    gone = arrivals(tmp_path / "landing", {"gone.json": EVENT})
    (tmp_path / "landing" / "gone.json").unlink()
    with workers(tmp_path) as those:
        loaded = load(connection, [*found, *(a for a in gone if a.file.filename == "gone.json")], workers=those)
    with database() as other:
        expected = load(other, [*found, *(a for a in gone if a.file.filename == "gone.json")])
        assert held(connection) == held(other)
    assert loaded == expected
    assert [name for name, _ in loaded.left_out] == ["gone.json"]
    statuses = dict(connection.execute("select filename, status from ops.batches").fetchall())
    assert (statuses["broken.json.gz"], statuses["none.json"]) == ("quarantined", "empty")


@pytest.mark.usefixtures("many")
def test_times_never_decrease_in_order_of_file_name(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    with workers(tmp_path) as those:
        load(connection, arrivals(tmp_path / "landing", big_landing(seed=3, files=20)), workers=those)
    times = [t for (t,) in connection.execute("select load_at from ops.batches order by filename").fetchall()]
    assert times == sorted(times)
    row_times = (
        "select distinct filename, load_at from bronze.raw_events except select filename, load_at from ops.batches"
    )
    assert connection.execute(row_times).fetchall() == []


@pytest.mark.usefixtures("many")
def test_what_a_worker_could_not_do_leaves_what_was_before_it(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    """The prefix that was committed stays, and a further load does the rest."""
    files = {f"{n:02}.json": EVENT for n in range(12)}

    def ends(job: Job) -> Filled | None:
        if job.group[0][0].file.filename == "06.json":
            raise RuntimeError("the worker has ended")
        return parsing.parse(job)

    found = arrivals(tmp_path / "landing", files)
    (tmp_path / "first").mkdir()
    into = tmp_path / "first"
    with ThreadPoolExecutor(3) as executor, pytest.raises(RuntimeError, match="has ended"):
        load(connection, found, workers=Workers(lambda job: executor.submit(ends, job), 3, into, "200MB"))
    there = connection.execute("select distinct filename from bronze.raw_events order by 1").fetchall()
    assert there == connection.execute("select filename from ops.batches order by 1").fetchall()
    assert there == [(f"{n:02}.json",) for n in range(6)]
    with workers(tmp_path) as those:
        assert load(connection, found, workers=those).batches == 6
    with database() as other:
        load(other, found)
        assert held(connection) == held(other)


@pytest.mark.usefixtures("many")
def test_what_is_too_much_for_a_worker_is_loaded_by_the_run(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    found = arrivals(tmp_path / "landing", {f"{n}.json": EVENT for n in range(8)})

    def too_much(job: Job) -> Filled | None:
        return None if job.group[0][0].file.filename == "3.json" else parsing.parse(job)

    with workers(tmp_path, too_much) as those:
        assert load(connection, found, workers=those).batches == 8
    with database() as other:
        load(other, found)
        assert held(connection) == held(other)


def test_a_worker_says_that_its_engine_has_too_little_memory(tmp_path: Path) -> None:
    (found,) = arrivals(tmp_path / "landing", {"a.json": b"\n".join([EVENT] * 200_000)})
    job = Job(((found, warehouse.utc_now()),), "run", Limits(), "5MB", tmp_path / "0.parquet")
    assert parsing.parse(job) is None


def test_a_worker_without_the_shared_folder_says_so(tmp_path: Path) -> None:
    job = Job((), "run", Limits(), "200MB", tmp_path / "not there" / "0.parquet")
    with pytest.raises(LandingError, match="PODCAST_LOADING_FOLDER"):
        parsing.parse(job)


def test_no_more_groups_are_under_way_than_two_for_each_worker(tmp_path: Path) -> None:
    under_way: list[int] = []

    def submit(_job: Job) -> Future[Filled | None]:
        under_way.append(1)
        future: Future[Filled | None] = Future()
        future.set_result(Filled())
        return future

    groups = Workers(submit, 2, tmp_path, "200MB").parsed(([] for _ in range(9)), "run", Limits())
    seen = [len(under_way) - number for number, _ in enumerate(groups)]
    assert max(seen) == 4
    assert len(seen) == 9


@pytest.mark.parametrize(
    ("limit", "count", "each"),
    [("2GB", 2, "1000MB"), ("1.5GiB", 3, "512MiB"), ("800MB", 4, "200MB"), ("1MB", 9, "1MB")],
)
def test_processes_of_one_machine_share_its_memory(limit: str, count: int, each: str) -> None:
    assert loading_tasks._shared(limit, count) == each


def test_dask_needs_its_extra_and_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(loading="dask")
    monkeypatch.setattr(loading_tasks, "find_spec", lambda _: None)
    with pytest.raises(SettingsError, match="make setup-dask"):
        loading_tasks.refuse_missing(settings)
    monkeypatch.setattr(loading_tasks, "find_spec", lambda _: "there")
    with pytest.raises(SettingsError, match="PODCAST_DASK_SCHEDULER"):
        loading_tasks.refuse_missing(settings)
    loading_tasks.refuse_missing(settings.model_copy(update={"dask_scheduler": "tcp://127.0.0.1:8786"}))
    loading_tasks.refuse_missing(settings.model_copy(update={"loading": "threads"}))


def test_a_run_leaves_alone_what_others_have_in_the_shared_folder(tmp_path: Path) -> None:
    """What a killed run has left there is removed, and nothing else."""
    shared = tmp_path / "shared"
    settings = Settings(loading="processes", loading_folder=shared, home=tmp_path / "a")
    others = loading_tasks._place(settings.model_copy(update={"home": tmp_path / "b"})) / "theirs"
    own = loading_tasks._place(settings) / "left by a killed run"
    for folder in (others, own, shared / "loading"):
        folder.mkdir(parents=True)
    with loading_tasks.workers(settings):
        assert not own.exists()
    assert others.exists()
    assert sorted(path.name for path in shared.iterdir()) == sorted([others.parent.name, "loading"])
