"""Homes that go on from each other's ledger, which is kept in a folder here (tests/engines has them on Snowflake)."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pytest
from comparison import assert_tables_equal, expected_world, snapshot, write_reference_data
from conftest import Home
from lines import event, lines

from flows import engines, handover, joining
from flows.decisions import discard_batches
from flows.domain import RunStatus
from flows.errors import PipelineError, WarehouseLockedError
from flows.settings import load_settings
from flows.warehouse import connect, copy_file, home_id, transaction

if TYPE_CHECKING:
    from flows.settings import Settings

USERS = [("u1", None, "NO"), ("u2", None, None)]
EPISODES = [("e1", "p1", "One", None, 1000)]
FIRST = {"mon/a.json": lines(*(event(m) for m in range(10))), "mon/b.json": lines(event(3, duration=77), event(23))}
THEN = {
    "tue/c.json": lines(event(4, duration=88), event(30, duration=900)),
    "tue/held.json": lines(*(event(m, duration="x") for m in range(8)), event(31)),
}


@dataclass
class Folder:
    """What keeps the ledger, and has the tables: databases in a folder, with the pointer in memory."""

    path: Path
    pointer: tuple[str, str, str] | None = None
    holder: str | None = None

    @contextmanager
    def held(self, settings: Settings, holder: str, home: str) -> Iterator[None]:  # noqa: ARG002
        if self.holder:
            raise WarehouseLockedError(f"is being written by {self.holder}")
        self.holder = holder
        try:
            yield
        finally:
            self.holder = None

    def address(self, settings: Settings) -> str:  # noqa: ARG002
        return str(self.path)

    def kept(self, settings: Settings) -> tuple[str, str, str] | None:  # noqa: ARG002
        return self.pointer

    def keep(self, connection: duckdb.DuckDBPyConnection, settings: Settings, built: Collection[str]) -> None:
        token = handover.new_mark()
        handover.copy_ledger(connection, self.path / token, built)
        (self.path / "tables.duckdb").unlink(missing_ok=True)
        connection.execute(f"attach '{self.path}/tables.duckdb' as tables")
        for relation in (*built, *handover.RAW_LINES):
            connection.execute(f"create schema if not exists tables.{relation.partition('.')[0]}")
            connection.execute(f"create table tables.{relation} as from {relation}")
        connection.execute("detach tables")
        if settings.published_path.exists():
            copy_file(settings.published_path, self.path / "public.duckdb")
        self.pointer = (token, home_id(settings), "now")
        handover.set_kept(connection, self.address(settings), token)

    def add_lines_of_no_batch(self) -> None:
        """What a worker that was killed has carried there, of a run that it never kept."""
        with duckdb.connect(str(self.path / "tables.duckdb")) as tables:
            tables.execute("insert into bronze.raw_events by name select 'unknown' as batch_id, 1 as line_number")

    def fetch_file(self, settings: Settings, token: str) -> Path:
        path = settings.home / "warehouse" / token
        copy_file(self.path / token, path)
        return path

    def fetch(self, connection: duckdb.DuckDBPyConnection, settings: Settings, relation: str, *, into: str) -> None:  # noqa: ARG002
        file, table = ("public", relation[7:]) if relation.startswith("public.") else ("tables", relation)
        connection.execute(f"attach '{self.path}/{file}.duckdb' as there (read_only)")
        connection.execute(f"insert into {into} by name from there.{table}")
        connection.execute("detach there")

    def published_database(self, settings: Settings) -> str | None:  # noqa: ARG002
        return "public" if (self.path / "public.duckdb").exists() else None

    def forget(self, settings: Settings) -> None:
        self.pointer = ("", home_id(settings), "now")


@dataclass
class Workers:
    """Two homes with one landing directory, one of which is that of the settings at a time."""

    one: Home
    other: Home
    shared: Folder

    def go_to(self, home: Home) -> Home:
        home.set(home=home.path)
        return home

    def land(self, files: dict[str, bytes]) -> None:
        self.one.land(files)

    def check(self, home: Home, contents: dict[str, bytes], decisions: Any = None) -> None:
        warehouse = home.path / "warehouse" / "podcast.duckdb"
        assert_tables_equal(home.path, expected_world(warehouse, contents, USERS, EPISODES, decisions=decisions))


@pytest.fixture
def workers(home: Home, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Workers:
    shared = Folder(tmp_path / "shared")
    shared.path.mkdir()
    monkeypatch.setitem(engines.SHARED, "duckdb", shared)
    other = Home(tmp_path / "other", monkeypatch)
    home.set(seeds=write_reference_data(tmp_path / "seeds", USERS, EPISODES), landing=home.path / "landing")
    workers = Workers(home, other, shared)
    workers.go_to(home)
    return workers


def published(home: Home) -> dict[str, list[tuple[Any, ...]]]:
    return snapshot(home.path / "warehouse" / "published.duckdb")


def test_each_goes_on_from_the_other_and_works_on_what_is_new_only(workers: Workers) -> None:
    workers.land(FIRST)
    workers.one.run()

    workers.land(THEN)
    summary = workers.go_to(workers.other).run()
    assert (summary.status, summary.run.lines) == (RunStatus.PASSED, 11)
    assert [held.filename for held in summary.quarantined] == ["tue/held.json"]
    workers.check(workers.other, FIRST | THEN)

    assert workers.go_to(workers.one).run().status is RunStatus.NOTHING_NEW
    workers.check(workers.one, FIRST | THEN)
    assert published(workers.one) == published(workers.other)
    before = home_files(workers.one)
    assert workers.one.run().status is RunStatus.NOTHING_NEW
    assert home_files(workers.one) == before, "its own ledger is not brought again"

    workers.go_to(workers.other)
    discard_batches("no good", batches=["mon/b.json"])
    assert workers.go_to(workers.one).run().status is RunStatus.NOTHING_NEW
    assert published(workers.one) == published(workers.other)
    workers.check(workers.one, FIRST | THEN, {"mon/b.json": "discarded"})


def home_files(home: Home) -> dict[str, int]:
    return {path.name: path.stat().st_ino for path in (home.path / "warehouse").glob("*.duckdb")}


def test_one_that_ended_while_it_joined_begins_anew(workers: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    workers.land(FIRST)
    workers.one.run()
    workers.shared.add_lines_of_no_batch()
    workers.go_to(workers.other)
    with monkeypatch.context() as patched:
        patched.setattr(Folder, "fetch", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            workers.other.run()
    assert workers.other.run().status is RunStatus.NOTHING_NEW
    workers.check(workers.other, FIRST)
    assert workers.other.query("select count(*) from bronze.raw_events") == [(12,)], "those of the ledger alone"


def test_a_failed_run_is_kept_too(workers: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    workers.land(FIRST)
    with monkeypatch.context() as patched:
        patched.setattr("flows.publish._compare", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            workers.one.run()
    assert workers.go_to(workers.other).run().status is RunStatus.PASSED
    workers.check(workers.other, FIRST)
    assert [status for (status,) in workers.other.query("select status from ops.runs order by started_at")] == [
        "failed",
        "passed",
    ]


def test_a_home_that_never_was_a_worker_keeps_what_it_has(workers: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    workers.land(FIRST)
    workers.go_to(workers.other)
    with monkeypatch.context() as patched:
        patched.delitem(engines.SHARED, "duckdb")
        workers.other.run()
    workers.go_to(workers.one).run()

    found = published(workers.other)
    workers.go_to(workers.other)
    with pytest.raises(PipelineError, match=r"has the ledger of another home.*Nothing was changed"):
        workers.other.run()
    assert published(workers.other) == found


def test_a_ledger_that_is_put_back_counts_and_the_others_wait_for_its_run(workers: Workers) -> None:
    workers.land(FIRST)
    workers.one.run()
    workers.go_to(workers.other).run()

    settings = load_settings_of(workers, workers.one)
    engines.forget_kept(settings)
    with connect(settings) as connection, transaction(connection):
        connection.execute("update ops.batches set pending = true")
    workers.go_to(workers.other)
    with pytest.raises(PipelineError, match=r"was put back by .*no run has followed there yet"):
        workers.other.run()
    assert workers.go_to(workers.one).run().status is RunStatus.PASSED
    assert workers.go_to(workers.other).run().status is RunStatus.NOTHING_NEW
    workers.check(workers.other, FIRST)


def load_settings_of(workers: Workers, home: Home) -> Settings:
    workers.go_to(home)
    return load_settings()


def test_the_lock_of_the_home_is_given_back_where_another_one_writes(workers: Workers) -> None:
    workers.land(FIRST)
    workers.shared.holder = "somebody"
    with pytest.raises(WarehouseLockedError, match="somebody"):
        workers.one.run()
    workers.shared.holder = None
    with joining.writer(load_settings(), purpose="test"):
        pass
    assert workers.one.run().status is RunStatus.PASSED
